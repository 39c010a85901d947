"""Inference backends: ONNX Runtime, PyTorch, TensorRT."""
