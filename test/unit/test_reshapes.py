"""A reshape of padded tiles is right or refused, never silently wrong."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from helion._compiler.triton.reshapes import reshape_groups
from test import harness


@helion.kernel
def flatten_rows(x: torch.Tensor) -> torch.Tensor:
    n, width = x.size(0), hl.specialize(x.size(1) * x.size(2))
    out = torch.empty([n, width], dtype=x.dtype, device=x.device)
    for tile in hl.tile(n):
        out[tile, :] = x[tile, :, :].reshape(tile, width)
    return out


@pytest.mark.parametrize("shape", [(9, 8, 4), (9, 6, 4), (9, 1, 5), (1, 16, 2)])
def test_padding_at_the_end_only_is_right(shape: tuple[int, ...]) -> None:
    x = harness.randn(*shape)
    found = harness.run(flatten_rows, x, way="interpreted")
    torch.testing.assert_close(found, x.reshape(shape[0], -1))


@pytest.mark.parametrize("shape", [(9, 4, 6), (9, 3, 5)])
def test_padding_between_elements_is_refused(shape: tuple[int, ...]) -> None:
    bound = flatten_rows.bind((harness.randn(*shape),))
    with pytest.raises(exc.BackendUnsupported, match="padded to a power of two"):
        bound.to_triton_code()


def test_groups_pair_equal_runs() -> None:
    assert reshape_groups([7, 4, 6, 1], [7, 24]) == [([7], [7]), ([4, 6], [24])]
    assert reshape_groups([8], [2, 4]) == [([8], [2, 4])]
