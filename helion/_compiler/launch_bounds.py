"""Bounds of outermost loops that are data: the host reads them before the launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .variable_origin import ExprOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .loop_bounds import LoopBounds


def read_bounds(
    env: CompileEnvironment, bounds: LoopBounds, texts: dict[Any, str]
) -> None:
    """Replace 0-d tensors among the bounds of a launch by what they hold.

    ``texts`` are the calls that gave scalars which no name may hold, by symbol.
    """
    for values in (bounds.begins, bounds.ends):
        for place, value in enumerate(values):
            if isinstance(value, torch.Tensor):
                values[place] = _read(env, value)
            for symbol in symbols.sym_expr(values[place]).free_symbols:
                if symbol not in env.symbol_origins and symbol in texts:
                    env.symbol_origins[symbol] = ExprOrigin(texts[symbol])


def _read(env: CompileEnvironment, value: torch.Tensor) -> Any:
    origin = env.host_origin(value)
    if origin is None:
        raise exc.BackendUnsupported(
            backend=env.backend.name,
            detail="a range of an outermost loop that is read from a tensor",
            hint="read it on the host first: hl.tile(bound.item())",
        )
    return env.new_scalar(int, ExprOrigin(f"{origin.host_str()}.item()"))
