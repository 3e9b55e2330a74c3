"""The text of kernels that fold an axis longer than a tile by explicit row numbers."""

from __future__ import annotations

import ast
import re

import pytest
import torch

import helion
from examples.layer_norm import layer_norm_bwd_dwdb
from helion._compiler.mark_loop_indices import LoopIndex
from helion._compiler.roll_reduction import is_rollable
from test.codegen.emitted import bind, kernel_texts, meta
from test.emitted_checks import problems, repeated_loads
from test.harness import offline
from test.long_kernels import even_rows, even_rows_of_torch, odd_rows, weight_grads

M, N, CHUNK = 1_152_000, 16, 4096
PADDED = 2**21
LOOPED = {"block_sizes": [16], "reduction_loops": [CHUNK]}
RANGES = [even_rows, even_rows_of_torch]


def grads_args(m: int = M) -> tuple[torch.Tensor, ...]:
    return meta(m, N), meta(m, N), meta(m), meta(m)


def grads_text(m: int = M, kernel: helion.Kernel = weight_grads) -> str:
    """Return the kernel that computes the weight gradients in chunks of 4096 rows."""
    (text,) = kernel_texts(bind(kernel, *grads_args(m)).to_triton_code(LOOPED))
    return text


def odd_text() -> str:
    code = bind(odd_rows, meta(2 * M, N), meta(N)).to_triton_code(LOOPED)
    return kernel_texts(code)[0]


def split(text: str) -> tuple[str, str, str]:
    """Return what stands before the one loop of a kernel, its body, and the rest."""
    body = ast.parse(text).body[0]
    assert isinstance(body, ast.FunctionDef)
    (loop,) = [s for s in body.body if isinstance(s, ast.For)]
    place = body.body.index(loop)
    parts = body.body[:place], loop.body, body.body[place + 1 :]
    before, inside, after = ("\n".join(map(ast.unparse, part)) for part in parts)
    return before, inside, after


# -- the index of the loop ------------------------------------------------------------


@pytest.mark.parametrize("m", [M, 1_500_001])
def test_explicit_rows_assemble_for_sm_90(m: int) -> None:
    for launch in offline(weight_grads, *grads_args(m)):
        assert launch.cubin


def test_no_range_is_longer_than_a_chunk() -> None:
    code = bind(weight_grads, *grads_args()).to_triton_code(LOOPED)
    assert problems(code, CHUNK * 16) == []
    ranges = re.findall(r"tl\.arange\(([^)]*)\)", code)
    assert sorted(ranges) == ["0, _BLOCK_SIZE_0", "0, _REDUCTION_BLOCK_1"]
    assert f"_REDUCTION_BLOCK_1 = {CHUNK}\n" in code


def test_rows_are_the_index_of_the_loop() -> None:
    _, inside, _ = split(grads_text())
    assert "rindex_1 = (roffset_1 + tl.arange(0, _REDUCTION_BLOCK_1))" in inside
    assert "offsets_1_0 = rindex_1[:, None] * 16 + indices_0[None, :]" in inside
    assert "tl.load(grad_out + offsets_1_0" in inside
    assert "tl.load(mean + rindex_1" in inside


@pytest.mark.parametrize("kernel", RANGES, ids=repr)
def test_a_range_keeps_dtype_start_and_step(kernel: helion.Kernel) -> None:
    code = bind(kernel, meta(M + 1, N, dtype=torch.int64)).to_triton_code(LOOPED)
    _, inside, _ = split(kernel_texts(code)[0])
    assert "rows = rindex_1.to(tl.int64) * 2 + 2" in inside
    # 2, 4, ... 1_152_000
    assert f"for roffset_1 in tl.range(0, {M // 2}, _REDUCTION_BLOCK_1)" in code


@pytest.mark.parametrize("kernel", RANGES, ids=repr)
def test_a_range_has_its_length_for_all_sizes(kernel: helion.Kernel) -> None:
    x = meta(101, N, dtype=torch.int64)
    code = bind(kernel, x, static_shapes=False).to_triton_code()
    assert "(x_size_0 - 1) // 2" in code


