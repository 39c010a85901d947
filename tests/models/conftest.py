"""Fixtures."""

from official_networks import reference

__all__ = ["reference"]
