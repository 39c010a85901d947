"""Fixtures."""

from object_pairs import pairs, small

__all__ = ["pairs", "small"]
