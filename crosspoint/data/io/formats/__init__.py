"""Formats of clouds and meshes, one a file: bytes into arrays. Those that sensors and robots write are in `scans`."""