@pytest.mark.parametrize("m, has_mask", [(2**21, False), (M, True), (1_500_001, True)])
def test_the_copy_of_a_range_in_the_loop_is_marked(m: int, has_mask: bool) -> None:
    ir = bind(weight_grads, *grads_args(m)).program.ir
    (rolled,) = ir.rolled_reductions.values()
    (loop,) = rolled.loops.values()
    marks = [n.meta.get("loop_index") for n in loop.graph.nodes]
    assert [m for m in marks if m] == [LoopIndex(rolled.block_id, has_mask)]
    assert all("loop_index" not in n.meta for g in ir.graphs for n in g.graph.nodes)


def test_emission_follows_the_mark() -> None:
    bound = bind(weight_grads, *grads_args(1_499_999))
    (rolled,) = bound.program.ir.rolled_reductions.values()
    (loop,) = rolled.loops.values()
    (node,) = [n for n in loop.graph.nodes if "loop_index" in n.meta]
    node.meta["loop_index"] = LoopIndex(0, True)
    code = bound.to_triton_code(LOOPED)
    assert "tl.load(mean + indices_0" in code and "tl.load(mean + rindex_1" not in code


# -- masks ----------------------------------------------------------------------------


def test_loads_use_the_mask_of_the_loop() -> None:
    before, inside, after = split(grads_text(1_500_001))
    assert inside.count("<") == 1 and "mask_1 = rindex_1 < 1500001" in inside
    assert "<" not in before + after
    masks = re.findall(r"tl\.load\(.*?, (mask_\w+), other=0\)", inside)
    assert masks == ["mask_1_0", "mask_1_0", "mask_1", "mask_1"]


@pytest.mark.parametrize("m", [M, 1_500_001])
@pytest.mark.parametrize("kernel", [weight_grads, layer_norm_bwd_dwdb], ids=repr)
def test_the_padded_length_is_nowhere(kernel: helion.Kernel, m: int) -> None:
    bound = bind(kernel, *grads_args(m))
    assert str(PADDED) not in bound.to_triton_code(LOOPED)
    assert str(PADDED) not in bound.to_triton_code()


# -- what is inside of the loop, and what is not --------------------------------------


def test_values_derived_from_the_index_stay_in_the_loop() -> None:
    before, inside, after = split(odd_text())
    assert re.search(r"(\w+) = rindex_1 \* 2\nodd = \1 \+ 1\n", inside)
    assert "offsets_1_0 = odd[:, None] * 16" in inside
    assert "odd" not in before + after and "rindex_1" not in before + after


def test_an_invariant_load_stays_outside() -> None:
    before, inside, _ = split(odd_text())
    assert "factor = tl.load(scale + indices_0)" in before
    assert "scale" not in inside and "tl.load(x + offsets_1_0" in inside


@pytest.mark.parametrize("kernel", [weight_grads, layer_norm_bwd_dwdb], ids=repr)
def test_nothing_of_the_reduction_is_before_the_loop(kernel: helion.Kernel) -> None:
    before, inside, after = split(grads_text(kernel=kernel))
    assert "tl.load" not in before + after and inside.count("tl.load(") == 4
    names = set(re.findall(r"^(\w+) = ", inside, re.M))
    kept = {name for name in names if re.search(rf"\b{name}\b", before)}
    assert all(re.match(r"sum_acc", name) for name in kept)


def test_each_load_occurs_once() -> None:
    for text in (grads_text(), odd_text()):
        (kernel,) = ast.parse(text).body
        assert isinstance(kernel, ast.FunctionDef)
        assert repeated_loads(kernel) == []
    for name in ("grad_out", "x", "mean", "rstd"):
        assert len(re.findall(rf"tl\.load\({name} \+", grads_text())) == 1


def test_the_accumulator_is_as_large_as_the_result() -> None:
    before, _, _ = split(grads_text())
    assert re.findall(r"tl\.full\((\[.*?\])", before) == ["[_BLOCK_SIZE_0]"] * 2


# -- defaults -------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [weight_grads, layer_norm_bwd_dwdb], ids=repr)
def test_default_streams_in_chunks(kernel: helion.Kernel) -> None:
    config = bind(kernel, *grads_args()).config_spec.default_config()
    (chunk,) = config.reduction_loops
    assert chunk is not None and chunk <= CHUNK
    assert chunk * config.block_sizes[0] <= 16384


def test_the_axis_of_a_range_is_rollable() -> None:
    program = bind(weight_grads, *grads_args()).program
    reduced = [b for b in program.env.block_sizes if b.is_reduction]
    refusals = [is_rollable(program.ir, program.env, b.block_id) for b in reduced]
    assert refusals == [None]
