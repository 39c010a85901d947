"""Compiles `edges.c`, when a wheel is built; in a checkout, run this file.

It uses the standard library only, because it runs before anything is installed.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

FLAGS = ("-O3", "-std=c11", "-shared", "-fPIC", "-fvisibility=hidden")
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
FOLDER = Path(__file__).parent


def compiler() -> list[str] | None:
    """The command of the C compiler: `$CC`, or the first of cc, gcc and clang; None if there is none."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return [found] if found else None


def compile_library(out: Path = FOLDER) -> Path | str:
    """Compile into a folder; returns the library, or one line that says why there is none."""
    library = out / f"edges{SUFFIX}"
    library.unlink(missing_ok=True)
    command = compiler()
    if command is None:
        return "there is no C compiler"
    done = subprocess.run(
        [*command, *FLAGS, "-o", str(library), str(FOLDER / "edges.c"), "-lm"], capture_output=True, text=True
    )
    if done.returncode == 0:
        return library
    return f"{' '.join(command)} failed: {next(iter(done.stderr.splitlines()), 'no message')}"


if __name__ == "__main__":
    result = compile_library()
    print(result)
    sys.exit(isinstance(result, str))
