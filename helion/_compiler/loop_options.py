"""The options of ``tl.range`` that a Config gives a loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .. import exc
from .ast_extension import expr, for_loop, text_of
from .target_gpu import ANY_LOADS_SPECIALIZE, LEAST_SPECIALIZING, gpu_capability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..autotuner.config_spec import ConfigSpec
    from ..runtime.config import Config
    from .device_function import DeviceFunction

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


def static_range(begin: ast.expr, end: ast.expr, step: str) -> ast.expr:
    """Return a ``tl.static_range``, which is unrolled completely."""
    return expr(f"tl.static_range({{begin}}, {{end}}, {step})", begin=begin, end=end)


def is_static_range(fn: DeviceFunction, block_id: int) -> bool:
    """Whether the Config unrolls the loop over an axis completely."""
    chosen = zip(fn.env.config_spec.static_ranges, fn.config.static_ranges)
    return any(is_on and entry.block_id == block_id for entry, is_on in chosen)


def emit_loop(
    fn: DeviceFunction, variable: str, iterable: ast.expr, body: list[ast.stmt]
) -> None:
    """Emit a loop.

    Raises:
        exc.InvalidConfig: Triton cannot specialize this one by warp on this GPU.
    """
    if "warp_specialize=True" in text_of(iterable):
        found = gpu_capability(fn.env.device) or LEAST_SPECIALIZING
        has_pointers = any("tl.load(" in ast.unparse(s) for s in body)
        if found < ANY_LOADS_SPECIALIZE and has_pointers:
            # Triton 3.6 and 3.7 end the process here: "unsupported load type".
            raise exc.InvalidConfig(
                "range_warp_specializes: a loop that loads through pointers cannot be"
                f" specialized on capability {found[0]}.{found[1]}; use indexing ="
                " 'tensor_descriptor' for its loads, or leave it out"
            )
    fn.emit(for_loop(variable, iterable, body))


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
            values = {key: _value(config, key, index) for key in keys}
            if (values.get("range_unroll_factors") or 0) > 1:
                # A turn holds several chunks then, and Triton pipelines whole turns.
                stages = values.get("range_num_stages") or 0
                values["range_num_stages"] = min(stages, 1)
            return "".join(_option(key, value) for key, value in values.items())
    return ""


def _value(config: Config, key: str, index: int) -> Any:
    values = config.get(key) or []
    return values[index] if index < len(values) else None


def _option(key: str, value: Any) -> str:
    if value is None or (value == 0 and not isinstance(value, bool)):
        return ""
    if key == "range_multi_buffers":
        value = not value
    return f", {OPTIONS[key]}={value}"
