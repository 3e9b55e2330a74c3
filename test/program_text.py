"""A random program: its statements as a tree, its arguments, its kernel."""

from __future__ import annotations

import contextlib
import io
import linecache
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import helion
from test import program_pieces as pieces


@dataclass
class Node:
    """A statement; one with a body is its head, and may have an else."""

    head: str
    body: list[Node] = field(default_factory=list)
    orelse: list[Node] = field(default_factory=list)

    def lines(self, indent: int) -> Iterator[str]:
        """Yield the lines of the statement; an empty body is ``pass``."""
        pad = "    " * indent
        yield pad + self.head
        if self.head.endswith(":"):
            yield from body_lines(self.body, indent + 1)
        if self.orelse:
            yield pad + "else:"
            yield from body_lines(self.orelse, indent + 1)


def body_lines(body: Sequence[Node], indent: int) -> Iterator[str]:
    """Yield the lines of an indented block."""
    if not body:
        yield "    " * indent + "pass"
    for node in body:
        yield from node.lines(indent)


@dataclass
class Program:
    """A kernel as text, with its arguments; ``outs`` are the tensors it returns."""

    seed: int
    params: dict[str, Any]
    sizes: list[Node]
    outs: dict[str, Node]
    body: list[Node]
    is_static: bool
    is_wrong: bool = False

    @property
    def has_elements(self) -> bool:
        """Whether no size is zero."""
        tensors = [t for t in self.params.values() if isinstance(t, torch.Tensor)]
        return all(t.numel() for t in tensors)

    def source(self) -> str:
        """Return the text of the function ``generated``."""
        nodes = [*self.sizes, *self.outs.values(), *self.body]
        notes = {"flag": "hl.constexpr"}
        params = [f"{p}: {notes[p]}" if p in notes else p for p in self.params]
        lines = [f"def generated({', '.join(params)}):", *body_lines(nodes, 1)]
        return "\n".join([*lines, f"    return [{', '.join(self.outs)}]", ""])

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments in the order of the parameters."""
        return tuple(self.params.values())

    def kernel(self) -> helion.Kernel:
        """Return a new kernel of the text, as if it stood in a file."""
        text, name = self.source(), f"<generated program {self.seed}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        names: dict[str, Any] = dict(pieces.NAMES)
        exec(compile(text, name, "exec"), names)
        made: Any = helion.kernel(
            names["generated"],
            static_shapes=self.is_static,
            ignore_warnings=[helion.exc.BaseWarning],
        )
        return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep programs from printing, and torch from warning of what samples do."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
