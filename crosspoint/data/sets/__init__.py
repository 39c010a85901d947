"""Data sets and packed sets: layouts, reading and verification."""
