"""Fixtures."""

from float16_distances import float16_distances
from trained_networks import exported, network, saved

__all__ = ["exported", "float16_distances", "network", "saved"]
