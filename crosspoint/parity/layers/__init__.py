"""Where two models part: layer by layer."""
