"""Ops that a device loop cannot have say so, with the line and what to write."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import fake_cuda


@helion.kernel(static_shapes=True)
def integer_mean(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], device=x.device)
    for t in hl.tile(x.size(0)):
        out[t] = x[t, :].mean(-1)
    return out


@helion.kernel(static_shapes=True)
def listed_numbers(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        out[t, :] = x[t, :] + torch.tensor([1.0, 2.0])
    return out


@helion.kernel(static_shapes=True)
def random_slopes(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        out[t, :] = torch.nn.functional.rrelu(x[t, :], training=True)
    return out


@helion.kernel(static_shapes=True)
def degree_of_each(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        v = x[t, :]
        out[t, :] = torch.special.chebyshev_polynomial_t(v, v)
    return out


@helion.kernel(static_shapes=True)
def airy(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        out[t, :] = torch.special.airy_ai(x[t, :])
    return out


@helion.kernel(static_shapes=True)
def scatter_into_tile(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for a, b in hl.tile([x.size(0), x.size(1)]):
        out[a, b] = torch.scatter_add(x[a, b], 1, i[a, b], x[a, b])
    return out


REFUSED = [
    (integer_mean, torch.int32, exc.TorchOpTracingError, "convert to a float dtype"),
    (listed_numbers, torch.float32, exc.TypeInferenceError, "before the loop"),
    (random_slopes, torch.float32, exc.BackendUnsupported, "hl.rand"),
    (degree_of_each, torch.float32, exc.BackendUnsupported, "chebyshev"),
    (airy, torch.float32, exc.BackendUnsupported, "airy"),
]


@pytest.mark.parametrize(
    ("kernel", "dtype", "error", "text"), REFUSED, ids=lambda v: getattr(v, "name", "")
)
def test_refused_ops_say_what_to_write(kernel, dtype, error, text) -> None:
    args = fake_cuda([torch.ones(5, 7, dtype=dtype)])
    with pytest.raises(error, match=text) as caught:
        kernel.bind(args)
    assert "While processing" in str(caught.value) and kernel.fn.__name__ in str(
        caught.value
    )


def test_scatter_into_part_of_a_dim_is_refused() -> None:
    args = fake_cuda([torch.ones(5, 7), torch.ones(5, 7, dtype=torch.int64)])
    with pytest.raises(exc.UnsupportedIndexRemapping, match="whole dim"):
        scatter_into_tile.bind(args)
