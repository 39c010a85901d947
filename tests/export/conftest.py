"""Fixtures."""

from toy_networks import edge_form, inputs, network, saved
from toy_sets import modelnet, pointnet
from triton_schema import schema

__all__ = ["edge_form", "inputs", "modelnet", "network", "pointnet", "saved", "schema"]
