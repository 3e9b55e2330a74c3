"""The device IR: its graphs, what enters them, and how a Config replays them."""

from __future__ import annotations

import ast
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import helion
import helion.language as hl
from examples.add import add
from helion import exc
from helion._compiler.ast_extension import LoopType, facts
from helion._compiler.device_ir import (
    ForLoopGraphInfo,
    IfGraphInfo,
    ReductionLoopGraphInfo,
    RootGraphInfo,
    WhileLoopGraphInfo,
)
from helion._compiler.lowering_kinds import APIFuncLowering, ControlFlowLowering
from helion._compiler.pipeline import compile_function
from helion._compiler.reduction_strategy import LoopedReductionStrategy
from helion._compiler.reduction_strategy_base import PersistentReductionStrategy
from helion.runtime.bound_kernel import BoundKernel
from helion.runtime.config import Config
from helion.runtime.settings import Settings
from test import kernels
from test.codegen.emitted import (
    KERNELS,
    bind,
    bind_case,
    case_code,
    kernel_texts,
    meta,
    repeated_work,
)
from test.harness import check, fake_cuda


def graph_kinds(bound: BoundKernel) -> list[str]:
    """Return the class of each graph, in order."""
    return [type(graph).__name__ for graph in bound.program.ir.graphs]


def all_nodes(bound: BoundKernel) -> list[torch.fx.Node]:
    """Return the call nodes of every graph, clones included."""
    ir = bound.program.ir
    rolled = [
        graph
        for clone in ir.rolled_reductions.values()
        for graph in (*clone.graphs.values(), *clone.loops.values())
    ]
    graphs = [*ir.graphs, *rolled]
    return [n for g in graphs for n in g.graph.nodes if n.op == "call_function"]


# ---- AST ----


def test_ast_nodes_know_place_type_and_loop_kind() -> None:
    host = bind_case("matmul").program.host
    loops = [n for n in ast.walk(host.tree) if isinstance(n, ast.For)]
    assert [facts(n).loop_type for n in loops] == [LoopType.GRID, LoopType.DEVICE]
    value = next(n for n in ast.walk(loops[1]) if ast.unparse(n).startswith("x[tile_m"))
    assert str(facts(value).type_info).startswith("float32[")
    place = host.location(value)
    assert place.function == "matmul" and "x[tile_m, tile_k]" in place.line


def test_loop_kinds_are_in_the_type_dump() -> None:
    assert "loop GRID" in bind_case("add").program.type_dump()
    dump = bind(kernels.host_loop, meta(64), 2, False).program.type_dump()
    assert "loop HOST" in dump and "loop GRID" in dump
    assert "loop DEVICE" in bind_case("matmul").program.type_dump()


