"""Renders meshes to pictures by ray casting."""
