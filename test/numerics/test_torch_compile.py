"""Kernel calls inside torch.compile: part of the graph, with every effect kept."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import run_scenario
from test.numerics.test_autograd import (
    WAYS,
    add_rows,
    multiply_into,
    scaled_softmax,
)


@helion.kernel(static_shapes=False)
def multiply(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * y[tile]
    return out


@helion.kernel
def many_results(x: torch.Tensor, dtype: torch.dtype, note: str) -> dict[str, object]:
    doubled = torch.empty_like(x, dtype=dtype)
    rows = x.new_empty([x.size(0)])
    for tile in hl.tile(x.size(0)):
        doubled[tile, :] = x[tile, :] * 2
        rows[tile] = x[tile, :].sum(1)
    flat = doubled.view(-1)
    return {"both": (doubled, rows), "flat": flat, "x": x, "note": note, "none": None}


@helion.kernel
def apply(x: torch.Tensor, function: object) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = function(x[tile])
    return out


@helion.kernel
def sum_list(parts: list[torch.Tensor], scale: int, start: float = 0.5) -> torch.Tensor:
    out = torch.empty_like(parts[0])
    for tile in hl.tile(out.size(0)):
        acc = hl.full([tile], start, dtype=out.dtype)
        for part in parts:
            acc = acc + part[tile]
        out[tile] = acc * scale
    return out


def _plain(device: str, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, device=device)


def _compiled(function, **options):
    """Compile without code generation, which is slow and not ours."""
    torch._dynamo.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True, **options)


def call_is_part_of_the_graph(device: str) -> None:
    @_compiled
    def model(x, weight):
        out, rows = scaled_softmax(x * 2, weight, scale=1.5)
        return out.relu() + rows

    x, weight = _plain(device, 5, 7), _plain(device, 7)
    wanted = (torch.softmax(x * 2, -1) * weight * 1.5).relu() + 5
    torch.testing.assert_close(model(x, weight), wanted)


def gradients_flow_through_the_graph(device: str) -> None:
    @_compiled
    def model(x, weight):
        return scaled_softmax(x * 2, weight, 1.5)[0].sin()

    x, weight = (_plain(device, *s).requires_grad_() for s in ((5, 7), (7,)))
    plain = (torch.softmax(x * 2, -1) * weight * 1.5).sin()
    grad = torch.randn_like(plain)
    found = torch.autograd.grad(model(x, weight), [x, weight], grad)
    wanted = torch.autograd.grad(plain, [x, weight], grad)
    torch.testing.assert_close(found, wanted)


def sizes_may_be_dynamic(device: str) -> None:
    seen = []

    def count(graph, example):
        seen.append(graph)
        return graph.forward

    torch._dynamo.reset()

    @torch.compile(backend=count, fullgraph=True, dynamic=True)
    def model(x, y):
        return multiply(x + 1, y) * 2

    for size in (5, 8, 13, 1021):
        x, y = _plain(device, size), _plain(device, size)
        torch.testing.assert_close(model(x, y), (x + 1) * y * 2)
    assert len(seen) == 1


def static_kernels_get_a_graph_for_each_size(device: str) -> None:
    @_compiled
    def model(x):
        return many_results(x, torch.float32, "a")["both"][1]

    for size in (5, 8):
        x = _plain(device, size, 3)
        torch.testing.assert_close(model(x), x.sum(1))


def arguments_written_to_are_changed(device: str) -> None:
    @_compiled
    def model(x, out, total):
        multiply_into(x, out)
        result = add_rows(out[:, None], total)
        return out + 1, result

    x, out, total = _plain(device, 11), _plain(device, 11), _plain(device, 1)
    product, added = x * out, (x * out).sum() + total
    found, result = model(x, out, total)
    torch.testing.assert_close((out, found), (product, product + 1))
    torch.testing.assert_close((total, result), (added, added))


def results_keep_their_structure(device: str) -> None:
    @_compiled
    def model(x):
        return many_results(x, torch.float16, "note")

    x = _plain(device, 5, 3)
    found = model(x)
    doubled, rows = found["both"]
    torch.testing.assert_close((doubled, rows), ((x * 2).half(), x.sum(1)))
    torch.testing.assert_close(found["flat"], (x * 2).half().view(-1))
    torch.testing.assert_close(found["x"], x)
    assert (found["note"], found["none"]) == ("note", None)


def lists_and_numbers_are_arguments(device: str) -> None:
    @_compiled
    def model(x, y, scale):
        return sum_list([x, y, x], scale) + sum_list([y], 2, start=1.0)

    x, y = _plain(device, 7), _plain(device, 7)
    for scale in (2, 3, 4):
        wanted = (x + y + x + 0.5) * scale + (y + 1) * 2
        torch.testing.assert_close(model(x, y, scale), wanted)


def function_argument_breaks_the_graph_and_runs(device: str) -> None:
    torch._dynamo.reset()

    @torch.compile(backend="aot_eager")
    def model(x):
        return apply(x + 1, torch.nn.functional.silu) * 2

    x = _plain(device, 11)
    torch.testing.assert_close(model(x), torch.nn.functional.silu(x + 1) * 2)


def written_argument_with_gradients_is_an_error(device: str) -> None:
    @_compiled
    def model(x, out):
        multiply_into(x, out)
        return out

    x, out = _plain(device, 11).requires_grad_(), _plain(device, 11)
    with pytest.raises(Exception, match="writes to an argument") as caught:
        model(x, out)
    names = {type(e).__name__ for e in _causes(caught.value)} | {str(caught.value)}
    assert any(exc.AutodiffNotSupported.__name__ in name for name in names)
    with torch.no_grad():
        model(x, out)


def _causes(error: BaseException | None):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def error_in_a_kernel_names_its_line(device: str) -> None:
    @_compiled
    def model(x, weight):
        return scaled_softmax(x, weight, 1.0)[0]

    with pytest.raises(Exception, match="weight"):
        model(_plain(device, 5, 7), _plain(device, 6))
    x, weight = _plain(device, 5, 7), _plain(device, 7)
    wanted = torch.softmax(x, -1) * weight
    torch.testing.assert_close(model(x, weight), wanted)


SCENARIOS = (
    call_is_part_of_the_graph,
    gradients_flow_through_the_graph,
    sizes_may_be_dynamic,
    static_kernels_get_a_graph_for_each_size,
    arguments_written_to_are_changed,
    results_keep_their_structure,
    lists_and_numbers_are_arguments,
    function_argument_breaks_the_graph_and_runs,
    written_argument_with_gradients_is_an_error,
    error_in_a_kernel_names_its_line,
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_torch_compile(scenario, way):
    run_scenario(way, scenario)


def inductor_compiles_the_graph_around(device: str) -> None:
    torch._dynamo.reset()

    @torch.compile(fullgraph=True)
    def model(x, weight):
        return scaled_softmax(x.t().sin(), weight, 1.5)[0].exp()

    x, weight = _plain(device, 7, 5), _plain(device, 7)
    wanted = (torch.softmax(x.t().sin(), -1) * weight * 1.5).exp()
    torch.testing.assert_close(model(x, weight), wanted)


@pytest.mark.gpu
def test_inductor():
    inductor_compiles_the_graph_around("cuda")
