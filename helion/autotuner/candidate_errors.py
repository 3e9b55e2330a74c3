"""Errors of one config in a search: which kind they are, and which end the process."""

from __future__ import annotations

import re

import torch

from helion import exc
from helion.autotuner.measurement import Status

# The GPU's context is lost: nothing in this process can run there any more.
_LOST = re.compile(
    r"illegal memory access|misaligned address|unspecified launch failure"
    r"|illegal instruction|device-side assert|invalid program counter"
    r"|hardware stack error|uncorrectable",
    re.IGNORECASE,
)
_RESOURCES = re.compile(
    r"out of resources?|out of memory|shared memory|exceeds triton maximum tensor"
    r"|too many resources|registers? (budget|limit)|invalid argument"
    r"|cooperative launch",
    re.IGNORECASE,
)
_COMPILER = re.compile(
    r"ptxas|PassManager::run failed|LLVM|CompilationError|error encountered.*MLIR"
    r"|Cannot make_shape_compatible|PTX",
    re.IGNORECASE,
)
_LENGTH = 300
_COMPILER_TYPES = ("CompilationError", "PTXASError", "MLIRCompilationError")
_RESOURCE_TYPES = ("OutOfResources",)


def status_of(error: Exception) -> Status:
    """Return how a trial that raised ``error`` ended."""
    kind, text = type(error).__name__, str(error)
    if isinstance(error, exc.InvalidConfig):
        return Status.INVALID
    if isinstance(error, torch.OutOfMemoryError) or kind in _RESOURCE_TYPES:
        return Status.RESOURCES
    if isinstance(error, exc.HelionReductionTooLarge):
        return Status.RESOURCES
    if kind in _COMPILER_TYPES or isinstance(error, exc.Base):
        return Status.COMPILER
    if _RESOURCES.search(text):
        return Status.RESOURCES
    return Status.COMPILER if _COMPILER.search(text) else Status.ERROR


def is_fatal(error: Exception) -> bool:
    """Whether the device is unusable for this process after ``error``."""
    return isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))


def in_short(error: Exception) -> str:
    """Return the kind of an error and the beginning of what it says, as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_LENGTH]}" if text else repr(error)
