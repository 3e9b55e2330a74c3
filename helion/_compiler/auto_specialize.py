"""Finds sizes of a dynamic kernel that are worth being numbers: suggests or fixes them.

A size is worth it if device code has the whole dimension in a tile (a full slice, or
what a reduction goes over) in several operations: as a number it needs no argument,
gives masks and loops a known length, and its default Config fits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .._logging import log
from .compile_environment import SizesAreWorthNumbers

if TYPE_CHECKING:
    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR

# Operations on the whole dimension; one alone is a load that nothing is made of.
MIN_USES = 2


@dataclass(frozen=True)
class Candidate:
    """A size that is a symbol now, how host code spells it, and its operations."""

    symbol: str
    text: str
    uses: int


def candidates(ir: DeviceIR, env: CompileEnvironment) -> list[Candidate]:
    """Return the sizes that device code uses whole, the most used first."""
    found: list[Candidate] = []
    for info in env.block_sizes:
        uses = _uses(ir, info)
        if info.is_reduction and uses >= MIN_USES and _is_argument(info, env):
            assert isinstance(info.numel, torch.SymInt)
            symbol = info.numel.node.expr
            label = env.specialized.label(symbol)
            found.append(Candidate(symbol.name, label, uses))
    return sorted(found, key=lambda c: (-c.uses, c.symbol))


def _uses(ir: DeviceIR, info: BlockSizeInfo) -> int:
    values = [n.meta.get("val") for g in ir.graphs for n in g.graph.nodes]
    return sum(isinstance(v, torch.Tensor) and _spans(v, info.extent) for v in values)


def _spans(value: torch.Tensor, extent: int) -> bool:
    # Comparing a symbolic size of a host tensor would record a guard.
    return any(isinstance(size, int) and size == extent for size in value.shape)


def _is_argument(info: BlockSizeInfo, env: CompileEnvironment) -> bool:
    """Whether the length is one symbol that a guard can speak of."""
    if not isinstance(info.numel, torch.SymInt):
        return False
    return info.numel.node.expr in env.symbol_origins


def auto_specialize(ir: DeviceIR, env: CompileEnvironment) -> None:
    """Do as the setting ``auto_specialize`` says with the candidates of a kernel.

    Raises:
        SizesAreWorthNumbers: compile again, with these sizes as numbers.
    """
    mode = env.settings.auto_specialize
    found = [] if mode == "off" else candidates(ir, env)
    if mode == "apply" and found:
        raise SizesAreWorthNumbers({c.symbol for c in found})
    for size in found:
        log.warning(
            "%s is in a tile as a whole in %d operations: "
            "hl.specialize(%s) would make it a number",
            size.text,
            size.uses,
            size.text,
        )
