"""Masks go where padded lanes may hold something else than the identity."""

from __future__ import annotations

import math

import pytest
import torch

from helion._compiler.device_ir import _mask_to
from helion._compiler.node_masking import MaskedValues, mask_inputs
from helion.language.matmul_ops import dot
from test.unit.graph_writer import (
    FULL_R,
    FULL_S,
    TILE_K,
    TILE_T,
    Env,
    GraphWriter,
    R,
    T,
)

aten = torch.ops.aten


def masks_of(writer, *results):
    """Return (masked node, number, axes) of each inserted mask."""
    ir = mask_inputs(writer.finish(*results), Env())
    found = [n for n in ir.graphs[0].graph.nodes if n.target is _mask_to]
    assert all("lowering" in n.meta and "val" in n.meta for n in found)
    return [(n.args[0], *n.args[1:]) for n in found]


def row(writer):
    return writer.load(writer.host("x", 40, R), TILE_T, FULL_R)


def sums(writer, value, dim=1):
    return writer.call(aten.sum.dim_IntList, value, [dim])


def test_sum_of_a_load_needs_no_mask():
    w = GraphWriter()
    assert masks_of(w, sums(w, row(w))) == []


def test_sum_of_exp_is_masked_to_zero():
    w = GraphWriter()
    e = w.call(aten.exp.default, row(w))
    total = sums(w, e)
    assert masks_of(w, total) == [(e, 0, [2])]
    assert total.args[0].target is _mask_to


@pytest.mark.parametrize(
    ("op", "dim", "identity"),
    [
        (aten.prod.dim_int, 1, 1),
        (aten.amax.default, [1], -math.inf),
        (aten.amin.default, [-1], math.inf),
        (aten.argmax.default, 1, -math.inf),
        (aten.argmin.default, 1, math.inf),
    ],
    ids=str,
)
def test_each_reduction_has_its_identity(op, dim, identity):
    w = GraphWriter()
    x = row(w)
    assert masks_of(w, w.call(op, x, dim)) == [(x, identity, [2])]


@pytest.mark.parametrize(
    ("dtype", "low"), [(torch.int32, -(2**31)), (torch.bool, False)], ids=str
)
def test_extrema_of_integers_use_the_end_of_the_range(dtype, low):
    w = GraphWriter()
    x = w.call(aten.exp.default, row(w))
    x = w.node(torch.ops.prims.convert_element_type.default, (x, dtype), None)
    x.meta["val"] = torch.empty(T, R, dtype=dtype, device="meta")
    assert masks_of(w, w.call(aten.amax.default, x, [1])) == [(x, low, [2])]


def test_two_reductions_share_a_mask():
    w = GraphWriter()
    x = row(w)
    high = w.call(aten.amax.default, x, [1])
    where = w.call(aten.argmax.default, x, 1)
    assert masks_of(w, high, where) == [(x, -math.inf, [2])]


def test_product_operands_are_masked_along_k():
    w = GraphWriter()
    a = w.load(w.host("a", 40, 50), TILE_T, TILE_K)
    b = w.load(w.host("b", 50, R), TILE_K, FULL_R)
    a, b = w.call(aten.exp.default, a), w.call(aten.cos.default, b)
    assert masks_of(w, w.call(aten.mm.default, a, b)) == [(a, 0, [1]), (b, 0, [1])]


def test_addmm_of_loads_needs_no_mask():
    w = GraphWriter()
    a = w.load(w.host("a", 40, 50), TILE_T, TILE_K)
    b = w.load(w.host("b", 50, R), TILE_K, FULL_R)
    acc = w.call(aten.exp.default, w.full([T, R], 0.0))
    assert masks_of(w, w.call(aten.addmm.default, acc, a, b)) == []


def test_dot_with_a_scaled_operand_is_masked():
    w = GraphWriter()
    a = w.load(w.host("a", 40, 50), TILE_T, TILE_K)
    b = w.load(w.host("b", 50, R), TILE_K, FULL_R)
    scale = w.load(w.host("scale", 40, 1), TILE_T, ("full", None))
    scaled = w.call(aten.mul.Tensor, a, scale)
    product = w.node(dot, (scaled, b, None, None), torch.empty(T, R, device="meta"))
    assert masks_of(w, product) == [(scaled, 0, [1])]  # 0 * inf is NaN


def test_a_value_without_the_axis_is_real_in_padded_lanes():
    w = GraphWriter()
    bias = w.load(w.host("bias", 40, 1), TILE_T, ("full", None))
    total = w.call(aten.add.Tensor, row(w), bias)
    wide = w.call(aten.expand.default, bias, [T, R])
    found = masks_of(w, sums(w, total), sums(w, wide))
    assert found == [(total, 0, [2]), (wide, 0, [2])]


def test_a_constant_is_known_in_every_lane():
    w = GraphWriter()
    one = w.call(aten.expand.default, w.full([T, 1], 1.0), [T, R])
    shifted = w.call(aten.add.Tensor, row(w), one)
    values = MaskedValues(w.graph, Env())
    assert values.masked_value(one, None) == 1
    assert values.masked_value(shifted, 2) == 1
    assert masks_of(w, w.call(aten.prod.dim_int, shifted, 1)) == []


def test_views_keep_what_is_known_and_reshapes_across_the_axis_do_not():
    w = GraphWriter()
    x = w.call(aten.unsqueeze.default, row(w), 1)
    x = w.call(aten.permute.default, x, [2, 1, 0])
    merged = w.call(aten.reshape.default, x, [R * T])
    kept = w.call(aten.reshape.default, x, [R, T])
    values = MaskedValues(w.graph, Env())
    assert values.masked_value(x, 2) == values.masked_value(kept, 2) == 0
    assert values.masked_value(merged, 2) is None


def test_a_sum_keeps_zero_in_another_axis():
    w = GraphWriter()
    x = w.load(w.host("x", 40, 50, R), TILE_T, TILE_K, FULL_R)
    high = w.call(aten.amax.default, x, [2])
    inner, total = sums(w, x, 2), sums(w, high)
    assert masks_of(w, total, sums(w, inner)) == [(x, -math.inf, [2])]


def test_placeholders_and_an_axis_in_two_dims_are_unknown():
    w = GraphWriter()
    carried = w.placeholder(T, R)
    column = w.load(w.host("y", R), FULL_R)
    square = w.call(aten.mul.Tensor, column, w.call(aten.unsqueeze.default, column, 1))
    found = masks_of(w, sums(w, carried), sums(w, square))
    assert found == [(carried, 0, [2]), (square, 0, [2])]


def test_an_unpadded_dim_gets_no_mask():
    w = GraphWriter()
    x = w.call(aten.exp.default, w.load(w.host("x", 40, 1), TILE_T, ("full", None)))
    assert masks_of(w, sums(w, x)) == []


def test_other_reduced_axes_stay_unmasked():
    w = GraphWriter()
    x = w.load(w.host("x", R, 9), FULL_R, FULL_S)
    e = w.call(aten.exp.default, x)
    assert masks_of(w, sums(w, e, 0)) == [(e, 0, [2])]
