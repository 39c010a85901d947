"""Realistic faults that can be planted in a Python file, one edit of its text each.

Each kind is a mistake that people make in numerical code and its wiring: a sign, an axis, a limit, a seed that is
ignored, a check that is skipped. Text that only a reader sees (docstrings, messages, annotations) is left alone.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPERATORS: dict[type[ast.AST], tuple[str, str, str]] = {  # kind, as written, instead
    ast.Add: ("sign", "+", "-"),
    ast.Sub: ("sign", "-", "+"),
    ast.Mult: ("arithmetic", "*", "/"),
    ast.Div: ("arithmetic", "/", "*"),
    ast.Lt: ("comparison", "<", "<="),
    ast.LtE: ("comparison", "<=", "<"),
    ast.Gt: ("comparison", ">", ">="),
    ast.GtE: ("comparison", ">=", ">"),
    ast.Eq: ("comparison", "==", "!="),
    ast.NotEq: ("comparison", "!=", "=="),
    ast.In: ("comparison", "in", "not in"),
    ast.NotIn: ("comparison", "not in", "in"),
    ast.Is: ("comparison", "is", "is not"),
    ast.IsNot: ("comparison", "is not", "is"),
    ast.And: ("boolean", "and", "or"),
    ast.Or: ("boolean", "or", "and"),
}
NAMES = {  # a function or a type that is easily taken for another
    "min": "max",
    "max": "min",
    "MIN": "MAX",
    "MAX": "MIN",
    "minimum": "maximum",
    "maximum": "minimum",
    "argmin": "argmax",
    "argmax": "argmin",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "mean": "sum",
    "median": "max",
    "float64": "float32",
    "int64": "int16",
    "zeros": "ones",
    "ones": "zeros",
    "cos": "sin",
    "sin": "cos",
    "amax": "amin",
    "amin": "amax",
}
AXES = ("axis", "dim", "dims")
UNTESTED = (  # keywords that change what a person reads, or what happens to faults of the program itself
    *("strict", "frozen", "sort_keys", "description", "help", "title", "stacklevel", "encoding", "errors", "daemon"),
)


@dataclass(frozen=True)
class Fault:
    """One edit.

    Attributes:
        file: Relative to the root of the repository.
        line: Counted from 1.
        kind: What sort of mistake it is.
        start: Where the replaced text begins, in characters from the beginning of the file.
        old: The text that is replaced.
        new: The text instead.
        context: The line as it stands.
    """

    file: str
    line: int
    kind: str
    start: int
    old: str
    new: str
    context: str

    def planted(self, text: str) -> str:
        """The file's text with the fault in it."""
        return text[: self.start] + self.new + text[self.start + len(self.old) :]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is whatever its line number."""
        return self.file, self.context, self.old, self.new

    def __str__(self) -> str:
        return f"{self.file}:{self.line} [{self.kind}] {self.old!r} → {self.new!r}    {self.context}"


def faults_of(root: Path, file: str) -> list[Fault]:
    """All faults that can be planted in one file, in the order of its text; each still compiles."""
    text = (root / file).read_text(encoding="utf-8")
    finder = _Finder(file, text)
    unique: dict[tuple[int, str, str], Fault] = {}
    for fault in finder.find(ast.parse(text)):
        unique.setdefault((fault.start, fault.old, fault.new), fault)
    return [fault for _, fault in sorted(unique.items()) if _compiles(fault.planted(text))]


def _compiles(text: str) -> bool:
    try:
        compile(text, "fault", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Finder:
    """Walks a syntax tree, and turns its nodes into edits of the text."""

    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def find(self, node: ast.AST) -> Iterator[Fault]:
        """The faults of a node and all below it."""
        if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr)) or self._for_types(node):
            return
        if isinstance(node, ast.keyword) and node.arg in UNTESTED:
            return
        yield from self._here(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.find(child)

    @staticmethod
    def _for_types(node: ast.AST) -> bool:
        return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"

    def _here(self, node: ast.AST) -> Iterator[Fault]:
        if isinstance(node, ast.BinOp):
            yield from self._operator(node.op, node.left, node.right)
        elif isinstance(node, ast.BoolOp):
            yield from self._operator(node.op, *node.values[:2])
        elif isinstance(node, ast.Compare):
            yield from self._operator(node.ops[0], node.left, node.comparators[0])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
            kind = "sign" if isinstance(node.op, ast.USub) else "boolean"
            yield self._replace(node, kind, self._source(node.operand))
        elif isinstance(node, ast.Constant):
            yield from self._constant(node)
        elif isinstance(node, ast.If) and all(isinstance(statement, ast.Raise) for statement in node.body):
            yield self._replace(node.test, "check", "False")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield self._replace(node, "call", "pass")
        elif isinstance(node, ast.IfExp):
            new = f"{self._source(node.orelse)} if {self._source(node.test)} else {self._source(node.body)}"
            yield self._replace(node, "branch", new)
        elif isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            yield from self._name(node)

    def _operator(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> Iterator[Fault]:
        if type(operator) not in OPERATORS:
            return
        kind, old, new = OPERATORS[type(operator)]
        start, end = self._end(left), self._start(right)
        place = self._text.find(old, start, end)
        if place >= 0:
            yield self._edit(place, kind, old, new)

    def _constant(self, node: ast.Constant) -> Iterator[Fault]:
        value = node.value
        if isinstance(value, bool):
            yield self._replace(node, "boolean", str(not value))
        elif isinstance(value, int) and abs(value) > 2:
            yield self._replace(node, "limit", str(value * 10))
            yield self._replace(node, "off by one", str(value + 1))
        elif isinstance(value, int):
            yield self._replace(node, "off by one", str(value + 1))
        elif isinstance(value, float):
            yield self._replace(node, "limit", repr(value * 10))

    def _call(self, node: ast.Call) -> Iterator[Fault]:
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg in AXES and isinstance(value, ast.Constant) and isinstance(value.value, int):
                yield self._replace(value, "axis", "0" if value.value else "1")
            elif keyword.arg is not None and keyword.arg not in UNTESTED and (node.args or len(node.keywords) > 1):
                start = self._text.rfind(",", 0, self._start(keyword)) if keyword is node.keywords[-1] else -1
                if start > self._start(node):
                    yield self._edit(start, "argument", self._text[start : self._end(value)], "")
        if len(node.args) >= 2 and all(isinstance(value, (ast.Name, ast.Attribute)) for value in node.args[:2]):
            first, second = node.args[:2]
            between = self._text[self._end(first) : self._start(second)]
            old = self._text[self._start(first) : self._end(second)]
            new = f"{self._source(second)}{between}{self._source(first)}"
            if old != new:
                yield self._edit(self._start(first), "order", old, new)

    def _name(self, node: ast.Name | ast.Attribute) -> Iterator[Fault]:
        if not isinstance(node.ctx, ast.Load):
            return
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name in NAMES:
            yield self._edit(self._end(node) - len(name), "name", name, NAMES[name])
        elif name == "seed":
            yield self._replace(node, "seed", "0")

    def _replace(self, node: ast.AST, kind: str, new: str) -> Fault:
        return self._edit(self._start(node), kind, self._source(node), new)

    def _edit(self, start: int, kind: str, old: str, new: str) -> Fault:
        line = self._text.count("\n", 0, start) + 1
        return Fault(self._file, line, kind, start, old, new, self._lines[line - 1].strip())

    def _source(self, node: ast.AST) -> str:
        return self._text[self._start(node) : self._end(node)]

    def _start(self, node: ast.AST) -> int:
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword))
        return self._offset(node.lineno, node.col_offset)

    def _end(self, node: ast.AST) -> int:
        assert isinstance(node, (ast.expr, ast.stmt, ast.keyword))
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        """Of a line and a column in bytes of UTF-8, as the syntax tree counts."""
        before = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(before)
