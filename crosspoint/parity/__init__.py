"""Compares two models: whether they give the same results, and which layers differ."""

__all__ = ["gate", "limits", "parity"]  # modules; the function is crosspoint.parity
