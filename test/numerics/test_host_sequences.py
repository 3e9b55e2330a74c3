"""Host loops over sequences whose items differ in shape or dtype, with tile loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import check, compiled_function, fake_cuda, offline, randn, run

Tensors = list[torch.Tensor]
SHAPES = [(4, 70), (5, 7), (1, 33)]


@helion.kernel
def over_items(xs: Tensors, ys: Tensors) -> Tensors:
    outs = []
    for x in xs:
        out = torch.empty_like(x)
        for tile in hl.tile(x.size()):
            out[tile] = x[tile] + 1
        outs.append(out)
    return outs


@helion.kernel
def over_zip(xs: Tensors, ys: Tensors) -> Tensors:
    outs = [torch.empty_like(x) for x in xs]
    for x, y, out in zip(xs, ys, outs):
        for tile in hl.tile(out.size()):
            out[tile] = x[tile] + y[tile]
    return outs


@helion.kernel
def over_enumerate(xs: Tensors, ys: Tensors) -> Tensors:
    outs = [torch.empty_like(x) for x in xs]
    for i, x in enumerate(xs):
        y, out = ys[i], outs[i]
        for tile in hl.tile(out.size()):
            out[tile] = x[tile] * i + y[tile]
    return outs


@helion.kernel
def over_range(xs: Tensors, ys: Tensors) -> Tensors:
    outs = [torch.empty_like(x) for x in xs]
    for i in range(len(xs)):
        for tile in hl.tile(outs[i].size()):
            outs[i][tile] = xs[i][tile] - ys[i][tile]
    return outs


@helion.kernel
def over_static_range(xs: Tensors, ys: Tensors) -> Tensors:
    outs = [torch.empty_like(x) for x in xs]
    for i in hl.static_range(len(xs)):
        j = len(xs) - 1 - i
        for tile in hl.tile(xs[j].size()):
            outs[j][tile] = xs[j][tile] * ys[j][tile] + i
    return outs


@helion.kernel
def over_literals(xs: Tensors, ys: Tensors) -> Tensors:
    outs = [torch.zeros_like(x) for x in xs]
    for i in [0, 2]:
        for tile in hl.tile(xs[i].size()):
            outs[i][tile] = xs[i][tile] + 1
    for x, y, out, scale in [(xs[1], ys[1], outs[1], 2), (xs[0], ys[0], outs[0], 0.5)]:
        for tile in hl.tile(out.size()):
            out[tile] = out[tile] + (x[tile] + y[tile]) * scale
    return outs


@helion.kernel
def over_reversed(xs: Tensors, ys: Tensors) -> Tensors:
    named = {"first": xs[0], "second": xs[1], "third": xs[2]}
    outs = []
    for name, x in named.items():
        out = torch.empty_like(x)
        for y in reversed(ys):
            if y.size(0) == x.size(0) and name != "first":
                for tile in hl.tile(x.size()):
                    out[tile] = x[tile] + y[tile]
            elif y.size(0) == x.size(0):
                for tile in hl.tile(x.size()):
                    out[tile] = x[tile] - y[tile]
        outs.append(out)
    return outs


def _reversed(xs: Tensors, ys: Tensors) -> Tensors:
    return [xs[0] - ys[0], xs[1] + ys[1], xs[2] + ys[2]]


REFERENCES: list[tuple[Any, Any]] = [
    (over_items, lambda xs, ys: [x + 1 for x in xs]),
    (over_zip, lambda xs, ys: [x + y for x, y in zip(xs, ys, strict=True)]),
    (
        over_enumerate,
        lambda xs, ys: [x * i + y for i, (x, y) in enumerate(zip(xs, ys, strict=True))],
    ),
    (over_range, lambda xs, ys: [x - y for x, y in zip(xs, ys, strict=True)]),
    (
        over_static_range,
        lambda xs, ys: [
            x * y + 2 - i for i, (x, y) in enumerate(zip(xs, ys, strict=True))
        ],
    ),
    (
        over_literals,
        lambda xs, ys: [
            xs[0] + 1 + (xs[0] + ys[0]) / 2,
            2 * (xs[1] + ys[1]),
            xs[2] + 1,
        ],
    ),
    (over_reversed, _reversed),
]
IDS = [kernel.fn.__name__ for kernel, _ in REFERENCES]


def lists(shapes: list[tuple[int, int]] = SHAPES) -> tuple[Tensors, Tensors]:
    return [randn(*s) for s in shapes], [randn(*s) for s in shapes]


@pytest.mark.parametrize("kernel, reference", REFERENCES, ids=IDS)
def test_items_of_different_shapes(kernel: Any, reference: Any, way: str) -> None:
    check(kernel, *lists(), way=way, reference=reference)


@pytest.mark.parametrize("kernel, reference", REFERENCES, ids=IDS)
def test_items_with_sizes_of_the_call(kernel: Any, reference: Any) -> None:
    for shapes in (SHAPES, [(3, 9), (8, 2), (6, 65)]):
        args = lists(shapes)
        options = {"reference": reference, "static_shapes": False}
        check(kernel, *args, way="interpreted", **options)


def test_items_of_different_dtypes(way: str) -> None:
    xs = [randn(5, 7), randn(5, 7, dtype=torch.float16), torch.arange(35).view(5, 7)]
    outs = run(over_items, xs, xs, way=way)
    for x, out in zip(xs, outs, strict=True):
        torch.testing.assert_close(out.cpu(), x.cpu() + 1)


def test_copies_assemble() -> None:
    assert len(offline(over_zip, *lists())) == 3
    assert len(offline(over_static_range, *lists())) == 3


def test_items_of_one_type_stay_a_loop() -> None:
    for kernel in (over_items, over_zip):
        args = fake_cuda(lists([(4, 70)] * 3))
        bound = kernel.bind(args)
        text = bound.to_triton_code(bound.config_spec.default_config())
        assert text.count("@triton.jit") == 1
        assert "    for x" in text


@helion.kernel
def doubled(xs: Tensors, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(y)
    for x in xs:
        for tile in hl.tile(x.size()):
            x[tile] = x[tile] * 2
    for tile in hl.tile(y.size()):
        out[tile] = y[tile] * 2
    return out


def test_an_empty_list_launches_nothing(way: str) -> None:
    check(doubled, [], randn(5, 9), way=way, reference=lambda xs, y: y * 2)


# ---- jumps -------------------------------------------------------------------------


@helion.kernel
def until_wide(xs: Tensors, limit: int) -> tuple[Tensors, int]:
    outs = []
    last = 0
    for x in xs:
        if x.size(1) > limit:
            break
        last = x.size(1)
        out = torch.empty_like(x)
        for tile in hl.tile(x.size()):
            out[tile] = x[tile] + 1
        outs.append(out)
    else:
        last = -1
    return outs, last


@helion.kernel
def unless_marked(xs: Tensors, marks: list[int]) -> Tensors:
    outs = [torch.zeros_like(x) for x in xs]
    for x, mark, out in zip(xs, marks, outs):
        if mark:
            continue
        for tile in hl.tile(x.size()):
            out[tile] = x[tile] + 1
    return outs


@helion.kernel
def unless_narrow(xs: Tensors) -> Tensors:
    outs = []
    for x in xs:
        if x.size(1) < 10:
            continue
        out = torch.empty_like(x)
        for tile in hl.tile(x.size()):
            out[tile] = x[tile] + 1
        outs.append(out)
    return outs


@pytest.mark.parametrize("limit", [5, 40, 100])
def test_break_leaves_the_copies(limit: int, way: str) -> None:
    xs = [randn(*s) for s in [(5, 7), (1, 33), (4, 70)]]
    found, last = run(until_wide, xs, limit, way=way)
    kept = [x for x in xs if x.size(1) <= limit]
    assert len(found) == len(kept)
    for x, out in zip(kept, found, strict=True):
        torch.testing.assert_close(out.cpu(), x.cpu() + 1)
    sizes = [x.size(1) for x in kept]
    assert last == (-1 if limit == 100 else sizes[-1] if sizes else 0)


@pytest.mark.parametrize("marks", [[0, 1, 0], [1, 1, 1], [0, 0, 0]])
def test_continue_leaves_one_copy(marks: list[int], way: str) -> None:
    xs, _ = lists()
    found = run(unless_marked, xs, marks, way=way)
    for x, mark, out in zip(xs, marks, found, strict=True):
        torch.testing.assert_close(out.cpu(), x.cpu() * 0 if mark else x.cpu() + 1)


def test_continue_under_a_known_condition(way: str) -> None:
    xs, _ = lists()
    found = run(unless_narrow, xs, way=way)
    assert [tuple(out.shape) for out in found] == [(4, 70), (1, 33)]
    torch.testing.assert_close(found[1].cpu(), xs[2].cpu() + 1)


def test_break_and_continue_together_are_refused() -> None:
    @helion.kernel
    def both(xs: Tensors, n: int, m: int) -> Tensors:
        outs = [torch.zeros_like(x) for x in xs]
        for x, out in zip(xs, outs):
            if n == m:
                break
            if n == m + 1:
                continue
            for tile in hl.tile(x.size()):
                out[tile] = x[tile] + 1
        return outs

    with pytest.raises(exc.StatementNotSupported, match="break and continue"):
        compiled_function(both, fake_cuda((lists()[0], 3, 5)), None)


def test_a_wrong_body_is_reported_with_its_line() -> None:
    @helion.kernel
    def wrong(xs: Tensors) -> Tensors:
        outs = [torch.zeros_like(x) for x in xs]
        for x, out in zip(xs, outs):
            for tile in hl.tile(x.size()):
                out[tile] = x[tile] + missing  # noqa: F821 # pyright: ignore
        return outs

    with pytest.raises(exc.UndefinedVariable, match="missing  # noqa"):
        compiled_function(wrong, fake_cuda((lists()[0],)), None)


# ---- what loops leave behind -------------------------------------------------------


@helion.kernel
def one_after_the_other(xs: Tensors) -> Tensors:
    kept = []
    total = 0
    for x in xs:
        half = x[:, : (x.size(1) + 1) // 2]
        total += half.size(1)
        kept.append(half)
        for tile in hl.tile(half.size()):
            half[tile] = half[tile] * 2
    outs = [torch.empty_like(x + y) for x, y in zip(kept, xs[:0] + kept)]
    for x, out in zip(kept, outs):
        for tile in hl.tile(out.size()):
            out[tile] = x[tile] + total
    return outs


def test_names_and_lists_are_known_after_the_loop(way: str) -> None:
    def reference(xs: Tensors) -> Tensors:
        halves = [x[:, : (x.size(1) + 1) // 2] * 2 for x in xs]
        return [h + sum(h.size(1) for h in halves) for h in halves]

    xs, _ = lists()
    wanted = reference([x.clone() for x in xs])
    found = run(one_after_the_other, xs, way=way)
    for out, value in zip(found, wanted, strict=True):
        torch.testing.assert_close(out.cpu(), value.cpu())


@helion.kernel
def names_used_twice(xs: Tensors, ys: Tensors) -> Tensors:
    for tile in hl.tile(xs[0].size()):
        x, y = xs[0][tile], ys[0][tile]
        ys[0][tile] = x + y
    outs = [torch.empty_like(x + y) for x, y in zip(xs, ys)]
    for x, y, out in zip(xs, ys, outs):
        for tile in hl.tile(out.size()):
            out[tile] = x[tile] + y[tile]
    return outs


def test_a_comprehension_has_names_of_its_own(way: str) -> None:
    xs, ys = lists()
    wanted = [2 * xs[0] + ys[0], *[x + y for x, y in zip(xs[1:], ys[1:], strict=True)]]
    found = run(names_used_twice, xs, ys, way=way)
    for out, value in zip(found, wanted, strict=True):
        torch.testing.assert_close(out.cpu(), value.cpu())


@helion.kernel
def in_a_while_loop(xs: Tensors, turns: int) -> tuple[Tensors, torch.Tensor]:
    outs = [torch.zeros_like(x) for x in xs]
    total = xs[0].new_zeros([])
    i = 0
    while i < turns:
        for x, out in zip(xs, outs):
            for tile in hl.tile(x.size()):
                out[tile] = out[tile] + x[tile] * i
                total += x[tile].sum()
        i += 1
    return outs, total


def test_copies_in_a_loop_that_stays(way: str) -> None:
    def reference(xs: Tensors, turns: int) -> tuple[Tensors, torch.Tensor]:
        total = torch.stack([x.sum() for x in xs]).sum() * turns
        return [x * sum(range(turns)) for x in xs], total

    check(in_a_while_loop, lists()[0], 3, way=way, reference=reference)


# ---- numbers of the host -----------------------------------------------------------


@helion.kernel
def corrected(x: torch.Tensor, beta: float, step: int) -> torch.Tensor:
    scale = 1.0 / (1.0 - beta**step)
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] * scale + beta ** (step - 1)
    return out


@pytest.mark.parametrize("static", [True, False])
def test_power_of_arguments(static: bool, way: str) -> None:
    for step in (1, 3, 10):
        check(
            corrected,
            randn(5, 9),
            0.9,
            step,
            way=way,
            reference=lambda x, b, n: x / (1 - b**n) + b ** (n - 1),
            static_shapes=static,
        )


def test_power_of_arguments_assembles() -> None:
    assert offline(corrected, randn(5, 9), 0.9, 3)
