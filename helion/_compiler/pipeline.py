"""The table of contents: from a Python function to the text of a module.

Stage 1 runs once per specialization and consults no Config; stage 2 runs once per
Config and changes nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._logging import dump
from .._metrics import metrics
from ..language import compile_rules  # noqa: F401 (registers the rules of ops)
from ..language.jagged_tensor import JaggedTensor
from . import (
    codegen_split,  # noqa: F401 (registers the rules of split reductions)
    codegen_split_loops,  # noqa: F401 (registers the rules of split loops)
    default_config,
    finalize_config,
    guards,
    symbols,
)
from .auto_specialize import auto_specialize
from .backend import backend_named
from .clean_graphs import check_effects, clean_graphs
from .collect_warnings import print_warnings
from .compile_environment import (
    EXTENT_FACTOR,
    INT32_MAX,
    CompileAgain,
    CompileEnvironment,
    ExtentCollision,
    ExtentsMustDivide,
    OffsetsAreWide,
    SizesAreWorthNumbers,
    SizesMustAgree,
    reach,
)
from .defer_folds import defer_folds
from .device_ir import DeviceIR
from .find_swaps import find_swaps
from .find_whole_tiles import find_whole_tiles
from .fold_scales import fold_scales
from .generate_ast import ModuleBuilder
from .graph_tracer import GraphTracer
from .hoist_loads import hoist_loads
from .host_function import HostFunction, parse
from .host_unroll import HostLoops, UnrollLoops
from .jagged_arguments import fake_jagged
from .lowering import prepare_lowerings
from .mark_loop_indices import mark_loop_indices
from .node_masking import mask_inputs
from .number_accesses import number_accesses
from .order_programs import order_programs
from .restrict_knobs import restrict_knobs
from .roll_reduction import roll_reductions
from .split_loops import split_loops
from .split_reduction import split_reductions
from .type_dump import dump_types
from .type_propagation import propagate_types
from .warn_shared_stores import warn_shared_stores
from .warn_tiled_products import warn_tiled_products
from .written_arguments import written_places

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

    from ..runtime.config import Config
    from ..runtime.settings import Settings
    from .choose_indexing import IndexingChoice

# Every attempt learns one fact more about the sizes of the kernel.
MAX_ATTEMPTS = 100


@dataclass
class HostProgram:
    """The result of stage 1: everything a Config is applied to."""

    host: HostFunction
    env: CompileEnvironment
    ir: DeviceIR
    arguments: tuple[Any, ...] = ()  # fakes, and symbols for numbers
    guards: str = ""
    guard_values: tuple[Any, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def closure(self) -> dict[str, Any]:
        """Values of the kernel's free variables, for the wrapper."""
        return self.host.closure

    def written_places(self, fakes: tuple[torch.Tensor, ...]) -> frozenset[int]:
        """Return the places of those arguments whose memory the kernel changes."""
        return written_places(self.ir, fakes)

    def default_config(self) -> Config:
        """Return the Config used where the user gives none."""
        return self.env.config_spec.default_config()

    def generate(self, config: Config) -> str:
        """Stage 2: return the text of the module for a normalized Config."""
        text = ModuleBuilder(self.host, self.env, self.ir, config).build()
        dump("triton", lambda: text)
        return text

    def indexing_choices(self, config: Config) -> list[IndexingChoice]:
        """Return how a normalized Config addresses each operation, and why."""
        builder = ModuleBuilder(self.host, self.env, self.ir, config)
        builder.build()
        found = dict.fromkeys(builder.choices)
        return sorted(found, key=lambda c: (c.kind.startswith("atomic_"), c.op))

    def type_dump(self) -> str:
        """Return every expression of the kernel with its type."""
        return dump_types(self.host)


@dataclass
class Learned:
    """What an attempt found out too late."""

    constants: set[int] = field(default_factory=set)
    equal: set[tuple[str, str]] = field(default_factory=set)
    specialized: set[str] = field(default_factory=set)
    wide: bool = False
    extent_factor: int = EXTENT_FACTOR
    loops: HostLoops = field(default_factory=HostLoops)


def compile_function(
    fn: types.FunctionType, args: tuple[Any, ...], settings: Settings
) -> HostProgram:
    """Stage 1: parse, propagate types, trace, lower, mask and roll."""
    learned = Learned()
    for _ in range(MAX_ATTEMPTS):
        try:
            return _compile(fn, args, settings, learned)
        except ExtentCollision as collision:
            learned.constants.add(collision.value)
        except SizesMustAgree as sizes:
            learned.equal.add(sizes.pair)
        except ExtentsMustDivide as extents:
            learned.extent_factor = extents.factor
        except SizesAreWorthNumbers as sizes:
            learned.specialized |= sizes.names
        except OffsetsAreWide:
            learned.wide = True
        except UnrollLoops:
            continue
    raise exc.InternalError(f"{fn.__name__}: compiling does not come to an end")


