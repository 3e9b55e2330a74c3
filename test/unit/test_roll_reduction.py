"""Rolled graphs compute the same in chunks, and axes that cannot be walked stay."""

from __future__ import annotations

import operator

import pytest
import torch

from helion._compiler.device_ir import (
    DeviceIR,
    ForLoopGraphInfo,
    RootGraphInfo,
    _for_loop,
    _get_symnode,
    target_name,
)
from helion._compiler.node_masking import mask_inputs
from helion._compiler.roll_reduction import is_rollable, roll_reductions
from helion.language.atomic_ops import atomic_add
from test.unit.graph_writer import (
    FULL_R,
    FULL_S,
    TILE_T,
    Env,
    GraphWriter,
    Machine,
    R,
    S,
    T,
)

aten = torch.ops.aten


def rolled(ir, block_id=2):
    env = Env()
    mask_inputs(ir, env)
    before = [str(graph) for graph in ir.graphs]
    assert is_rollable(ir, env, block_id) is None
    result = roll_reductions(ir, env).rolled_reductions[block_id]
    assert [str(graph) for graph in ir.graphs] == before
    for info in [*result.graphs.values(), *result.loops.values()]:
        info.graph.lint()
        for node in info.graph.nodes:
            assert node.op != "call_function" or {"val", "lowering"} <= set(node.meta)
    return result


def refusal(writer, *results, block_id=2):
    return is_rollable(writer.finish(*results), Env(), block_id)


def targets(info):
    return [target_name(n) for n in info.graph.nodes if n.op == "call_function"]


def loads_per_loop(result):
    return [targets(loop).count("load") for loop in result.loops.values()]


def check_same(writer, *results, block_id=2):
    """Roll, then compare what both versions leave in memory and return."""
    ir = writer.finish(*results)
    result = rolled(ir, block_id)
    torch.manual_seed(0)
    hosts = {k: torch.randn(n.meta["val"].shape) for k, n in writer.hosts.items()}
    plain = Machine({0: ir.graphs[0]}, hosts)
    looped = Machine(ir.graphs_for([block_id]), hosts)
    outputs = [m.run(m.graphs[0]) for m in (plain, looped)]
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(looped.hosts, plain.hosts)
    return result


def row(writer, name="x"):
    host = writer.hosts.get(name) or writer.host(name, T, R)
    return writer.load(host, TILE_T, FULL_R)


def fold(writer, value, op=aten.sum.dim_IntList):
    return writer.call(aten.unsqueeze.default, writer.call(op, value, [1]), 1)


def test_row_sum_is_one_loop():
    w = GraphWriter()
    result = check_same(w, w.call(aten.sum.dim_IntList, row(w), [1]))
    (loop,) = result.loops.values()
    assert loop.graph_id == 1 and loop.block_id == 2
    assert targets(result.graphs[0]) == ["_reduction_loop", "getitem"]


def test_folds_that_wait_are_loops_of_their_own():
    w = GraphWriter()
    x = row(w)
    e = w.call(
        aten.tanh.default, w.call(aten.sub.Tensor, x, fold(w, x, aten.amax.default))
    )
    out = w.host("out", T, R)
    w.store(out, [TILE_T, FULL_R], w.call(aten.div.Tensor, e, fold(w, e)))
    result = check_same(w)
    assert loads_per_loop(result) == [1, 1, 1]
    last = list(result.loops.values())[-1]
    assert last.outputs == [] and "store" in targets(last)
    assert targets(result.graphs[0]).count("load") == 0


def test_independent_reductions_share_a_loop_and_its_load():
    w = GraphWriter()
    x = row(w)
    first = w.call(aten.sum.dim_IntList, x, [1])
    scaled = w.call(aten.exp.default, first)
    later = w.full([T, 1], 2.0)
    second = w.call(aten.sum.dim_IntList, w.call(aten.mul.Tensor, x, later), [1])
    result = check_same(w, scaled, second)
    assert loads_per_loop(result) == [1]
    (loop,) = result.loops.values()
    assert len(loop.placeholders) == 1 and len(loop.outputs) == 2


