"""The network on log-mel, how models of a hub are loaded, and what a CPU multiplies with."""
