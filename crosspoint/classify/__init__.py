"""Classifiers from a handful of labels: reading them, choosing a head, and how far it can be believed."""
