"""The wrapper of a pass over the device IR: timing, dumping, verifying."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from .._logging import dump

if TYPE_CHECKING:
    from collections.abc import Callable

    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

    Pass = Callable[[DeviceIR, CompileEnvironment], DeviceIR]


def compiler_pass(name: str) -> Callable[[Pass], Pass]:
    """Make a function a pass called ``name``.

    ``HELION_DUMP=<name>`` prints the IR after it, ``HELION_DUMP=time`` how long it
    took; with the setting ``debug`` every graph is verified.
    """

    def decorate(function: Pass) -> Pass:
        @functools.wraps(function)
        def run(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
            start = time.perf_counter()
            result = function(ir, env)
            taken_ms = (time.perf_counter() - start) * 1e3
            dump(name, lambda: str(result))
            dump("time", lambda: f"{name}: {taken_ms:.1f} ms")
            if env.settings.debug:
                verify(result)
            return result

        return run

    return decorate


def verify(ir: DeviceIR) -> None:
    """Check that graphs are well formed and that every call has what stage 2 needs."""
    for info in ir.all_versions():
        info.graph.lint()
        for node in info.graph.nodes:
            assert node.op != "call_function" or "val" in node.meta, node.format_node()
