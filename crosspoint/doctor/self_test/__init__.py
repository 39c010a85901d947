"""Small runs of everything that this machine should be able to do."""
