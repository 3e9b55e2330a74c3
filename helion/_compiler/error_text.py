"""Words values, sizes and foreign messages as the author of a kernel knows them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from . import symbols
from .variable_origin import (
    BlockOrigin,
    BlockSizeOrigin,
    GridIndexOrigin,
    TileBeginOrigin,
    TileCountOrigin,
    TileEndOrigin,
    TileIdOrigin,
)

if TYPE_CHECKING:
    from .. import exc
    from .compile_environment import BlockSizeInfo, CompileEnvironment

_SYMBOL = re.compile(r"\b(?:zuf|[suz])\d+\b")
_NUMBER = re.compile(r"\b\d{4,}\b")
_FACTS: dict[type[BlockOrigin], str] = {
    TileBeginOrigin: ".begin",
    TileEndOrigin: ".end",
    TileIdOrigin: ".id",
    TileCountOrigin: ".count",
    GridIndexOrigin: "",
}
_FAKE = r"FakeTensor\(\.\.\., (?:device='\w+(?::\d+)?', )?size=\(([^)]*?),?\)"
# What torch calls the stand-ins of a compile, and what the user calls them.
_STAND_INS = [
    (re.compile(_FAKE + r"(?:, dtype=torch\.(\w+))?\)"), r"Tensor[\1]"),
    (re.compile(r"\bFakeTensor\b"), "Tensor"),
    (re.compile(r"\bTracedTile\b"), "Tile"),
    (re.compile(r"\bSymInt\b"), "int"),
    (re.compile(r"\bSymFloat\b"), "float"),
    (re.compile(r"\bSymBool\b"), "bool"),
    (re.compile(r"\b_?(\w+)_trace\(\)"), r"hl.\1()"),
    (re.compile(r"torch\.Size\((\[[^]]*\])\)"), r"\1"),
]


def block_name(info: BlockSizeInfo) -> str:
    """Return the name of a tiled axis: that of its loop variable if it has one."""
    return info.hint or f"block_size_{info.block_id}"


def shape_text(env: CompileEnvironment, value: torch.Tensor) -> str:
    """Return the shape of a tensor, with tiles as sizes of tiled dims."""
    return readable(env, str([*value.size()]))


def describe(value: Any) -> str:
    """Return what a value is, with an article."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"a {dtype} tensor {[*value.size()]}"
    words = getattr(type(value), "user_words", None)
    if words is not None:
        return words
    if value is None or isinstance(value, (bool, str)):
        return repr(value)
    if isinstance(value, symbols.SymValue):
        return f"the run-time {_kind(value)} {value.node.expr}"
    if isinstance(value, (int, float)):
        return f"the {type(value).__name__} {value}"
    if isinstance(value, (list, tuple)):
        kind = "shape" if isinstance(value, torch.Size) else type(value).__name__
        return f"a {kind} of {len(value)}"
    name = getattr(value, "__name__", None)
    return f"{type(value).__name__} {name}" if name else f"a {type(value).__name__}"


def _kind(value: Any) -> str:
    return type(value).__name__.removeprefix("Sym").lower()


def readable(env: CompileEnvironment, text: str) -> str:
    """Replace the compiler's stand-ins in a message by what the user wrote."""
    for pattern, words in _STAND_INS:
        text = pattern.sub(words, text)
    text = _NUMBER.sub(lambda found: _extent_text(env, int(found[0])), text)
    names = {str(s): origin for s, origin in env.symbol_origins.items()}
    return _SYMBOL.sub(lambda found: _symbol_text(env, names, found[0]), text)


def make_readable(env: CompileEnvironment, error: exc.Base) -> exc.Base:
    """Reword the message of an error in place."""
    error.message = readable(env, error.message)
    return error


def _extent_text(env: CompileEnvironment, number: int) -> str:
    """Return the size that an extent stands for; other numbers stay."""
    for info in env.block_sizes:
        if info.extent == number and not info.is_reduction:
            return block_name(info)
        if info.extent == number:
            return str(info.numel)
    derived = env.derived_size(number)
    return str(number) if derived is None else str(derived)


def _symbol_text(env: CompileEnvironment, names: dict[str, Any], symbol: str) -> str:
    origin = names.get(symbol)
    if origin is None:
        return symbol
    if isinstance(origin, BlockSizeOrigin):
        return block_name(env.block_sizes[origin.block_id])
    if isinstance(origin, BlockOrigin):
        name = block_name(env.block_sizes[origin.block_id])
        return name + _FACTS.get(type(origin), "")
    try:
        return origin.host_str().replace("_given_", "")
    except AssertionError:  # a scalar that only the device knows
        return "a run-time scalar"
