"""Whether labels are right: a sample, a page to hear it on, and what its marks say of all."""
