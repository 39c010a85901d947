"""Fixtures."""

from report_pieces import shown

__all__ = ["shown"]
