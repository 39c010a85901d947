"""Finds out what this machine can do without heavy imports; the self-test runs every step once."""
