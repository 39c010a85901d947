"""Is a model the same as another one, and where do they part?"""

__all__ = ["gate", "limits", "parity"]  # modules; the function is crosspoint.parity
