"""CrossPoint: label-free pretraining, TensorRT export and edge inference for point-cloud encoders."""

__version__ = "0.1.0"
