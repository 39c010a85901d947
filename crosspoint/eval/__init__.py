"""The paper's evaluation protocols, for models of any backend."""

__all__ = ["fewshot", "partseg", "robustness", "svm"]  # modules; their functions are in crosspoint.evaluate
