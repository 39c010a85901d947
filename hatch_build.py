"""Compiles the CPU operators into the wheel. Where that fails the wheel is pure Python and runs without them."""

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Kernels(BuildHookInterface[Any]):
    """Builds the library beside its source, for a wheel as for an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one of this platform; it goes with every Python 3."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root, "crosspoint", "runtime", "backends", "kernels")
        result = runpy.run_path(str(folder / "compile.py"))["compile_library"]()
        if isinstance(result, str):
            self.app.display_warning(f"{result}; the wheel has no CPU operators, and DGCNN runs slower on the CPU")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(result.relative_to(self.root).as_posix())
