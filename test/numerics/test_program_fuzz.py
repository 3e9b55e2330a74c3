"""Random small programs fail with an error of the user, or agree with plain Python."""

from __future__ import annotations

import pytest
import torch

from test import program_fuzz, program_pieces
from test.program_fuzz import Outcome, check, check_seed, program_of, shrink
from test.program_text import Node, Program
from test.unit import error_triggers

COUNT, CHUNK, FIRST = 2000, 40, 100_000


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, CHUNK))
def test_generated_programs_keep_the_promise(first: int) -> None:
    found = {seed: check_seed(seed).finding for seed in range(first, first + CHUNK)}
    wrong = {seed: finding for seed, finding in found.items() if finding is not None}
    told = [f"python -m test.program_fuzz --count 1 --seed {seed}" for seed in wrong]
    assert not wrong, "\n".join([*told, *map(str, wrong.values())])


# -- the test itself -------------------------------------------------------------------


def test_a_seed_gives_the_same_program_each_time() -> None:
    assert program_of(7).source() == program_of(7).source()


def test_a_part_is_refused_and_a_part_compiles() -> None:
    outcomes = [check_seed(seed) for seed in range(3000, 3060)]
    refused = sum(bool(outcome.refused) for outcome in outcomes)
    assert 5 < refused < 45


def program_with(*lines: str, static: bool = True, size: int = 2) -> Program:
    """Return a program of one loop with these lines in it."""
    x0 = torch.randn(5, 3, size)
    make = "o0 = torch.zeros([n], dtype=torch.int64, device=x0.device)"
    return Program(
        seed=0,
        params={"x0": x0, "xs": [x0]},
        sizes=[Node("n = x0.size(0)")],
        outs={"o0": Node(make)},
        body=[Node("for t in hl.tile(n):", [Node(line) for line in lines])],
        is_static=static,
    )


def test_a_wrong_value_is_found() -> None:
    line = "o0[t] = 1.0 if type(t).__name__ == 'EagerTile' else 2.0"
    found = check(program_with(line), run=True).finding
    assert found is not None and found.kind == "VALUE"


def test_a_failing_compiler_is_found_and_its_program_shrunk(monkeypatch) -> None:
    monkeypatch.setitem(program_pieces.NAMES, "clumsy", error_triggers.clumsy)
    program = program_with("v = 1", "o0[t] = clumsy(x0[t, 0, 0])", "w = v")
    finding = check(program, run=False).finding
    assert finding is not None and finding.kind == "EMIT InductorLoweringError"
    small = shrink(program, finding, False, limit=20)
    assert [node.head for node in small.body[0].body] == [program.body[0].body[1].head]


def test_endless_work_is_found(monkeypatch) -> None:
    monkeypatch.setattr(program_fuzz, "LIMIT_S", 0.01)
    found = check(program_with("o0[t] = x0[t, 0, 0].sum(0)"), run=False).finding
    assert found is not None and found.kind == "HANG"


# -- found by other seeds --------------------------------------------------------------

FOUND = {
    "a 0-d value is transposed": ("o0[t] = x0[0, 0, 0].transpose(0, -1) * 4",),
    "a conditional expression loads on both sides": (
        "v = x0[t, :2, 0] if x0[0, 0, 0] > 0 else x0[t, :2, 1]",
        "o0[t] = v.sum(1) * 4",
    ),
    "a generator is no list to be restored": (
        "v = tuple(q * 2 for q in [x0[t, 0, 0]])[0]",
        "o0[t] = (v if v.dtype == torch.float32 else v + 1) * 4",
    ),
    "a method unifies the size of its tensor, too": (
        "v = x0[0, :, 0][None, :].add(xs[0][t, :, 0])",
        "o0[t] = v.sum(1) * 4",
    ),
    "a sum is cast when it is stored": ("o0[t] += x0[t, 0, 0] * 4",),
}


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("lines", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_right(lines, static) -> None:
    outcome = check(program_with(*lines, static=static), run=True)
    assert outcome.finding is None and not outcome.refused


@pytest.mark.parametrize("static", [True, False])
def test_an_empty_dim_has_no_factors_to_look_for(static) -> None:
    lines = ("v = x0[t, :, :].unflatten(-1, (-1, 1))", "o0[t] = v.sum(-1).sum((1, 2))")
    outcome = check(program_with(*lines, static=static, size=0), run=True)
    assert outcome.finding is None


def test_types_are_alike_before_they_are_stacked() -> None:
    lines = ("v = x0[t, 0, 0] > 0", "o0[t] = torch.stack([v, v + 1], -1).sum(1)")
    assert check(program_with(*lines), run=True) == Outcome()


def test_a_loop_variable_is_not_the_one_before_it_afterwards() -> None:
    program = program_with("for t in hl.tile(3):", "o0[t.begin] = 1")
    assert check(program, run=False).refused.startswith("CrossRootDeviceValue")
