"""Timers: medians, calls in turns, and a GPU's."""

from __future__ import annotations

import pytest
import torch

from helion.autotuner.benchmarking import (
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    ClockTimer,
    EventTimer,
    counted_timer,
    rounds_for,
    timer_for,
)


class Steps:
    """A clock and calls that make it move by the next of some seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: list[float]):
        left = list(seconds)

        def run() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_calls_take_turns_and_medians_count():
    clock = Steps()
    calls = [clock.call("a", [9.0, 1.0, 1.0]), clock.call("b", [2.0, 2.0, 50.0])]
    times = ClockTimer(clock)(calls, repeat=3, desc="")
    assert clock.order == ["a", "b"] * 3
    assert times == pytest.approx([1000.0, 2000.0])


@pytest.mark.parametrize(("seconds", "calls"), [(0.01, 5), (1.0, 3), (0.001, 50)])
def test_timer_chooses_the_number_of_calls(seconds, calls):
    clock = Steps()
    (ms,) = ClockTimer(clock)([clock.call("a", [seconds])], repeat=None, desc="")
    assert ms == pytest.approx(seconds * 1e3) and abs(len(clock.order) - calls) <= 1


def test_rounds_stay_in_their_limits():
    assert rounds_for(0.0, 50.0) == rounds_for(1e-6, 50.0) == MOST_ROUNDS
    assert rounds_for(1e6, 50.0) == FEWEST_ROUNDS
    assert rounds_for(5.0, 50.0) == 10


def test_timer_of_the_user_gets_a_number():
    seen = []

    def timer(callables, *, repeat, desc):
        seen.append((len(callables), repeat, desc))
        return [1.0 for _ in callables]

    assert counted_timer(timer)([print], repeat=None, desc="trial") == [1.0]
    counted_timer(timer)([print, print], repeat=7, desc="final")
    assert seen == [(1, 100, "trial"), (2, 7, "final")]


def test_timer_for_a_cpu():
    assert isinstance(timer_for(torch.device("cpu")), ClockTimer)


@pytest.mark.gpu
def test_events_tell_fast_from_slow():
    small, large = (torch.randn(n, n, device="cuda") for n in (256, 4096))
    timer = timer_for(small.device)
    assert isinstance(timer, EventTimer)
    calls = [lambda: small @ small, lambda: large @ large]
    for repeat in (None, 5):
        fast, slow = timer(calls, repeat=repeat, desc="")
        assert 0 < fast < 0.2 * slow
