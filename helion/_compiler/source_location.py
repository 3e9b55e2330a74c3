"""Where a piece of user code stands, for error messages and emitted comments."""

from __future__ import annotations

import inspect
import linecache
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast
    import types


@dataclass(frozen=True)
class SourceLocation:
    """One line of user code; ``col`` counts from 0 in that line."""

    filename: str
    lineno: int
    col: int
    function: str

    @property
    def line(self) -> str:
        """Return the text of the line, without its newline ('' if unknown)."""
        return linecache.getline(self.filename, self.lineno).rstrip("\n")

    def __str__(self) -> str:
        return f"{self.filename}:{self.lineno} in {self.function}"


@dataclass(frozen=True)
class FunctionSource:
    """The text of a function and the file position it was taken from."""

    name: str
    filename: str
    first_line: int
    indent: int
    text: str

    @classmethod
    def of(cls, fn: types.FunctionType) -> FunctionSource:
        """Read the source of ``fn``; OSError if Python cannot find it."""
        lines, first_line = inspect.getsourcelines(fn)
        raw = "".join(lines)
        text = textwrap.dedent(raw)
        indent = len(lines[0]) - len(lines[0].lstrip())
        filename = inspect.getsourcefile(fn) or "<unknown>"
        return cls(fn.__name__, filename, first_line, indent, text)

    def location(self, node: ast.AST) -> SourceLocation:
        """Return the place in the user's file of a node parsed from ``text``."""
        lineno = self.first_line + getattr(node, "lineno", 1) - 1
        col = getattr(node, "col_offset", 0) + self.indent
        return SourceLocation(self.filename, lineno, col, self.name)
