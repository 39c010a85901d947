"""Fixtures."""

from toy_networks import edge_form, inputs, modelnet, network, saved

__all__ = ["edge_form", "inputs", "modelnet", "network", "saved"]
