"""`parity` and `diagnose`: two models compared."""
