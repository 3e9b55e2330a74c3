"""What compiles keep of specialized sizes: in new tensors, slices and reductions."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses import fake_impls

import helion
import helion.language as hl
from helion import exc
from helion._compiler import symbols
from helion._compiler.device_ir import ForLoopGraphInfo
from test import specialize_kernels as kernels
from test.codegen.emitted import bind, host_text, kernel_texts, meta
from test.harness import check, randn, run
from test.specialize_kernels import WIDTH, shape_literals, stray_symbols

WAYS = ["eager", "interpreted"]
SHAPES = pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
KEPT = (9, WIDTH)

# Every kernel that reduces, with arguments of a width that is no power of two.
REDUCING: dict[str, tuple[Any, ...]] = {
    "kept_dims": (meta(5, 7, WIDTH),),
    "host_sum": (meta(*KEPT),),
    "two_dims": (meta(*KEPT),),
    "carried": (meta(*KEPT),),
    "mixed_dims": (meta(*KEPT),),
    "softmax_rows": (meta(*KEPT),),
    "same_length": (meta(*KEPT),),
    "three_tags": (meta(5, 7, WIDTH),),
    "layer_norm_backward_sum": (meta(*KEPT), meta(*KEPT), meta(9), meta(9)),
}


def bound(name: str, *args: Any, static: bool) -> Any:
    return bind(getattr(kernels, name), *args, static_shapes=static)


def width_symbol(env: Any) -> Any:
    """Return the symbol that ``hl.specialize`` was called on, under any number."""
    return env.get_specialized_symbol(WIDTH)


# ---- creation ----


@SHAPES
def test_new_tiles_mint_no_symbol(static):
    found = bound("zeros_rows", meta(8, 5632), static=static)
    assert stray_symbols(found.env) == []
    assert found.env.get_specialized_symbol(5632) is not None


@SHAPES
@pytest.mark.parametrize("way", WAYS)
def test_new_tiles_have_the_specialized_width(way, static):
    x = randn(*KEPT)
    check(
        kernels.zeros_rows, x, way=way, reference=lambda x: x + 1, static_shapes=static
    )


@pytest.mark.parametrize(
    "shape, name", [(4, "int"), ("ab", "str"), (2.5, "float"), (None, "NoneType")]
)
@pytest.mark.parametrize("is_eager", [True, False], ids=["eager", "compiled"])
def test_shape_that_is_no_list_is_a_type_error(shape, name, is_eager):
    with pytest.raises(TypeError, match=f"hl.full must be a list.*{name}") as caught:
        if is_eager:
            run(kernels.full_of, randn(8), shape, way="eager")
        else:
            bind(kernels.full_of, meta(8), shape)
    assert type(caught.value) is exc.ShapeNotAList


def test_the_error_of_a_size_alone_shows_its_line():
    with pytest.raises(exc.ShapeNotAList) as caught:
        bind(kernels.full_of, meta(8), 4)
    assert "out[tile] = hl.full(shape, 1.0).sum()" in str(caught.value)
    assert "hl.full([size, ...])" in str(caught.value)


@pytest.mark.parametrize("given", [False, True], ids=["default", "explicit"])
@pytest.mark.parametrize("way", WAYS)
def test_full_of_an_int_is_float32_on_the_kernels_device(way, given):
    found = run(kernels.default_full, randn(4), given, way=way)
    expected = torch.full([4], 3.0, dtype=torch.float32) / 7
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=0)


def test_full_of_an_int_is_traced_as_float32_on_the_kernels_device():
    found = bind(kernels.default_full, meta(4), True)
    (node,) = [
        node
        for graph in found.program.ir.graphs
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.full.default
    ]
    assert node.meta["val"].dtype == torch.float32
    assert node.meta["val"].device.type == "cuda"


def test_full_on_another_device_is_refused():
    with pytest.raises(exc.NotAllowedOnDevice, match="on cpu"):
        bind(full_on_cpu, meta(4))


@helion.kernel
def full_on_cpu(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.full([tile], 3, device=torch.device("cpu"))
    return out


@SHAPES
def test_host_buffers_keep_the_symbol(static):
    env = bound("host_buffers", meta(*KEPT), static=static).env
    named = {t.origin.host_str(): t.value for t in env.host_tensors.values()}
    for name in ("zeros", "empty", "new"):
        symbol = env.get_specialized_symbol(named[name].size(-1))
        assert symbol is not None and symbol is width_symbol(env)
    assert stray_symbols(env) == []


@SHAPES
@pytest.mark.parametrize("way", WAYS)
def test_host_buffers_have_the_specialized_width(way, static):
    def reference(x):
        return x * 2, x.new_zeros(WIDTH), x.new_zeros(WIDTH)

    check(
        kernels.host_buffers,
        randn(*KEPT),
        way=way,
        reference=reference,
        static_shapes=static,
    )


# ---- slicing ----


@SHAPES
@pytest.mark.parametrize("way", WAYS)
def test_slices_up_to_specialized_sizes(way, static):
    check(
        kernels.slices,
        *(randn(*KEPT), randn(WIDTH + 3)),
        way=way,
        reference=kernels.slices_reference,
        static_shapes=static,
    )


@SHAPES
def test_slices_mint_no_symbol(static):
    env = bound("slices", meta(*KEPT), meta(WIDTH), static=static).env
    assert stray_symbols(env) == []
    halves = [b for b in env.block_sizes if b.is_reduction]
    assert [b.numel for b in halves] == [WIDTH // 2]


def test_a_slice_of_a_run_time_size_assumes_that_the_size_suffices():
    kernel = helion.kernel(kernels.slices.fn, static_shapes=False)
    first = bind(kernel, meta(*KEPT), meta(WIDTH))
    assert f"weight.size(0) >= {WIDTH}" in first.program.guards
    assert bind(kernel, meta(*KEPT), meta(WIDTH + 24)) is first
    # A shorter one has another length, which does not fit what the kernel does.
    with pytest.raises(exc.ShapeMismatch, match="weight.size"):
        bind(kernel, meta(*KEPT), meta(WIDTH - 1))


# ---- reductions ----


def kept_lengths(node: torch.fx.Node, env: Any) -> tuple[list[str], list[str]]:
    """Return the lengths of a sum's result, and of its operand's kept dims."""
    operand, dims = node.args[0].meta["val"], node.args[1]
    kept = [s for d, s in enumerate(operand.shape) if d not in dims]
    return [str(env.size_of(s)) for s in node.meta["val"].shape], [
        str(env.size_of(s)) for s in kept
    ]


@SHAPES
def test_sums_keep_the_lengths_of_kept_dims(static):
    found = bound("kept_dims", meta(5, 7, WIDTH), static=static)
    sums = [
        node
        for graph in found.program.ir.graphs
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.sum.dim_IntList
    ]
    assert len(sums) >= 1
    for node in sums:
        after, before = kept_lengths(node, found.env)
        assert after == before and str(WIDTH) in after


@SHAPES
@pytest.mark.parametrize("name", REDUCING)
def test_reductions_mint_no_symbol(name, static):
    env = bound(name, *REDUCING[name], static=static).env
    assert stray_symbols(env) == []
    assert env.validate_specialized_symbols() == []


@SHAPES
@pytest.mark.parametrize("name", REDUCING)
def test_replacements_hold_while_reducing(name, static, monkeypatch):
    minted = []

    def spy(shape_env, *args: Any, **kwargs: Any):
        value = original(shape_env, *args, **kwargs)
        minted.append(value.node.expr)
        return value

    original = symbols.unbacked_symint
    monkeypatch.setattr(symbols, "unbacked_symint", spy)
    kernel = helion.kernel(getattr(kernels, name).fn, static_shapes=static)
    env = bind(kernel, *REDUCING[name]).env
    stray = set(stray_symbols(env))
    assert all(env.shape_env.replace(s) != s for s in minted if str(s) in stray)
    symbol = width_symbol(env)
    assert symbol is not None and env.shape_env.replace(symbol) == WIDTH


@pytest.mark.parametrize("own", [False, True], ids=["torch", "hl.reduce"])
@pytest.mark.parametrize("keep", [False, True], ids=["drop", "keep"])
@pytest.mark.parametrize("dim", [None, -1], ids=str)
def test_sums_over_any_dim(dim, keep, own):
    for way in WAYS:
        check(
            kernels.reduced,
            *(randn(9, 100), dim, keep, own),
            way=way,
            reference=kernels.reduced_reference,
        )


@SHAPES
def test_sum_over_two_dims(static):
    def reference(x):
        return x.sum().reshape(1) / WIDTH

    x = randn(*KEPT)
    check(
        kernels.two_dims,
        *(x,),
        way="interpreted",
        reference=reference,
        static_shapes=static,
    )


def test_the_installed_torch_is_as_it_was_delivered():
    rules, fast_rules = (
        fake_impls.op_implementations_dict,
        fake_impls.FAST_OP_IMPLEMENTATIONS,
    )
    before = dict(rules)
    bind(helion.kernel(kernels.two_dims.fn), meta(*KEPT)).to_triton_code()
    assert rules == before
    assert torch.ops.aten.sum.dim_IntList not in {*rules, *fast_rules}
    path = Path(fake_impls.__file__)
    (listed,) = [
        file
        for file in importlib.metadata.files("torch") or []
        if str(file) == "torch/_subclasses/fake_impls.py"
    ]
    assert listed.hash is not None
    digest = hashlib.new(listed.hash.mode, path.read_bytes()).digest()
    text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert text == listed.hash.value


# ---- loops and emitted text ----


@pytest.mark.parametrize("way", WAYS)
def test_an_accumulator_is_carried_through_a_nested_tile_loop(way):
    config = helion.Config(block_sizes=[256, 4])
    x = randn(*KEPT)
    check(
        kernels.carried,
        *(x,),
        way=way,
        reference=lambda x: x.sum(0),
        configs=[None, config],
    )


def test_an_accumulator_is_an_argument_of_the_loop_that_keeps_its_shape():
    found = bound("carried", meta(*KEPT), static=False)
    (loop,) = [g for g in found.program.ir.graphs if isinstance(g, ForLoopGraphInfo)]
    column, row = (info.extent for info in found.env.block_sizes)
    # The loop gathers tiles, which are folded behind it.
    for nodes in (loop.placeholders, loop.outputs):
        assert [list(n.meta["val"].shape) for n in nodes] == [[row, column]]


@pytest.mark.parametrize("name", ["zeros_rows", "literal_rows", "softmax_rows"])
@SHAPES
def test_shapes_name_the_block_of_the_dim_not_its_length(name, static):
    code = bound(name, meta(16, 5632), static=static).to_triton_code()
    (kernel,) = kernel_texts(code)
    assert not shape_literals(code) & {5632, 8192}
    assert "tl.arange(0, _RDIM_SIZE_1)" in kernel


@SHAPES
def test_block_of_a_whole_dim_is_a_power_of_two_masked_at_the_length(static):
    code = bound("softmax_rows", meta(16, 5632), static=static).to_triton_code()
    assert "_RDIM_SIZE_1 = 8192" in host_text(code)
    (kernel,) = kernel_texts(code)
    assert re.search(r"rindex_1 < 5632\b", kernel)


@SHAPES
@pytest.mark.parametrize("way", WAYS)
def test_run_time_and_specialized_dims_in_one_reduction(way, static):
    def reference(x):
        return x.abs().mean().reshape(1)

    x = randn(37, WIDTH)
    check(kernels.mixed_dims, x, way=way, reference=reference, static_shapes=static)


def test_run_time_and_specialized_dims_are_told_apart():
    found = bound("mixed_dims", meta(37, WIDTH), static=False)
    whole = [b.numel for b in found.env.block_sizes if b.is_reduction]
    assert [symbols.static_int(numel) for numel in whole] == [None, WIDTH]
    assert bind(found.kernel, meta(64, WIDTH)) is found
    assert bind(found.kernel, meta(37, WIDTH + 1)) is not found


@SHAPES
@pytest.mark.parametrize("way", WAYS)
def test_lengths_that_are_algebraically_equal_are_one(way, static):
    x = randn(*KEPT)
    check(
        kernels.same_length,
        *(x,),
        way=way,
        reference=lambda x: x.sum(1),
        static_shapes=static,
    )


@SHAPES
def test_lengths_that_are_algebraically_equal_share_a_block(static):
    env = bound("same_length", meta(*KEPT), static=static).env
    assert [b.numel for b in env.block_sizes if b.is_reduction] == [WIDTH]
    assert stray_symbols(env) == []
