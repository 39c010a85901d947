"""The protocols of the paper, from any backend."""
