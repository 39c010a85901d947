"""Few-shot classification of pictures with the image encoder."""
