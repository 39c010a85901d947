"""Small runs of everything this machine should be able to do."""
