"""Results as tables on standard output."""
