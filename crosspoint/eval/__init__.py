"""The protocols of the paper, from any backend."""

__all__ = ["fewshot", "partseg", "robustness", "svm"]  # modules; their functions are in crosspoint.evaluate