@helion.kernel
def two_dtypes(x: torch.Tensor, flag: torch.Tensor) -> torch.Tensor:
    """Bind a name to another dtype on each side of a branch."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        if hl.load(flag, []) > 0:
            value = x[tile]
        else:
            value = x[tile].to(torch.int32)
        out[tile] = value
    return out


def test_branches_that_do_not_merge_are_a_typed_error() -> None:
    with pytest.raises(exc.Base, match=r"(?s)value.*float32.*int32"):
        bind(two_dtypes, meta(64), torch.empty([], device="meta"))


# ---- graphs ----


def test_host_values_enter_by_named_nodes() -> None:
    text = str(bind_case("add", static_shapes=False).program.ir)
    assert re.search(r"_host_tensor\('x'\)", text)
    loop = str(bind_case("matmul", static_shapes=False).program.ir)
    assert "_get_symnode(" in loop


def test_activations_are_traced_into_parts() -> None:
    text = str(bind_case("silu_mul").program.ir)
    assert "sigmoid" in text or "exp" in text
    assert "silu" not in text.replace("silu_mul", "")


def test_each_construct_has_its_kind_of_graph() -> None:
    assert graph_kinds(bind_case("add")) == ["RootGraphInfo"]
    assert set(graph_kinds(bind_case("matmul"))) == {
        "RootGraphInfo",
        "ForLoopGraphInfo",
    }
    branch = graph_kinds(bind(kernels.if_without_else, meta(8), meta()))
    assert {"IfGraphInfo", "ElseGraphInfo"} <= set(branch)
    loop = graph_kinds(bind(kernels.halve_until_small, meta(8, 8)))
    assert {"WhileConditionGraphInfo", "WhileLoopGraphInfo"} <= set(loop)


def test_inner_loop_is_a_graph_with_a_call_site() -> None:
    ir = bind_case("matmul").program.ir
    (loop,) = [g for g in ir.graphs if isinstance(g, ForLoopGraphInfo)]
    (root,) = ir.roots
    calls = [n for n in root.graph.nodes if "_for_loop" in str(n.target)]
    assert [n.args[0] for n in calls] == [loop.graph_id]
    assert f"graph {loop.graph_id}: ForLoopGraphInfo(blocks=[2])" in str(ir)


def test_ir_keeps_roots_and_rolled_clones() -> None:
    ir = bind_case("softmax").program.ir
    assert ir.root_ids == [g.graph_id for g in ir.roots] and len(ir.roots) == 1
    (rolled,) = ir.rolled_reductions.values()
    assert set(rolled.graphs) == {ir.root_ids[0]}
    assert all(isinstance(g, ReductionLoopGraphInfo) for g in rolled.loops.values())


def test_config_picks_the_persistent_or_the_rolled_graph() -> None:
    bound = bind_case("softmax")
    before = str(bound.program.ir)
    persistent = case_code("softmax", block_sizes=[4], reduction_loops=[None])
    looped = case_code("softmax", block_sizes=[4], reduction_loops=[16])
    assert "for roffset_1" not in persistent and looped.count("for roffset_1") == 2
    assert str(bound.program.ir) == before


def test_last_chunk_may_be_short() -> None:
    case = KERNELS["row_sum"]
    configs = [
        helion.Config(block_sizes=[4], reduction_loops=[chunk])
        for chunk in (None, 8, 16)
    ]
    args = case.make_args("cpu", True)
    assert args[0].size(1) % 8
    check(
        case.kernel, *args, way="interpreted", reference=case.reference, configs=configs
    )


def test_reduction_loop_spec_is_none_or_a_chunk() -> None:
    spec = bind_case("softmax").config_spec
    assert spec.default_config().reduction_loops == [None]
    drawn = {
        spec.random_config(random.Random(seed)).reduction_loops[0] for seed in range(40)
    }
    assert None in drawn and {8, 16, 32} & drawn
    assert all(value is None or isinstance(value, int) for value in drawn)


def test_stage_1_makes_no_config(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a Config during stage 1")

    monkeypatch.setattr(Config, "__init__", refuse)
    case = KERNELS["softmax"]
    args = fake_cuda(case.make_args("cpu", True))
    program = compile_function(case.kernel.fn, args, Settings())
    assert len(program.ir.graphs) >= 1


# ---- lowerings ----


@pytest.mark.parametrize("name", KERNELS)
def test_every_node_has_a_lowering(name: str) -> None:
    assert all("lowering" in node.meta for node in all_nodes(bind_case(name)))


def test_kinds_of_lowerings() -> None:
    names = ("softmax", "matmul", "layer_norm", "concat")
    found = {
        type(node.meta["lowering"]).__name__
        for name in names
        for node in all_nodes(bind_case(name))
    }
    wanted = {"PointwiseLowering", "ReductionLowering", "SimpleLowering"}
    assert found >= wanted | {APIFuncLowering.__name__, ControlFlowLowering.__name__}


@helion.kernel
def var_and_mean(x: torch.Tensor) -> torch.Tensor:
    """Return variance plus mean of each row, from one op with two results."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        var, mean = torch.var_mean(x[tile, :], dim=-1, correction=0)
        out[tile] = var + mean
    return out


def test_ops_with_several_buffers_get_extra_nodes() -> None:
    nodes = [str(node.target) for node in all_nodes(bind(var_and_mean, meta(8, 100)))]
    assert sum("sum" in n or "mean" in n for n in nodes) >= 2
    x = torch.randn(5, 100) + 10
    check(
        var_and_mean,
        x,
        way="interpreted",
        reference=lambda x: x.var(-1, correction=0) + x.mean(-1),
    )


def test_lowerings_are_prepared_once() -> None:
    bound = bind_case("layer_norm")
    before = [id(node.meta["lowering"]) for node in all_nodes(bound)]
    for chunk in (None, 8):
        bound.to_triton_code({"block_sizes": [2], "reduction_loops": [chunk]})
    assert [id(node.meta["lowering"]) for node in all_nodes(bound)] == before


