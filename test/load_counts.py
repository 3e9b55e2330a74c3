"""How often an interpreted kernel reads the elements of its arguments."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

import helion
from test import interpreter_worker
from test.harness import run_emitted, tensors_in


def elements_read(
    kernel: helion.Kernel, *args: Any, config: helion.Config | None = None
) -> list[int]:
    """Return the number of lanes read of each tensor among the arguments."""
    return interpreter_worker.call(_count, (kernel, args, config))[0]


def _count(
    kernel: helion.Kernel, args: tuple[Any, ...], config: helion.Config | None
) -> list[int]:
    """Run here, where Triton is the interpreter."""
    from test.interpreter_builder import State

    State.loads = Counter()
    try:
        run_emitted(kernel, args, config, frozenset())
        return [State.loads[_region(tensor)] for tensor in tensors_in(args)]
    finally:
        State.loads = None


def _region(tensor: torch.Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.data_ptr() + storage.nbytes()
