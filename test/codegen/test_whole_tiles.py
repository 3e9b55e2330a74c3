"""Which loops are walked in parts, and what is left out where tiles are whole."""

from __future__ import annotations

import ast

import pytest
import torch

import helion
import helion.language as hl
from helion._compiler.triton.assemble import capture_launches
from test.codegen.emitted import KERNELS, bind, bind_case, case_code, kernel_texts
from test.harness import fake_cuda, randn
from test.numerics.test_whole_tiles import MASKS, masked_product, skipping


def loops(code: str) -> list[str]:
    """Return the text of every loop of the only kernel."""
    (kernel,) = kernel_texts(code)
    nodes = ast.walk(ast.parse(kernel))
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.For)]


def masked_loops(name: str, **config: object) -> list[str]:
    """Return the loops of ``masked_product`` with a mask of that name."""
    x, y = randn(64, 16), randn(64, 16)
    bound = bind(masked_product, x, y, y, 0, MASKS[name])
    return loops(bound.to_triton_code({"block_sizes": [16, 32], **config}))


@pytest.mark.parametrize(
    "name, parts",
    [
        ("past", 2), ("past, columns first", 2), ("strict past", 2), ("future", 2),
        ("future as the other side", 2), ("shifted", 2), ("shifted back", 2),
        ("difference", 2), ("window", 3), ("band", 3), ("not the future", 2),
        ("filled", 3), ("columns", 2), ("rows and columns", 3), ("with a value", 2),
        ("none", 1),
    ],
)  # fmt: skip
def test_masks_are_peeled_off(name: str, parts: int) -> None:
    found = masked_loops(name)
    assert len(found) == parts
    free = [text for text in found if "tl.where" not in text]
    assert len(free) == (0 if name == "with a value" else 1)


def test_a_condition_on_values_stays_alone() -> None:
    whole, rest = masked_loops("with a value")
    assert "scores > 0.0" in whole and "indices" not in whole.split("tl.where")[1]
    assert ">= v" in rest


def test_a_knob_keeps_one_loop() -> None:
    (loop,) = masked_loops("window", peel_masks=[False])
    assert "tl.where" in loop


def test_a_ragged_last_tile_is_peeled_off_only_where_there_is_one() -> None:
    def count(length: int) -> int:
        x, y = randn(64, 16), randn(length, 16)
        bound = bind(masked_product, x, y, y, 0, MASKS["none"])
        return len(loops(bound.to_triton_code({"block_sizes": [16, 32]})))

    assert [count(64), count(65), count(31)] == [1, 2, 1]


def test_causal_attention_ends_with_its_queries() -> None:
    full, rest = loops(case_code("causal_attention", block_sizes=[1, 16, 16]))
    assert "tl.where" not in full and "mask_3" not in full and " if " not in full
    assert "tl.where" in rest and "\n    if " not in rest and "stop_3" in rest


def test_a_clipped_loop_has_no_branch() -> None:
    bound = bind(skipping, randn(16, 64), randn(64, 16), 17, 32)
    (loop,) = loops(bound.to_triton_code({"block_sizes": [16, 16]}))
    assert "if " not in loop and "first_" in loop and "stop_" in loop


@helion.kernel
def no_products(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile_m in hl.tile(x.size(0)):
        for tile_n in hl.tile(x.size(1)):
            past = tile_m.index[:, None] >= tile_n.index[None, :]
            out[tile_m, tile_n] = torch.where(past, x[tile_m, tile_n], 0.0)
    return out


def test_loops_that_memory_limits_stay_whole() -> None:
    bound = bind(no_products, randn(50, 50))
    assert len(loops(bound.to_triton_code({"block_sizes": [16, 16]}))) == 1


@helion.kernel
def uncertain(x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The bound of the mask is read in the loop: it is no limit."""
    out = torch.empty([x.size(0), 16], device=x.device)
    for tile_m in hl.tile(x.size(0)):
        acc = hl.zeros([tile_m, 16], dtype=torch.float32)
        for tile_n in hl.tile(x.size(1)):
            end = ends[tile_n.begin]
            seen = tile_n.index[None, :] < end
            kept = torch.where(seen, x[tile_m, tile_n], 0.0)
            acc = hl.dot(kept, x[tile_n, 0:16], acc=acc)
        out[tile_m, :] = acc
    return out


def test_bounds_that_change_in_the_loop_are_no_limits() -> None:
    bound = bind(uncertain, randn(64, 64), torch.zeros(64, dtype=torch.int32))
    assert len(loops(bound.to_triton_code({"block_sizes": [16, 16]}))) == 1


@pytest.mark.parametrize("name", ["causal_attention", "sliding_window_attention"])
def test_parts_assemble(name: str) -> None:
    bound = bind_case(name)
    host = bound.compile_config(bound.config_spec.default_config())
    args = fake_cuda(KERNELS[name].make_args("cpu", True))
    for launch in capture_launches(host, args):
        assert launch.assemble("sm_90").cubin
