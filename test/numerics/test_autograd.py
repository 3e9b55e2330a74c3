"""Arguments that require grad: gradients flow through kernel calls, or say why not."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import run_scenario


@helion.kernel
def scaled_softmax(
    x: torch.Tensor, weight: torch.Tensor, scale: float
) -> tuple[torch.Tensor, int]:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = torch.softmax(x[tile, :], -1) * weight[None, :] * scale
    return out, x.size(0)


@helion.kernel
def multiply_into(x: torch.Tensor, out: torch.Tensor) -> None:
    for tile in hl.tile(x.size(0)):
        out[tile] = out[tile] * x[tile]


@helion.kernel
def matmul_of_list(pair: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    x, y = pair
    out = x.new_empty([x.size(0), y.size(1)])
    for tile_m, tile_n in hl.tile(out.size()):
        acc = hl.zeros([tile_m, tile_n], dtype=x.dtype)
        for tile_k in hl.tile(x.size(1)):
            acc = acc + x[tile_m, tile_k] @ y[tile_k, tile_n]
        out[tile_m, tile_n] = acc
    return {"out": out}


@helion.kernel
def add_rows(x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    for tile in hl.tile(x.size(0)):
        total[:] += x[tile, :].sum(0)
    return total


@helion.kernel
def by_assembly(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.inline_triton("{0} * 2", args=(x[tile],), output_like=x[tile])
    return out


WAYS = ("eager", "interpreted", pytest.param("compiled", marks=pytest.mark.gpu))


def _leaf(device: str, *shape: int) -> torch.Tensor:
    return _plain(device, *shape).requires_grad_()


def _plain(device: str, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, device=device)


def results_are_differentiable(device: str) -> None:
    x, weight = _leaf(device, 5, 7), _leaf(device, 7)
    out, rows = scaled_softmax(x, weight, 1.5)
    assert (rows, out.requires_grad) == (5, True)
    grad = _plain(device, 5, 7)
    found = torch.autograd.grad(out, [x, weight], grad)
    plain = torch.softmax(x, -1) * weight * 1.5
    wanted = torch.autograd.grad(plain, [x, weight], grad)
    torch.testing.assert_close(found, wanted)


def gradients_agree_with_finite_differences(device: str) -> None:
    inputs = _leaf(device, 3, 5), _leaf(device, 5)
    assert torch.autograd.gradcheck(lambda *xs: scaled_softmax(*xs, 1.5)[0], inputs)


def bound_kernels_are_differentiable(device: str) -> None:
    args = _leaf(device, 5, 7), _plain(device, 7), 2.0
    assert scaled_softmax.bind(args)(*args)[0].requires_grad


def only_what_needs_a_gradient_gets_one(device: str) -> None:
    x, weight = _leaf(device, 5, 7), _plain(device, 7)
    scaled_softmax(x, weight, 1.5)[0].sum().backward()
    assert x.grad is not None
    assert weight.grad is None


def tensors_in_containers_get_gradients(device: str) -> None:
    x, y = _leaf(device, 5, 3), _leaf(device, 3, 4)
    matmul_of_list([x, y])["out"].sum().backward()
    wanted = torch.autograd.grad((x @ y).sum(), [x, y])
    torch.testing.assert_close([x.grad, y.grad], list(wanted))


def argument_written_to_joins_the_graph(device: str) -> None:
    x, out = _leaf(device, 11), _plain(device, 11)
    before = out.clone()
    multiply_into(x, out)
    torch.testing.assert_close(out.detach(), before * x.detach())
    (found,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(found, before)


def returned_argument_joins_the_graph(device: str) -> None:
    x, total = _leaf(device, 11, 3), torch.zeros_like(_plain(device, 3))
    result = add_rows(x, total)
    torch.testing.assert_close(result, x.sum(0))
    (found,) = torch.autograd.grad((result * result).sum(), x)
    (wanted,) = torch.autograd.grad((x.sum(0) ** 2).sum(), x)
    torch.testing.assert_close(found, wanted)


def no_grad_records_nothing(device: str) -> None:
    with torch.no_grad():
        out, _ = scaled_softmax(_leaf(device, 5, 7), _leaf(device, 7), 1.5)
    assert not out.requires_grad


def writing_to_a_leaf_is_an_error(device: str) -> None:
    leaf = _leaf(device, 11)
    with pytest.raises(RuntimeError, match="leaf"):
        multiply_into(_plain(device, 11), leaf)
    with torch.no_grad():
        multiply_into(torch.zeros_like(leaf), leaf)
    assert not leaf.any()


def autograd_notices_what_a_kernel_overwrites(device: str) -> None:
    factor, other = _leaf(device, 11), _plain(device, 11)
    product = (factor * other).sum()  # saves other
    multiply_into(_plain(device, 11), other)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def own_autograd_function_is_left_alone(device: str) -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return scaled_softmax(x, torch.ones_like(x[0]), 2.0)[0]

        @staticmethod
        def backward(ctx, grad):
            return torch.full_like(grad, 3.0)

    x = _leaf(device, 5, 7)
    Doubled.apply(x).sum().backward()
    assert (x.grad == 3.0).all()


SCENARIOS = (
    results_are_differentiable,
    gradients_agree_with_finite_differences,
    bound_kernels_are_differentiable,
    only_what_needs_a_gradient_gets_one,
    tensors_in_containers_get_gradients,
    argument_written_to_joins_the_graph,
    returned_argument_joins_the_graph,
    no_grad_records_nothing,
    writing_to_a_leaf_is_an_error,
    autograd_notices_what_a_kernel_overwrites,
    own_autograd_function_is_left_alone,
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_autograd(scenario, way):
    run_scenario(way, scenario)


def body_that_does_not_run_eagerly_has_no_gradient(device: str) -> None:
    x = _leaf(device, 11)
    out = by_assembly(x)
    torch.testing.assert_close(out.detach(), x.detach() * 2)
    with pytest.raises(exc.AutodiffNotSupported, match="by_assembly"):
        out.sum().backward()


def slow_backward_is_said_once(device: str) -> None:
    kernel = helion.kernel(scaled_softmax.fn)
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        for _ in range(2):
            kernel(_leaf(device, 5, 7), _leaf(device, 7), 1.5)[0].sum().backward()
    assert text.getvalue().count("WARNING[EagerBackward]") == 1


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize(
    "scenario",
    [body_that_does_not_run_eagerly_has_no_gradient, slow_backward_is_said_once],
    ids=lambda s: s.__name__,
)
def test_autograd_of_emitted_code(scenario, way):
    run_scenario(way, scenario)
