"""What scans, reductions, sorts and random numbers refuse, with the user's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import helion
import helion.language
from helion import exc

hl: Any = helion.language  # the calls below are wrong on purpose


@helion.kernel
def applied(x: torch.Tensor, function: object) -> torch.Tensor:
    """Return ``function`` of tiles of rows."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = function(x[tile, :])
    return out


def one(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return one value where two are needed."""
    return a + c


def two(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a + c, b + d


Body = Callable[[torch.Tensor], Any]
REFUSED: dict[str, tuple[Body, type[exc.Base], str]] = {
    "a list of tensors": (
        lambda v: hl.reduce(two, [v, v], 1)[0],
        exc.Base,
        "a tuple of tensors is needed",
    ),
    "a list to scan": (
        lambda v: hl.associative_scan(two, [v, v], 1)[0],
        exc.Base,
        "a tuple of tensors is needed",
    ),
    "a list of dims": (
        lambda v: hl.reduce(torch.add, v, [1]),
        exc.Base,
        "must be one int",
    ),
    "dim of reduce": (
        lambda v: hl.reduce(torch.add, v, 2),
        exc.Base,
        "dim 2 is out of range",
    ),
    "dim of scan": (
        lambda v: hl.associative_scan(torch.add, v, -3),
        exc.Base,
        "dim -3 is out of range",
    ),
    "dim of cumsum": (lambda v: hl.cumsum(v, 5), exc.Base, "dim 5 is out of range"),
    "dim of torch.cumsum": (
        lambda v: torch.cumsum(v, 5),
        exc.Base,
        "5",
    ),
    "dim of cummax": (
        lambda v: torch.cummax(v, 3)[0],
        exc.ReductionDimInvalidForShape,
        "dim 3",
    ),
    "dim of sort": (lambda v: v.sort(2)[0], exc.ReductionDimInvalidForShape, "dim 2"),
    "too few fills": (
        lambda v: hl.reduce(two, (v, v), 1, other=(0,))[0],
        exc.Base,
        "other has 1 values for 2 tensors",
    ),
    "no function": (
        lambda v: hl.reduce(3, v, 1),
        exc.TypeInferenceError,
        "cannot be called",
    ),
    "too few results": (
        lambda v: hl.reduce(one, (v, v), 1)[0],
        exc.TypeInferenceError,
        "one scalar for each of 2",
    ),
    "captured value": (
        lambda v: hl.reduce(lambda a, b: a + b + v.sum(), v, 1),
        exc.TypeInferenceError,
        "more than its arguments",
    ),
    "k of topk": (
        lambda v: torch.topk(v, 9)[0],
        exc.TorchOpTracingError,
        "k is 9, but the dim has 7",
    ),
    "k of kthvalue": (
        lambda v: torch.kthvalue(v, 0)[0],
        exc.TorchOpTracingError,
        "k is 0, but the dim has 7",
    ),
    "seed": (
        lambda v: hl.rand([4, 7], 1.5),
        exc.TypeInferenceError,
        "a seed is an int, not float",
    ),
    "offsets": (
        lambda v: hl.rand([4, 7], 1, offsets=v),
        exc.TypeInferenceError,
        "tensor of integers",
    ),
    "bounds": (
        lambda v: hl.randint([4, 7], 0.5, 3, 1),
        exc.TypeInferenceError,
        "the bounds are ints",
    ),
    "device": (
        lambda v: hl.rand([4, 7], 1, device=torch.device("meta")),
        exc.NotAllowedOnDevice,
        "meta",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    body, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message) as error:
        applied.bind((torch.empty(4, 7), body))
    assert "out[tile, :] = function(x[tile, :])" in str(error.value)


def test_a_kernel_works_after_an_error() -> None:
    with pytest.raises(exc.Base):
        applied.bind((torch.empty(4, 7), REFUSED["seed"][0]))
    bound = applied.bind((torch.empty(4, 7), torch.sin))
    assert "tl" in bound.to_triton_code()


EAGER = [
    (lambda v: hl.rand([4, 7], 1.5), exc.TypeInferenceError),
    (lambda v: hl.rand([4, 7], 1, offsets=v), exc.TypeInferenceError),
    (lambda v: hl.randint([4, 7], 0.5, 3, 1), exc.TypeInferenceError),
    (lambda v: hl.reduce(one, (v, v), 1)[0], exc.TypeInferenceError),
    (lambda v: hl.reduce(torch.add, v, [1]), TypeError),
    (lambda v: torch.topk(v, 9)[0], RuntimeError),
]


@pytest.mark.parametrize("case", range(len(EAGER)))
def test_refused_as_python(case: int) -> None:
    body, kind = EAGER[case]
    with pytest.raises(kind):
        applied.fn(torch.ones(4, 7), body)
