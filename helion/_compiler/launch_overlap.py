"""Launches that begin while the one before ends (programmatic dependent launch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import exc
from .ast_extension import statements
from .target_gpu import no_overlap

if TYPE_CHECKING:
    import ast

    import torch

    from ..runtime.config import Config

WAIT = "gdc_wait()"
LAUNCH = "gdc_launch_dependents()"


@dataclass
class LaunchOverlap:
    """What the host function asks for by ``hl.pdl_wait`` and its kin.

    ``launch_after`` is after how many loops the next launch may begin; None: it is not
    said.
    """

    waits: bool = False
    launch_after: int | None = None

    def note(self, name: str, loops: int, device: torch.device) -> None:
        """Remember a call of ``name`` that stands after so many loops."""
        reason = no_overlap(device)
        if reason is not None:
            raise exc.BackendUnsupported(f"hl.{name}: {reason}")
        if name == "pdl_launch_dependents":
            self.launch_after = loops
            return
        if loops:
            raise exc.PdlPlacement(reason=f"hl.{name} stands after a loop")
        self.waits = True

    def check(self, loops: int) -> None:
        """Refuse a call between two of the loops, of which there are so many."""
        if self.launch_after not in (None, 0, loops):
            reason = "hl.pdl_launch_dependents stands between two loops"
            raise exc.PdlPlacement(reason=reason)

    def is_on(self, config: Config) -> bool:
        """Whether launches begin early, and so wait before their first access."""
        return self.waits or bool(config.get("launch_pdl"))

    def around(self, body: list[ast.stmt], config: Config) -> list[ast.stmt]:
        """Return the body of a kernel with the instructions that this asks for."""
        before = [WAIT] if self.is_on(config) else []
        after = []
        if self.launch_after is not None:
            (after if self.launch_after else before).append(LAUNCH)
        parts = [statements(line) for line in (*before, *after)]
        first, last = parts[: len(before)], parts[len(before) :]
        return [*sum(first, []), *body, *sum(last, [])]
