"""What this machine can do: found out without importing anything heavy, and proven by running all of it once."""
