"""Which knobs a kernel and its GPU have, beyond what loops and accesses ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..autotuner.config_fragment import EnumFragment
from ..autotuner.config_knobs import KNOBS, PERSISTENT_PID_TYPES
from ..autotuner.config_spec import StaticRangeSpec
from . import symbols
from .device_ir import _for_loop
from .finalize_config import PRODUCTS, all_nodes
from .node_args import fake_arg, int_arg, raw_arg
from .storage_use import StorageUse
from .target_gpu import (
    ANY_LOADS_SPECIALIZE,
    LEAST_SPECIALIZING,
    STORES_BY_SHARED_MEMORY,
    gpu_capability,
    gpu_vendor,
    no_overlap,
)

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR

# Below, an epilogue takes too small a share of the time.
LONG_CONTRACTION, LONGER_CONTRACTION = 1024, 16384
# Longer loops grow the code more than unrolling saves.
MOST_STATIC_TURNS = 8


def restrict_knobs(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Close what the kernel or the GPU cannot do; open what is worth a search."""
    ir.overlap.check(len(ir.roots))
    _close_foreign(env)
    _close_stages(env, ir)
    _restrict_specialization(env)
    _add_static_ranges(env, ir)
    _open_epilogues(env, ir)
    _open_by_settings(env)
    if gpu_vendor() == "amd":
        for name in ("load_cache_modifiers", "store_cache_modifiers"):
            env.config_spec.opened[name] = None
        for knob in KNOBS.values():
            if knob.vendor == "amd":
                env.config_spec.opened[knob.name] = None


def _close_foreign(env: CompileEnvironment) -> None:
    """Close the knobs of another maker's GPUs, and of later ones."""
    closed, vendor = env.config_spec.closed, gpu_vendor()
    names = {"amd": "AMD", "nvidia": "NVIDIA"}
    for knob in KNOBS.values():
        if knob.vendor not in (None, vendor):
            closed[knob.name] = f"only {names[str(knob.vendor)]} GPUs have it"
    reason = no_overlap(env.device)
    if reason is not None:
        closed["launch_pdl"] = reason


def _close_stages(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Keep loads of the next turns behind the stores of this one.

    Triton starts the loads of a loop with stages of its own ahead of time, whatever
    the loop stores.
    """
    graphs = {info.graph_id: info for info in ir.graphs}
    for root in ir.roots:
        use = StorageUse.of([root], graphs)
        if use.reads.keys() & use.writes.keys():
            reason = "the kernel reads memory that it writes in the same loop"
            env.config_spec.closed["range_num_stages"] = reason


def _restrict_specialization(env: CompileEnvironment) -> None:
    """Allow loops to be specialized by warp where Triton can do that.

    It is searched where pointers will do; before, only tensor descriptors do.
    """
    spec, found = env.config_spec, gpu_capability(env.device)
    if gpu_vendor() != "nvidia":
        return
    spec.allow_warp_specialize = found is None or found >= LEAST_SPECIALIZING
    is_worth_it = found is not None and found >= ANY_LOADS_SPECIALIZE
    if is_worth_it and env.settings.allow_warp_specialize:
        spec.opened["range_warp_specializes"] = None


def _add_static_ranges(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Add an entry for each axis of an inner loop with few turns, all of them known."""
    entries = env.config_spec.static_ranges
    for info in ir.graphs:
        for node in info.graph.nodes:
            if node.target is not _for_loop:
                continue
            loop: Any = ir.graphs[int_arg(node, 0)]
            steps = loop.steps or [None] * len(loop.block_ids)
            bounds = raw_arg(node, 1)
            for block_id, bound, step in zip(loop.block_ids, bounds, steps):
                entry = StaticRangeSpec(block_id)
                turns = _turns(env.block_sizes[block_id], bound, step)
                if turns <= MOST_STATIC_TURNS and entry not in entries:
                    entries.append(entry)


def _open_epilogues(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Search the pieces of epilogues where these take memory from the loop of products.

    A descriptor stores from shared memory, whole tiles of it.
    """
    found = gpu_capability(env.device)
    if found is None or found < STORES_BY_SHARED_MEMORY:
        return
    lengths = [_contraction(env, n) for n in all_nodes(ir) if n.target in PRODUCTS]
    longest = max(lengths, default=0)
    if longest >= LONG_CONTRACTION:
        pieces = (None, 2, 4) if longest >= LONGER_CONTRACTION else (None, 2)
        env.config_spec.opened["epilogue_subtile"] = EnumFragment(pieces)


def _contraction(env: CompileEnvironment, node: fx.Node) -> int:
    """Return how many terms the elements of a product have, as far as one can plan."""
    extent = fake_arg(node, PRODUCTS[node.target][0]).shape[-1]
    info = env.block_of(extent)
    return extent if info is None else info.size_hint()


def _open_by_settings(env: CompileEnvironment) -> None:
    """Search what the user asks to be searched; explicit Configs may still differ."""
    spec, settings = env.config_spec, env.settings
    if settings.autotune_force_persistent:
        spec.opened["pid_type"] = EnumFragment(PERSISTENT_PID_TYPES)
    if settings.autotune_search_acf and gpu_vendor() == "nvidia":
        files = EnumFragment(("", *settings.autotune_search_acf))
        spec.opened["advanced_controls_file"] = files


def _turns(info: BlockSizeInfo, bound: Any, step: Any) -> float:
    """Return the turns of a loop, infinity where they are not known yet."""
    if step is None:
        step = 1 if info.kind == "grid" else info.fixed
    known = [symbols.static_int(value) for value in (*bound, step)]
    if None in known:
        return float("inf")
    begin, end, step = (int(str(value)) for value in known)
    return -(-max(end - begin, 0) // max(step, 1))
