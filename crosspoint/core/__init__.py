"""Shared by all other packages: errors, guarded reading, atomic writing, processes, console output."""
