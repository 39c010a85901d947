"""The evaluations of the paper, and `reproduce`."""
