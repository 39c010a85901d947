"""Readers of what sensors and robots write: binary scans, LAS, E57, ROS bags."""

SUFFIXES = frozenset({".las", ".laz", ".e57", ".bag", ".mcap", ".db3"})
