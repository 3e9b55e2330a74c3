"""The options of ``tl.range`` that a Config gives a loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .ast_extension import expr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..autotuner.config_spec import ConfigSpec
    from ..runtime.config import Config

# In the order in which they are printed.
OPTIONS = {
    "range_unroll_factors": "loop_unroll_factor",
    "range_warp_specializes": "warp_specialize",
    "range_num_stages": "num_stages",
    "range_multi_buffers": "disallow_acc_multi_buffer",
    "range_flattens": "flatten",
}


def tl_range(begin: ast.expr, end: ast.expr, step: str, options: str) -> ast.expr:
    """Return a ``tl.range``, with the options that ``range_options`` gave.

    Unrolling counts turns as unsigned: a range that begins beyond its end (an empty
    split, a program without tiles) would run the turns before its end again.
    """
    if "loop_unroll_factor" in options and not isinstance(begin, ast.Constant):
        begin = expr("tl.minimum({begin}, {end})", begin=begin, end=end)
    steps = f", {step}" if step else ""
    return expr(f"tl.range({{begin}}, {{end}}{steps}{options})", begin=begin, end=end)


def range_options(
    spec: ConfigSpec,
    config: Config,
    block_id: int | None,
    without: Sequence[str] = (),
) -> str:
    """Return the options of the loop over an axis (None: the persistent grid)."""
    for index, loop in enumerate(spec.ranges):
        if loop.is_grid if block_id is None else block_id in loop.block_ids:
            keys = [key for key in OPTIONS if key not in without]
            return "".join(_option(config, key, index) for key in keys)
    return ""


def _option(config: Config, key: str, index: int) -> str:
    values = config.get(key) or []
    value = values[index] if index < len(values) else None
    if value is None or (value == 0 and not isinstance(value, bool)):
        return ""
    if key == "range_multi_buffers":
        value = not value
    return f", {OPTIONS[key]}={value}"
