"""Few-shot classification of pictures."""
