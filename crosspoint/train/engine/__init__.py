"""What every kind of training shares: the loop, checkpoints, several processes, the run folder."""
