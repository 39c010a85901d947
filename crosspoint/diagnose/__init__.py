"""Where two models part: layer by layer, on the same clouds, whatever runs them."""
