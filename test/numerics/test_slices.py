"""Parts of device values and einsum: right in every way, or refused in plain words."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import helion
from helion import exc
from test.codegen.emitted import bind, kernel_texts
from test.harness import check, offline, randn
from test.slice_kernels import (
    CONTRACTIONS,
    PARTS,
    bits,
    halves,
    loaded_half,
    part_of,
    read_before_store,
)

ALL = PARTS | CONTRACTIONS


def sample_configs(kernel: helion.Kernel, args: tuple[Any, ...]) -> list[Any]:
    """Return random Configs with tiles that the shared memory of a GPU holds."""
    spec = bind(kernel, *args).config_spec
    drawn = [spec.random_config(random.Random(seed)) for seed in range(2)]
    small = [[min(size, 4) for size in config.block_sizes] for config in drawn]
    pairs = zip(drawn, small, strict=True)
    return [None, *(helion.Config(**{**c, "block_sizes": b}) for c, b in pairs)]


@pytest.mark.parametrize("name", ALL)
def test_part_is_right(name: str, way: str) -> None:
    kernel, shapes = ALL[name]
    args = tuple(randn(*shape) for shape in shapes)
    check(
        kernel,
        *args,
        way=way,
        reference=kernel.fn,
        configs=sample_configs(kernel, args),
        tolerance={torch.float32: (1e-4, 1e-4)},
        dot_precision="ieee",
    )


@pytest.mark.parametrize("name", ALL)
def test_part_is_right_with_dynamic_shapes(name: str) -> None:
    kernel, shapes = ALL[name]
    args = tuple(randn(*shape) for shape in shapes)
    options = {"way": "interpreted", "static_shapes": False}
    exact = {torch.float32: (1e-4, 1e-4)}
    check(kernel, *args, reference=kernel.fn, tolerance=exact, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32], ids=str)
def test_part_of_other_dtypes(way: str, dtype: torch.dtype) -> None:
    x = randn(9, 10, dtype=dtype)
    check(loaded_half, x, way=way, reference=loaded_half.fn)


def test_part_of_bools(way: str) -> None:
    check(bits, randn(9, 16) > 0, way=way, reference=bits.fn)


@pytest.mark.parametrize("kernel", [halves, bits], ids=["halves", "bits"])
def test_part_in_registers_assembles(kernel: helion.Kernel) -> None:
    x = randn(33, 100) > 0 if kernel is bits else randn(33, 100)
    for arch in ("sm_90", "gfx942"):
        assert all(offline(kernel, x, arch=arch))


# ---- how parts are made ----


def test_part_of_a_load_is_a_smaller_load() -> None:
    (text,) = kernel_texts(bind(loaded_half, randn(9, 10)).to_triton_code())
    assert text.count("tl.load") == 1 and "tl.gather" not in text
    assert "< 5" in text and "< 10" not in text


def test_part_of_a_load_that_is_overwritten_is_kept_in_registers() -> None:
    text = bind(read_before_store, randn(9, 16)).to_triton_code()
    assert text.count("tl.load") == 1 and "tl.gather" in text


def test_equal_halves_are_a_guard() -> None:
    kernel = helion.kernel(halves.fn, static_shapes=False)
    first = bind(kernel, randn(9, 10))
    assert bind(kernel, randn(9, 14)) is first
    with pytest.raises(exc.ShapeMismatch):
        bind(kernel, randn(9, 11))


def test_sum_of_products_of_half_precision_is_rounded_once() -> None:
    kernel, shapes = CONTRACTIONS["summed_rows"]
    args = [randn(*shape, dtype=torch.float16) for shape in shapes]
    text = bind(kernel, *args).to_triton_code()
    assert "tl.float32" in text


# ---- what is refused ----

REFUSED = {
    "tile": (
        lambda v, tile, n: v.narrow(0, 0, 2),
        "a slice of a device value along a tile",
    ),
    "tile_bounds": (lambda v, tile, n: v[:, tile.begin : tile.end], "as a bound"),
    "too_long": (lambda v, tile, n: v.narrow(1, 3, n), "does not fit"),
    "no_such_dim": (lambda v, tile, n: v.narrow(2, 0, 1), "dim 2 is out of range"),
    "no_such_column": (lambda v, tile, n: v[:, 100], "index 100 is out of range"),
    "backwards": (lambda v, tile, n: v[:, ::-1], "must be positive"),
    "positions": (lambda v, tile, n: v[tile.index], "along a tile"),
    "diagonal": (lambda v, tile, n: torch.einsum("ii->i", v), "different dims"),
    "operands": (lambda v, tile, n: torch.einsum("ij,jk->ik", v), "2 operands, 1 "),
    "result": (lambda v, tile, n: torch.einsum("ij->ik", v), "is not defined"),
    "diff": (lambda v, tile, n: v.diff(dim=1), "a function that slices"),
    "check": (
        lambda v, tile, n: torch._check(v.size(1) == 11, lambda: "not 11") or v,
        "not 11",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_part_is_refused(name: str) -> None:
    take, message = REFUSED[name]
    with pytest.raises(exc.Base, match=message):
        bind(helion.kernel(part_of, static_shapes=False), randn(8, 12), take)