def _compile(
    fn: types.FunctionType, args: tuple[Any, ...], settings: Settings, learned: Learned
) -> HostProgram:
    start = time.perf_counter()
    host = parse(fn)
    env = _environment(host, args, settings, learned)
    ir = DeviceIR()
    values = _arguments(host, env, args)
    env.assume_equal(learned.equal)
    env.specialize_sizes(learned.specialized)
    host.loops = learned.loops
    try:
        propagate_types(host, env, GraphTracer(env, ir), values)
        dump("types", lambda: dump_types(host))
        exc.raise_collected(env.errors)
    except exc.Base as error:
        raise learned.loops.failed(error) from error.__cause__
    _check_roots(host, ir)
    auto_specialize(ir, env)
    with _named_failures(host):
        _analyze(env, ir)
        if settings.debug:
            env.specialized.check()
    program = HostProgram(host, env, ir, tuple(values.values()))
    program.guards, program.guard_values = guards.of(host, env)
    _count(env)
    dump("time", lambda: f"stage 1: {(time.perf_counter() - start) * 1e3:.1f} ms")
    return program


def _count(env: CompileEnvironment) -> None:
    """Add what this compile made to ``helion.metrics()``."""
    metrics.count("guards", len(symbols.guard_expressions(env.shape_env)))
    metrics.count("symbols", symbols.symbol_count(env.shape_env))
    metrics.count_reuse(env.specialized.reused, env.specialized.minted)


def _analyze(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Everything between tracing and the first Config."""
    clean_graphs(ir, env)
    check_effects(ir)
    number_accesses(ir, env)
    warn_shared_stores(ir, env)
    print_warnings(ir, env)
    warn_tiled_products(ir, env)
    fold_scales(ir, env)
    hoist_loads(ir, env)
    prepare_lowerings(ir, env)
    mask_inputs(ir, env)
    defer_folds(ir, env)
    find_whole_tiles(ir, env)
    order_programs(ir, env)
    find_swaps(ir, env)
    dump("device_ir", lambda: str(ir))
    roll_reductions(ir, env)
    split_reductions(ir, env)
    split_loops(ir, env)
    mark_loop_indices(ir, env)
    finalize_config.finalize(env, ir)
    restrict_knobs(env, ir)
    default_config.prefer_defaults(env, ir)


@contextlib.contextmanager
def _named_failures(host: HostFunction) -> Iterator[None]:
    """Let whatever escapes from a pass at least name the kernel."""
    try:
        yield
    except (exc.Base, CompileAgain):
        raise
    except Exception as error:
        wrapped = exc.InternalError(error)
        raise wrapped.with_location(host.location(host.tree)) from error


def _environment(
    host: HostFunction, args: tuple[Any, ...], settings: Settings, learned: Learned
) -> CompileEnvironment:
    found = first_tensor(dict(zip(host.params, args, strict=False)))
    if found is None:
        raise exc.NoTensorArgs().with_location(host.location(host.tree))
    text, tensor = found
    env = CompileEnvironment(tensor.device, settings, backend_named(settings.backend))
    env.device_text = f"{text}.device"
    env.index_dtype = _index_dtype(args, settings, learned)
    env.constants |= learned.constants
    env.extent_factor = learned.extent_factor
    return env


def first_tensor(named: Any, prefix: str = "") -> tuple[str, torch.Tensor] | None:
    """Return host code and value of the first tensor among arguments."""
    items = named.items() if isinstance(named, dict) else enumerate(named)
    for key, value in items:
        text = f"{prefix}[{key!r}]" if prefix else str(key)
        if isinstance(value, torch.Tensor):
            return text, value
        if isinstance(value, (list, tuple, dict)):
            found = first_tensor(value, text)
            if found is not None:
                return found
    return None


def _index_dtype(
    args: tuple[Any, ...], settings: Settings, learned: Learned
) -> torch.dtype:
    """32-bit offsets unless a tensor reaches beyond them."""
    wide = any(reach(t) > INT32_MAX for t in _tensors(args))
    if settings.index_dtype is None:
        return torch.int64 if wide or learned.wide else torch.int32
    if wide and settings.index_dtype != torch.int64:
        raise exc.InputTensorNumelExceedsIndexType(index_dtype=settings.index_dtype)
    return settings.index_dtype


def _tensors(values: Any) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return [t for v in values for t in _tensors(v)]
    return []


def _arguments(
    host: HostFunction, env: CompileEnvironment, args: tuple[Any, ...]
) -> dict[str, Any]:
    from ..language.constexpr import ConstExpr

    values: dict[str, Any] = {}
    seen: dict[int, Any] = {}
    for name, value in zip(host.params, args, strict=False):
        if isinstance(value, ConstExpr):
            values[name] = value.value
        elif name in host.constexpr_params:
            values[name] = value
        elif id(value) in seen and isinstance(value, torch.Tensor):
            values[name] = seen[id(value)]
        elif isinstance(value, JaggedTensor):
            values[name] = fake_jagged(env, value, host.param_origin(name))
            seen[id(value)] = values[name]
        else:
            values[name] = env.to_fake(value, host.param_origin(name))
            seen[id(value)] = values[name]
    return values


def _check_roots(host: HostFunction, ir: DeviceIR) -> None:
    if not ir.root_ids:
        raise exc.NoDeviceLoopsInKernel().with_location(host.location(host.tree))
