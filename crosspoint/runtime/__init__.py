"""Embeds point clouds with any backend. No module here imports torch when it is imported."""

from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.manifest import Manifest, load_manifest, verify_files
from crosspoint.runtime.specification import Specification

__all__ = ["Encoder", "Manifest", "Specification", "load_encoder", "load_manifest", "verify_files"]
