"""One entry to the benchmarks.

python benchmarks                        list them
python benchmarks NAME [options]         run one; --help says what it measures, --json FILE keeps the result
python benchmarks compare OLD NEW        two results of one benchmark: the ratios of the medians
"""

import ast
import importlib
import io
import os
import sys
from pathlib import Path

from results import compare, read

from crosspoint.core.errors import CrosspointError

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__main__", "results"))


def purpose(name: str) -> str:
    """The first line of a benchmark's docstring."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        print("\n".join(f"{name:12}{purpose(name)}" for name in NAMES))
        return 0
    name, *rest = words
    try:
        if name == "compare" and len(rest) == 2:
            print("\n".join(compare(*map(read, map(Path, rest)))))
        elif name in NAMES:
            sys.argv = [f"benchmarks {name}", *rest]
            importlib.import_module(name).main()
        else:
            wrong = "compare needs two files" if name == "compare" else f"there is no benchmark {name}"
            print(f"{wrong}; python benchmarks lists what there is", file=sys.stderr)
            return 2
    except CrosspointError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # through a pipe each line is seen when it is printed
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