def test_copy_of_a_row_is_a_loop_without_results():
    w = GraphWriter()
    x = row(w)
    w.store(w.host("out", T, R), [TILE_T, FULL_R], x)
    result = check_same(w)
    assert targets(result.graphs[0]) == ["_reduction_loop"]


def test_dead_nodes_neither_refuse_nor_appear():
    w = GraphWriter()
    x = row(w)
    w.call(aten.sort.default, x)
    w.call(aten.amax.default, x, [1])
    result = check_same(w, w.call(aten.sum.dim_IntList, x, [1]))
    (loop,) = result.loops.values()
    assert len(loop.outputs) == 1


def test_store_of_a_broadcast_value_is_in_a_loop():
    w = GraphWriter()
    total = fold(w, row(w))
    w.store(w.host("out", T, R), [TILE_T, FULL_R], total)
    assert loads_per_loop(check_same(w)) == [1, 0]


def test_in_place_update_waits_for_the_last_reload():
    w = GraphWriter()
    total = w.call(aten.add.Tensor, row(w), row(w, "res"))
    w.store(w.hosts["res"], [TILE_T, FULL_R], total)
    w.store(
        w.host("out", T, R),
        [TILE_T, FULL_R],
        w.call(aten.div.Tensor, total, fold(w, total)),
    )
    assert loads_per_loop(check_same(w)) == [2, 2]


def test_load_after_a_store_sees_what_was_stored():
    w = GraphWriter()
    x = row(w)
    w.store(w.host("out", T, R), [TILE_T, FULL_R], w.call(aten.exp.default, x))
    again = row(w, "out")
    check_same(w, w.call(aten.sum.dim_IntList, again, [1]))


def test_outer_load_after_a_store_waits_for_its_loop():
    w = GraphWriter()
    w.store(w.host("out", T, R), [TILE_T, FULL_R], w.call(aten.exp.default, row(w)))
    first = w.load(w.hosts["out"], TILE_T, ("scalar", 0))
    before = w.call(aten.sum.dim_IntList, row(w), [1])
    check_same(w, w.call(aten.add.Tensor, first, before))


def test_outer_store_waits_for_loops_that_read():
    w = GraphWriter()
    x = row(w)
    w.store(w.hosts["x"], [TILE_T, ("scalar", 0)], w.full([T], 5.0))
    check_same(w, w.call(aten.sum.dim_IntList, x, [1]))


def test_swap_of_two_tensors_along_the_axis():
    w = GraphWriter()
    x, y = row(w), row(w, "y")
    w.store(w.hosts["x"], [TILE_T, FULL_R], y)
    w.store(w.hosts["y"], [TILE_T, FULL_R], x)
    check_same(w)


def test_symbols_are_repeated_inside_and_values_passed():
    w = GraphWriter()
    size = w.node(_get_symnode, ("n",), 3)
    bias = w.load(w.host("bias", T, 1), TILE_T, ("full", None))
    value = w.call(aten.mul.Tensor, w.call(aten.add.Tensor, row(w), bias), size)
    result = rolled(w.finish(w.call(aten.sum.dim_IntList, value, [1])))
    (loop,) = result.loops.values()
    assert targets(loop)[:2] == ["_host_tensor", "load"]
    assert "_get_symnode" in targets(loop)
    assert [n.meta["val"].shape for n in loop.placeholders] == [(T, 1)]
    assert "_get_symnode" not in targets(result.graphs[0])


def test_axes_get_loops_of_their_own():
    w = GraphWriter()
    y = w.load(w.host("y", T, S), TILE_T, FULL_S)
    sums = [w.call(aten.sum.dim_IntList, v, [1]) for v in (row(w), y)]
    ir = w.finish(*sums)
    first, second = rolled(ir, 2), ir.rolled_reductions[3]
    assert list(first.loops) == [1] and list(second.loops) == [2]
    assert len(ir.graphs) == 1


def loop_over_rows():
    """Return a root graph that runs a loop, whose body sums a row."""
    body = GraphWriter()
    total = body.call(aten.sum.dim_IntList, row(body), [1])
    body.graph.output([total])
    root = GraphWriter()
    args = (1, [(0, 4)], [], [])
    value = [torch.empty(T, device="meta")]
    root.node(_for_loop, args, value)
    root.graph.output([])
    graphs = [RootGraphInfo(0, root.graph), ForLoopGraphInfo(1, body.graph)]
    return DeviceIR(graphs, [0])


