"""Timers: how long calls take, with cold caches, as medians, in turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helion.runtime.config import Config

# A single measurement takes about so long, the last one so long for each config.
TARGET_MS = 50.0
FINAL_TARGET_MS = 200.0
MOST_ROUNDS = 1000
FEWEST_ROUNDS = 3
_FLUSH_BYTES = 1 << 26


@dataclass(frozen=True)
class Runnable:
    """A call to be timed, which knows its config."""

    config: Config
    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.function(*self.args)


class Timer(Protocol):
    """Times callables; what a search takes as ``timer=``."""

    def __call__(
        self, callables: Sequence[Callable[[], Any]], *, repeat: int | None, desc: str
    ) -> list[float]:
        """Return the median milliseconds of each, called in turns ``repeat`` times.

        None leaves the number to the timer. Each was called before.
        """
        ...


def rounds_for(each_ms: float, target_ms: float) -> int:
    """Return how many calls of so long fill the target, within limits."""
    if each_ms <= 0:
        return MOST_ROUNDS
    return int(min(max(target_ms / each_ms, FEWEST_ROUNDS), MOST_ROUNDS))


class ClockTimer:
    """Times by the clock of the host, for devices whose calls return when done."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock

    def __call__(
        self, callables: Sequence[Callable[[], Any]], *, repeat: int | None, desc: str
    ) -> list[float]:
        """See ``Timer``."""
        first = [self._once(call) for call in callables]
        if repeat is None:
            repeat = rounds_for(max(first), TARGET_MS)
        times = [[ms] for ms in first]
        for _ in range(repeat - 1):
            for call, found in zip(callables, times):
                found.append(self._once(call))
        return [statistics.median(found) for found in times]

    def _once(self, call: Callable[[], Any]) -> float:
        start = self.clock()
        call()
        return (self.clock() - start) * 1e3


class EventTimer:
    """Times by events on a GPU; its L2 cache is filled with zeros before each call.

    The zeros take longer than the host needs to launch a kernel, so that the launch
    is not in the time.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        properties = torch.cuda.get_device_properties(device)
        size = max(2 * properties.L2_cache_size, _FLUSH_BYTES)
        self.zeros = torch.empty(size // 4, dtype=torch.int32, device=device)

    def __call__(
        self, callables: Sequence[Callable[[], Any]], *, repeat: int | None, desc: str
    ) -> list[float]:
        """See ``Timer``."""
        if repeat is None:
            guesses = self._rounds(callables, FEWEST_ROUNDS)
            repeat = rounds_for(max(guesses), TARGET_MS)
            if repeat <= FEWEST_ROUNDS:
                return guesses
        return self._rounds(callables, repeat)

    def _rounds(
        self, callables: Sequence[Callable[[], Any]], count: int
    ) -> list[float]:
        pairs = [[self._once(call) for call in callables] for _ in range(count)]
        torch.cuda.synchronize(self.device)
        columns = zip(*pairs)
        return [
            statistics.median(start.elapsed_time(end) for start, end in column)
            for column in columns
        ]

    def _once(self, call: Callable[[], Any]) -> tuple[Any, Any]:
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        self.zeros.zero_()
        start.record()
        call()
        end.record()
        return start, end


def timer_for(device: torch.device) -> Timer:
    """Return the timer for kernels on ``device``."""
    if device.type == "cuda" and torch.cuda.is_available():
        return EventTimer(device)
    return ClockTimer()


def counted_timer(timer: Callable[..., list[float]]) -> Timer:
    """Return a user's timer, which always wants a number of rounds."""

    def timed(
        callables: Sequence[Callable[[], Any]], *, repeat: int | None, desc: str
    ) -> list[float]:
        return timer(callables, repeat=repeat or 100, desc=desc)

    return timed
