"""Examples, batches, the training loop, and the runs that it leaves behind."""