def test_only_graphs_with_the_axis_are_cloned():
    result = rolled(loop_over_rows())
    assert list(result.graphs) == [1] and list(result.loops) == [2]
    assert isinstance(result.graphs[1], ForLoopGraphInfo)


def test_refuses_products_along_the_axis():
    w = GraphWriter()
    b = w.load(w.host("b", R, S), FULL_R, FULL_S)
    reason = refusal(w, w.call(aten.mm.default, row(w), b))
    assert reason is not None and "needs the whole axis" in reason


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        (aten.cumsum.default, (1,), "across lanes"),
        (aten.flip.default, ([1],), "across lanes"),
        (aten.reshape.default, ([T * R],), "needs the whole axis"),
        (aten.reshape.default, ([R, T],), "moves elements"),
        (aten.sort.default, (1,), "across lanes"),
    ],
    ids=str,
)
def test_refuses_ops_across_lanes(op, args, words):
    w = GraphWriter()
    value = w.call(op, row(w), *args)
    if op is aten.sort.default:
        value = w.call(operator.getitem, value, 0)
    for _ in value.meta["val"].shape:
        value = w.call(aten.sum.dim_IntList, value, [0])
    assert words in refusal(w, value)


def test_refuses_whole_axes_that_enter_or_leave_a_graph():
    w = GraphWriter()
    carried = w.placeholder(T, R)
    assert "enters" in refusal(w, w.call(aten.sum.dim_IntList, carried, [1]))
    w = GraphWriter()
    assert "leaves" in refusal(w, row(w))


def test_refuses_an_axis_in_two_dims():
    w = GraphWriter()
    y = w.load(w.host("y", R), FULL_R)
    square = w.call(aten.mul.Tensor, y, w.call(aten.unsqueeze.default, y, 1))
    total = w.call(aten.sum.dim_IntList, square, [1])
    total = w.call(aten.sum.dim_IntList, total, [0])
    assert "two dims" in refusal(w, total)
    w = GraphWriter()
    w.store(w.host("z", R, R), [FULL_R, FULL_R], 0.0)
    assert "two dims" in refusal(w)


def test_refuses_a_store_elsewhere_between_loads():
    w = GraphWriter()
    x = row(w)
    index = w.node(torch.ops.prims.iota.default, (R,), torch.empty(R, device="meta"))
    moved = [TILE_T, ("tensor", w.call(aten.neg.default, index))]
    w.store(w.hosts["x"], moved, x)
    assert "touch the same tensor" in refusal(w)


def test_refuses_a_store_that_a_reloaded_row_must_not_see():
    w = GraphWriter()
    x = row(w)
    w.store(w.hosts["x"], [TILE_T, FULL_R], fold(w, x))
    total = fold(w, row(w))
    w.store(w.host("out", T, R), [TILE_T, FULL_R], w.call(aten.sub.Tensor, x, total))
    assert "kept in order" in refusal(w)


def test_refuses_an_atomic_result_used_in_another_loop():
    w = GraphWriter()
    x = row(w)
    args = (w.host("counts", R), [FULL_R], w.full([R], 1.0), "relaxed")
    old = w.node(atomic_add, args, torch.empty(R, device="meta"))
    old.meta["lowering"].op = atomic_add
    scaled = w.call(aten.mul.Tensor, old, fold(w, x))
    assert "two loops" in refusal(w, w.call(aten.sum.dim_IntList, scaled, [1]))


def test_tiles_and_unused_axes_are_not_rolled():
    w = GraphWriter()
    assert "no graph" in refusal(w, w.call(aten.exp.default, w.full([T], 1.0)))
    assert "not reduced" in refusal(w, block_id=0)


def test_positions_along_the_axis_are_inner():
    w = GraphWriter()
    index = w.node(torch.ops.prims.iota.default, (R,), torch.empty(R, device="meta"))
    value = w.call(aten.add.Tensor, row(w), index)
    result = rolled(w.finish(w.call(aten.sum.dim_IntList, value, [1])))
    (loop,) = result.loops.values()
    assert "prims.iota.default" in targets(loop)
