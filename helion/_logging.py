"""What compiles print: HELION_DUMP=types,device_ir,roll,triton,time, and remarks."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


# What helion says on its own account; set its level and handlers as any other's.
log = logging.getLogger("helion")


def dump_requested(stage: str) -> bool:
    """Whether HELION_DUMP names the stage (or ``all``)."""
    names = os.environ.get("HELION_DUMP", "")
    if not names:
        return False
    wanted = {name.strip() for name in names.split(",")}
    return stage in wanted or "all" in wanted


def dump(stage: str, text: Callable[[], str]) -> None:
    """Print the result of a stage to stderr if it was asked for."""
    if dump_requested(stage):
        print(f"--- {stage} ---\n{text()}", file=sys.stderr)


def note(text: str) -> None:
    """Print a remark on a compile to stderr; only for the setting ``debug``."""
    print(f"[helion] {text}", file=sys.stderr)
