"""Fixtures."""

from report_folders import folder
from toy_sets import modelnet, pointnet, writers

__all__ = ["folder", "modelnet", "pointnet", "writers"]
