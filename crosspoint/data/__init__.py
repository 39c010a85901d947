"""Datasets, point-cloud and mesh files, parametric shapes and rendering. Nothing here imports torch."""
