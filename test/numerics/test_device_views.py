"""Views of device values move elements as torch does, in every way."""

from __future__ import annotations

import pytest
import torch

from helion import Config
from test.harness import check, offline, randn
from test.view_kernels import VIEWS, folded_tiles, viewed

CONFIGS = (None, Config(block_sizes=[4]), Config(block_sizes=[1]))


def result_of(name: str, x: torch.Tensor) -> torch.Tensor:
    """Return the view of all rows by torch, which the language's ops agree with."""
    return VIEWS[name](x)


@pytest.mark.parametrize("name", VIEWS)
def test_view_is_right(name: str, way: str) -> None:
    x = randn(5, 6, 5)
    wanted = result_of(name, x)
    check(
        viewed,
        x,
        name,
        tuple(wanted.shape[1:]),
        wanted.dtype,
        way=way,
        reference=lambda *_: wanted,
        configs=CONFIGS,
    )


# A gather with an index longer than its source, and one that moves bits.
ASSEMBLED = ("cat_unequal", "index_2d", "bools", "repeat", "gather_last", "diagonal")


@pytest.mark.parametrize("name", ASSEMBLED)
@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_view_assembles(name: str, arch: str) -> None:
    x = randn(33, 6, 5)
    wanted = result_of(name, x)
    sizes, dtype = tuple(wanted.shape[1:]), wanted.dtype
    for config in CONFIGS[1:]:
        assert all(offline(viewed, x, name, sizes, dtype, config=config, arch=arch))


@pytest.mark.parametrize("name", ["flip", "cat_unequal", "repeat", "split", "index"])
def test_view_is_right_with_dynamic_shapes(name: str) -> None:
    x = randn(5, 6, 5)
    wanted = result_of(name, x)
    args = (x, name, tuple(wanted.shape[1:]), wanted.dtype)
    options = {"way": "interpreted", "static_shapes": False}
    check(viewed, *args, reference=lambda *_: wanted, **options)


def test_tiles_are_repeated_and_joined(way: str) -> None:
    x = randn(5, 7)
    for config in (None, Config(block_sizes=[4, 4]), Config(block_sizes=[1, 8])):
        check(
            folded_tiles,
            x,
            way=way,
            reference=lambda x: (x.sum() * 4).view(1),
            configs=(config,),
        )
