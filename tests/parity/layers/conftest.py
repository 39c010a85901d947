"""Fixtures."""

from trained_networks import exported, float16_distances, network, saved

__all__ = ["exported", "float16_distances", "network", "saved"]
