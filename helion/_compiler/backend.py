"""What a target must provide; each target registers one manifest."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import exc

if TYPE_CHECKING:
    from collections.abc import Callable

    import sympy
    import torch

    from .codegen_state import CodegenState


@dataclass(frozen=True)
class AtenRule:
    """How one ATen operator is emitted.

    ``codegen(state)`` returns the expression; ``masked_value(state_args)`` tells what
    padded lanes hold, given what the operands' padded lanes hold (None: unknown).
    """

    codegen: Callable[[CodegenState], Any]
    masked_value: Callable[..., object] | None = None
    kind: str = "pointwise"


@dataclass(frozen=True)
class Backend:
    """The manifest of a target."""

    name: str
    aten_rule: Callable[[Any], AtenRule | None]
    fallback_rule: Callable[[Any], AtenRule | None]
    decompositions: Callable[[], dict[Any, Callable[..., Any]]]
    dtype_text: Callable[[torch.dtype], str]
    literal: Callable[..., str]
    cast_text: Callable[[str, torch.dtype, torch.dtype], str]
    product: Callable[..., Any]
    print_expr: Callable[[sympy.Basic, Callable[[sympy.Symbol], str]], str]
    print_host_expr: Callable[[sympy.Basic, Callable[[sympy.Symbol], str]], str]
    fold_of: Callable[[Any], Any]
    imports: dict[str, str]


_backends: dict[str, Backend] = {}


def register_backend(backend: Backend) -> None:
    """Make a target available under its name."""
    _backends[backend.name] = backend


def backend_named(name: str) -> Backend:
    """Return a target, loading its folder; BackendUnsupported if there is none."""
    if name not in _backends and name.isidentifier():
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(f".{name}.backend", __package__)
    if name not in _backends:
        raise exc.BackendUnsupported(
            f"no backend is called {name!r}; known: {', '.join(sorted(_backends))}"
        )
    return _backends[name]
