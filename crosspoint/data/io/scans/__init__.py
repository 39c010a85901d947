"""Readers of what sensors and robots write: binary scans, LAS, E57, ROS bags."""
