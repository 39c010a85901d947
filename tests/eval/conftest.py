"""Fixtures."""

from toy_sets import modelnet, pointnet, writers

__all__ = ["modelnet", "pointnet", "writers"]
