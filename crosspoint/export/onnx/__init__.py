"""Converts a trained network to an ONNX graph."""
