"""Classifiers from a few labels: embeddings, choice of the head, calibration."""
