"""Fixtures."""

from data_folders import modelnet, parts, renders, scanobjectnn

__all__ = ["modelnet", "parts", "renders", "scanobjectnn"]
