"""Fixtures."""

from gpus import captures, gpu, gpu_bundle, host, no_gpu
from small_models import bundle, clouds, engine_bundle, plan

__all__ = ["bundle", "captures", "clouds", "engine_bundle", "gpu", "gpu_bundle", "host", "no_gpu", "plan"]
