"""Fixtures."""

from gpus import captures, gpu, gpu_bundle, host, no_gpu
from held_encoder import pool
from open_encoders import encoder, segmenter
from small_models import bundle, clouds, engine_bundle, plan

__all__ = ["bundle", "captures", "clouds", "encoder", "engine_bundle", "gpu", "gpu_bundle", "host", "no_gpu", "plan"]
__all__ += ["pool", "segmenter"]
