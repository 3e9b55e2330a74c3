"""The Config used before any search: a pick by shape and kernel class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runtime.config import Config
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR


def choose(env: CompileEnvironment, ir: DeviceIR) -> Config:
    """Return a legal Config."""
    return env.config_spec.default_config()
