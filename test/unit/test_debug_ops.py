"""Prints and breakpoints in device code, and names that have no code yet."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness
from test.unit import faults


@helion.kernel
def shows(x: torch.Tensor, n: int, size: hl.constexpr) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        hl.device_print("sizes {}", size, tile.begin, x.size(0), n * 2)
        print("values", x[tile].sum(), 2.5)
        out[tile] = x[tile]
    return out


@helion.kernel
def stops(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        breakpoint()
        out[tile] = x[tile]
    return out


@helion.kernel
def grouped(x: torch.Tensor, group: hl.ProcessGroupName) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + (1 if group == "tp" else 2)
    return out


def test_prints_in_eager_mode(capsys: Any) -> None:
    harness.run(shows, torch.ones(4), 3, 7, way="plain")
    shown = capsys.readouterr().out
    assert "sizes {} 7 0 4 6" in shown
    assert "values tensor(4.) 2.5" in shown


def test_prints_take_run_time_numbers_and_constants() -> None:
    args = harness.fake_cuda((torch.ones(64), 3, 7))
    bound = shows.bind(args)
    text = bound.to_triton_code()
    assert "tl.device_print('sizes {} 7', offset_0" in text
    assert "tl.device_print('values', " in text


def test_prints_assemble() -> None:
    assert harness.offline(shows, torch.ones(512), 3, 7)


def test_prints_run() -> None:
    x = torch.ones(4)
    found = harness.run(shows, x, 3, 7, way="interpreted")
    assert torch.equal(found, x)


PRINTS = [
    (exc.TypeInferenceError, "string literal", "hl.device_print(x[t])"),
    (exc.InvalidAPIUsage, "prefix", "hl.device_print()"),
    (exc.HostTensorDirectUsage, "x", "print('x', x)"),
    (exc.TypeInferenceError, "shows tensors", "print('t', t)"),
]


@pytest.mark.parametrize("error, text, line", PRINTS)
def test_what_cannot_be_printed(error: Any, text: str, line: str) -> None:
    found = faults.fault(faults.device_text(line))
    assert type(found) is error
    assert text in str(found)


def test_a_breakpoint_needs_an_interpreted_mode(monkeypatch: Any) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(exc.BreakpointInDeviceLoopRequiresInterpret):
        stops.bind(harness.fake_cuda((torch.ones(8),)))


def test_a_breakpoint_is_emitted_for_tritons_interpreter(monkeypatch: Any) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    kernel = helion.kernel(stops.fn)
    assert (
        "breakpoint()"
        in kernel.bind(harness.fake_cuda((torch.ones(8),))).to_triton_code()
    )


def test_a_breakpoint_stops_in_eager_mode(monkeypatch: Any) -> None:
    calls: list[int] = []
    monkeypatch.setattr("sys.breakpointhook", lambda *_: calls.append(1))
    harness.run(stops, torch.ones(8), way="plain")
    hl.breakpoint()
    assert len(calls) == 2


def test_the_name_of_a_group_is_a_compile_time_value() -> None:
    for way in ("plain", "eager", "interpreted"):
        for group, extra in (("tp", 1), ("dp", 2)):
            found = harness.run(grouped, torch.zeros(4), group, way=way)
            assert torch.equal(found, torch.full((4,), float(extra)))


NOT_YET = [
    ("hl.remote_barrier", lambda: hl.remote_barrier([0, 1])),
    (
        "hl.make_async_remote_copy",
        lambda: hl.make_async_remote_copy(torch.ones(2), [0], 1),
    ),
    ("hl.AsyncCopyDescriptor", lambda: hl.AsyncCopyDescriptor()),
]


@pytest.mark.parametrize("name, call", NOT_YET)
def test_names_that_have_no_code_yet(name: str, call: Any) -> None:
    with pytest.raises(exc.NotSupportedYet, match=f"{name} is not supported yet"):
        call()


@pytest.mark.parametrize(
    "line", ["hl.remote_barrier([0])", "hl.make_async_remote_copy(x, [t], 1)"]
)
def test_a_kernel_names_what_has_no_code_yet(line: str) -> None:
    assert type(faults.fault(faults.device_text(line))) is exc.NotSupportedYet


def test_overlapping_launches_are_nothing_in_eager_mode() -> None:
    assert hl.pdl_wait() is None
    assert hl.pdl_launch_dependents() is None
    for name in ("pdl_wait", "pdl_launch_dependents"):
        on_device = faults.fault(faults.device_text(f"hl.{name}()"))
        assert type(on_device) is exc.PdlPlacement
