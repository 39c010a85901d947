"""Exports trained weights to ONNX and TensorRT, through a parity gate."""

from typing import TYPE_CHECKING

from crosspoint.core.lazy import lazy

if TYPE_CHECKING:
    from crosspoint.export.bundle import Verification as Verification
    from crosspoint.export.bundle import export as export
    from crosspoint.export.engine.builder import Options as Options

__all__ = ["Options", "Verification", "export"]

_functions = {
    "Options": "crosspoint.export.engine.builder",
    "Verification": "crosspoint.export.bundle",
    "export": "crosspoint.export.bundle",
}
__getattr__ = lazy(__name__, _functions, torch=frozenset({"Verification", "export"}))
