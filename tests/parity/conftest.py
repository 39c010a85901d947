"""Fixtures."""

from toy_networks import edge_form, inputs, network, saved
from toy_sets import modelnet, pointnet, writers

__all__ = ["edge_form", "inputs", "modelnet", "network", "pointnet", "saved", "writers"]
