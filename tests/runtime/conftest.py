"""Fixtures."""

from small_models import bundle, captures, clouds, engine_bundle, gpu, gpu_bundle, host, no_gpu, plan, small

__all__ = ["bundle", "captures", "clouds", "engine_bundle", "gpu", "gpu_bundle", "host", "no_gpu", "plan", "small"]
