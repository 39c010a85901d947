"""Meshes to pictures, by a ray caster."""
