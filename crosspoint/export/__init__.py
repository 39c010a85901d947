"""From trained weights to ONNX and TensorRT, through a parity gate."""
