"""The options of a launch that a Config gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runtime.config import Config
    from .launch_overlap import LaunchOverlap

# The key of the Config is that of the launch.
_SAME = ("num_warps", "num_stages", "maxnreg", "waves_per_eu", "matrix_instr_nonkdim")


def launch_options(config: Config, overlap: LaunchOverlap) -> str:
    """Return the keyword arguments of a launch."""
    values: dict[str, Any] = {k: config[k] for k in _SAME if config.get(k) is not None}
    controls = config.get("advanced_controls_file")
    if controls:
        values["ptx_options"] = f"--apply-controls {controls}"
    if overlap.is_on(config):
        values["launch_pdl"] = True
    return ", ".join(f"{key}={value!r}" for key, value in values.items())