@pytest.mark.parametrize("chunk, strategy", [
    (None, PersistentReductionStrategy),
    (8, LoopedReductionStrategy),
])  # fmt: skip
def test_reductions_leave_the_loop_to_their_strategy(
    chunk: int | None, strategy: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[type] = []
    original = strategy.codegen_reduction

    def spy(self: object, state: object, op: object) -> object:
        seen.append(type(self))
        return original(self, state, op)

    monkeypatch.setattr(strategy, "codegen_reduction", spy)
    case_code("softmax", block_sizes=[4], reduction_loops=[chunk])
    assert seen == [strategy] * (2 if chunk is None else 1)


def test_op_rules_see_config_and_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    rule = hl.load.codegen["triton"]
    bound = bind_case("add")
    loads = [n for n in all_nodes(bound) if n.target is hl.load]
    for node in loads:
        spied = APIFuncLowering(hl.load, lambda s: (states.append(s), rule(s))[1])
        monkeypatch.setitem(node.meta, "lowering", spied)
    bound.to_triton_code({"block_sizes": [4, 8]})
    assert [s.config.block_sizes for s in states] == [[4, 8]] * 2
    for state in states:
        access = state.launch.access(state, list(state.value.shape))
        assert state.launch.indexing(access).load and state.launch.axes


# ---- replay ----


@pytest.mark.parametrize("name", KERNELS)
def test_no_expression_is_computed_twice(name: str) -> None:
    spec = bind_case(name).config_spec
    for seed in range(3):
        config = spec.random_config(random.Random(seed))
        assert repeated_work(bind_case(name).to_triton_code(config)) == []


@pytest.mark.parametrize("name", ["matmul", "layer_norm", "attention"])
def test_another_config_is_cheap(name: str) -> None:
    case = KERNELS[name]
    before = helion.metrics.counts["stage1"]
    bound = bind(helion.kernel(case.kernel.fn), *case.make_args("cpu", True))
    configs = [bound.config_spec.random_config(random.Random(s)) for s in range(20)]
    bound.to_triton_code(configs[0])
    took = []
    for config in configs:
        start = time.perf_counter()
        bound.to_triton_code(config)
        took.append(time.perf_counter() - start)
    assert helion.metrics.counts["stage1"] == before + 1
    assert sorted(took)[10] < 0.05


def test_threads_emit_the_same_text() -> None:
    names = ["softmax", "matmul", "attention", "layer_norm"]
    jobs = [
        (bind_case(name), bind_case(name).config_spec.random_config(random.Random(s)))
        for name in names
        for s in range(4)
    ]
    serial = [bound.to_triton_code(config) for bound, config in jobs]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda job: job[0].to_triton_code(job[1]), jobs * 2))
    assert parallel == serial * 2


def test_block_sizes_are_literals_or_host_values() -> None:
    literal = case_code("add", block_sizes=[8, 16])
    assert "_BLOCK_SIZE_0: tl.constexpr" in literal and "_BLOCK_SIZE_0 = 8\n" in literal
    x, y = meta(64, 512), meta(512, 64)
    computed = bind(kernels.split_k_fixed, x, y, 4, static_shapes=False)
    code = computed.to_triton_code({"block_sizes": [16, 16, 16]})
    size = (
        r"_BLOCK_SIZE_2 = triton.next_power_of_2\(max\(1, \(x.size\(1\) \+ 3\) // 4\)"
    )
    assert re.search(size, code)
    assert "mask_0" in kernel_texts(code)[0] and "tl.load(" in code


def test_graphs_are_spliced_in_source_order() -> None:
    (kernel,) = kernel_texts(case_code("softmax_two_pass"))
    order = [
        kernel.index(text) for text in ("for offset_1", "for offset_2", "tl.store")
    ]
    assert order == sorted(order)
    assert kernel.count("tl.store") == 1


def test_pointwise_chain_is_one_load_and_one_store() -> None:
    (kernel,) = kernel_texts(case_code("gelu"))
    assert kernel.count("tl.load(") == 1 and kernel.count("tl.store(") == 1


# ---- control flow ----


@pytest.mark.parametrize("name", ["scale_prefix", "activate_rows"])
def test_branches_become_device_code(name: str) -> None:
    (kernel,) = kernel_texts(case_code(name))
    assert re.search(r"\n +if ", kernel) and "else:" in kernel
    kinds = [type(graph) for graph in bind_case(name).program.ir.graphs]
    assert IfGraphInfo in kinds and RootGraphInfo in kinds


def test_while_becomes_device_code() -> None:
    bound = bind(kernels.halve_until_small, meta(8, 8))
    (kernel,) = kernel_texts(bound.to_triton_code())
    assert "while loop_condition" in kernel
    assert any(isinstance(g, WhileLoopGraphInfo) for g in bound.program.ir.graphs)


@helion.kernel
def tries(x: torch.Tensor) -> torch.Tensor:
    """Use ``try`` on the device."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        try:
            out[tile] = x[tile]
        except ValueError:
            pass
    return out


@helion.kernel
def withs(x: torch.Tensor) -> torch.Tensor:
    """Use ``with`` on the device."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        with torch.no_grad():
            out[tile] = x[tile]
    return out


@pytest.mark.parametrize(
    "kernel, line", [(tries, "try:"), (withs, "with torch.no_grad")]
)
def test_unsupported_statements_are_named_with_their_line(
    kernel: helion.Kernel, line: str
) -> None:
    with pytest.raises(exc.StatementNotSupported) as caught:
        bind(kernel, meta(64))
    assert line in str(caught.value) and "test_device_ir.py" in str(caught.value)


def test_another_compile_gives_the_same_text() -> None:
    x = meta(64, 64)
    first = bind(helion.kernel(add.fn), x, x).to_triton_code()
    assert bind(helion.kernel(add.fn), x, x).to_triton_code() == first
