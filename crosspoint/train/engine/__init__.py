"""Shared by all kinds of training: the loop, checkpoints, several processes, the run folder."""
