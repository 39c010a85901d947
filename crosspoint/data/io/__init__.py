"""Readers of point-cloud and mesh files: how they are found and opened, and what they become."""
