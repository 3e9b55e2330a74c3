"""``ConfigSpec``: which knobs one kernel has, their ranges and its default config."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helion import exc
from helion.autotuner.config_fragment import (
    BlockSizeFragment,
    EnumFragment,
    Fragment,
    PermutationFragment,
    PowerOfTwoFragment,
    ReductionLoopFragment,
    is_power_of_two,
    padded_size,
)
from helion.autotuner.config_knobs import (
    INDEXING_MODES,
    KNOBS,
    LEGACY_NAMES,
    PERSISTENT_PID_TYPES,
    PID_TYPES,
    UNAVAILABLE,
    Knob,
)
from helion.autotuner.config_limits import TensorShape, shrink_blocks, shrink_chunks
from helion.autotuner.config_normalize import clamp_bounded, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from helion.autotuner.config_splits import SplitLoopSpec
    from helion.runtime.config import Config

DEFAULT_TENSOR_NUMEL = 1_048_576
_DEFAULT_CHUNK = 4096
_SMALLEST_CHUNK = 8
MAX_SPLITS = 1024

PidTypeReason = tuple[str, type[exc.InvalidConfig]]


@dataclass
class BlockSizeSpec:
    """The tile extent of one dimension.

    ``min_size`` is what correctness needs, ``autotuner_min`` where a search begins;
    ``max_size`` only bounds the search. ``default`` is for those who know better than
    ``ConfigSpec.default_block_size``. ``bounded_by`` is the block id of the outer tile
    that this one walks through.
    """

    block_id: int
    size_hint: int
    min_size: int = 1
    max_size: int | None = None
    default: int | None = None
    bounded_by: int | None = None
    autotuner_min: int = 1
    allow_flatten: bool = True
    allow_reorder: bool = True
    allow_l2_grouping: bool = True

    def update_min(self, size: int) -> None:
        """Raise the least legal size; it must be a power of two."""
        if not is_power_of_two(size):
            raise exc.InvalidConfig(
                f"a least block size must be a power of two: {size}"
            )
        self.min_size = max(self.min_size, size)

    def update_max(self, size: int) -> None:
        """Lower the largest searched size to a power of two of at most ``size``."""
        floor = 1 << (max(size, 1).bit_length() - 1)
        self.max_size = floor if self.max_size is None else min(self.max_size, floor)

    def update_allow_flattened(self, allowed: bool) -> None:
        """Forbid flattening for good once one use of the tile does not allow it."""
        self.allow_flatten = self.allow_flatten and allowed

    def fragment(self, spec: ConfigSpec) -> Fragment:
        high = padded_size(self.size_hint) if self.max_size is None else self.max_size
        high = max(high, self.min_size)
        low = min(max(self.min_size, self.autotuner_min), high)
        default = self.default or spec.default_block_size()
        return BlockSizeFragment(low, high, default)


@dataclass(frozen=True)
class LoopOrderSpec:
    """A tile loop over several dimensions, which may be walked in any order."""

    block_ids: tuple[int, ...]

    def fragment(self, spec: ConfigSpec) -> Fragment:
        return PermutationFragment(len(self.block_ids))


@dataclass(frozen=True)
class FlattenLoopSpec:
    """A tile loop whose dimensions may become one linear index."""

    block_ids: tuple[int, ...]


@dataclass(frozen=True)
class L2GroupingSpec:
    """A grid over several dimensions."""

    block_ids: tuple[int, ...]


@dataclass
class ReductionLoopSpec:
    """A rollable reduction axis; above ``must_loop_above`` elements it has to loop.

    ``default`` may be set to a chunk, or to ``size_hint`` for one tile over all of it.
    """

    block_id: int
    size_hint: int
    must_loop_above: int | None = None
    default: int | None = None

    @property
    def padded(self) -> int:
        """Extent of one tile over the whole axis."""
        return padded_size(self.size_hint)

    def cap(self, spec: ConfigSpec) -> int:
        """Return the largest legal tile extent, a power of two."""
        cap = spec.max_tensor_numel
        if self.must_loop_above is not None:
            cap = min(cap, self.must_loop_above)
        return 1 << (max(cap, 1).bit_length() - 1)

    def fragment(self, spec: ConfigSpec) -> Fragment:
        limit = self.cap(spec)
        if spec.max_reduction_chunk is not None:
            limit = min(limit, 1 << (max(spec.max_reduction_chunk, 1).bit_length() - 1))
        persistent = self.padded <= limit
        if persistent and self.padded <= _SMALLEST_CHUNK:
            return EnumFragment((None,))
        high = self.padded // 2 if persistent else limit
        low = min(_SMALLEST_CHUNK, high)
        return ReductionLoopFragment(low, high, self._wanted(), persistent)

    def _wanted(self) -> int:
        if self.default is not None:
            return self.padded if self.default >= self.size_hint else self.default
        return self.padded if self.size_hint <= _DEFAULT_CHUNK else _DEFAULT_CHUNK


@dataclass
class SplitReductionSpec:
    """A reduction axis that several programs can fold together.

    ``shapes`` are the tiles that each of them leaves.
    """

    block_id: int
    size_hint: int
    shapes: list[TensorShape]
    default: int = 1

    def fragment(self, spec: ConfigSpec) -> Fragment:
        chunks = padded_size(-(-self.size_hint // _SMALLEST_CHUNK))
        high = min(chunks, MAX_SPLITS)
        return PowerOfTwoFragment(1, high, min(self.default, high))


@dataclass(frozen=True)
class RangeSpec:
    """A loop that ``tl.range`` walks; ``is_grid``: only in a persistent grid."""

    block_ids: tuple[int, ...]
    is_grid: bool = False


@dataclass(frozen=True)
class StaticRangeSpec:
    """A short inner loop with constant bounds."""

    block_id: int


@dataclass
class ConfigSpec:
    """The space of configs of one kernel; filled by the compiler, read by everybody.

    The lists have one item for each element of the knob of that name (``ranges``: of
    every ``range_*`` knob). ``tensor_shapes`` are the tiles whose size Triton caps; an
    item is an ``int``, ``("block", block_id)`` or ``("reduction", block_id)``.
    ``fixed_block_sizes`` gives the extents of block ids that have no knob, and
    ``preferred`` what the compiler thinks better than a knob's own default.
    ``proposals`` are changes to that pick which ``judge``, if there is one, weighs: it
    returns the default for the pick.
    ``indexing_modes`` and ``atomic_modes`` list what a search draws for each operation.
    ``opened`` are the optional knobs that a search draws, ``closed`` what no config of
    the kernel may set, with the reason.
    """

    block_sizes: list[BlockSizeSpec] = field(default_factory=list)
    loop_orders: list[LoopOrderSpec] = field(default_factory=list)
    flatten_loops: list[FlattenLoopSpec] = field(default_factory=list)
    l2_groupings: list[L2GroupingSpec] = field(default_factory=list)
    reduction_loops: list[ReductionLoopSpec] = field(default_factory=list)
    split_reductions: list[SplitReductionSpec] = field(default_factory=list)
    split_loops: list[SplitLoopSpec] = field(default_factory=list)
    ranges: list[RangeSpec] = field(default_factory=list)
    static_ranges: list[StaticRangeSpec] = field(default_factory=list)
    masked_loops: list[int] = field(default_factory=list)
    num_swaps: int = 0
    num_loads: int = 0
    num_stores: int = 0
    num_memory_ops: int = 0
    num_atomics: int = 0
    user_tunables: dict[str, Fragment] = field(default_factory=dict)
    allowed_pid_types: list[str] = field(default_factory=lambda: list(PID_TYPES))
    pid_type_reasons: dict[str, PidTypeReason] = field(default_factory=dict)
    indexing_modes: list[tuple[str, ...]] = field(default_factory=list)
    atomic_modes: list[tuple[str, ...]] = field(default_factory=list)
    allow_warp_specialize: bool = False
    tensor_shapes: list[TensorShape] = field(default_factory=list)
    fixed_block_sizes: dict[int, int] = field(default_factory=dict)
    max_tensor_numel: int = DEFAULT_TENSOR_NUMEL
    max_reduction_chunk: int | None = None
    registers_per_sm: int = 65536
    preferred: dict[str, Any] = field(default_factory=dict)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    judge: Callable[[Config], Config] | None = None
    opened: dict[str, Fragment | None] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)

    @property
    def stage_ranges(self) -> list[RangeSpec]:
        """The loops whose loads may be under way before the stores of the last turn."""
        return [] if "range_num_stages" in self.closed else self.ranges

    @property
    def warp_specialize_ranges(self) -> list[RangeSpec]:
        """The loops that the device at hand can specialize by warp."""
        return self.ranges if self.allow_warp_specialize else []

    def add_range(self, block_ids: Sequence[int], is_grid: bool = False) -> None:
        """Add a loop unless one over the same block ids is there already."""
        if all(known.block_ids != tuple(block_ids) for known in self.ranges):
            self.ranges.append(RangeSpec(tuple(block_ids), is_grid))

    def add_tunable(self, name: str, fragment: Fragment) -> None:
        """Register a knob of the kernel's own."""
        if name in {*self.known_keys(), *self.user_tunables}:
            raise exc.TunableNameConflict(name=name)
        values = [fragment.default(), *getattr(fragment, "choices", ())]
        for value in values:
            if not isinstance(value, (int, float)):
                raise exc.TunableTypeNotSupported(type=type(value).__name__)
        self.user_tunables[name] = fragment

    def disallow_pid_type(
        self,
        name: str,
        reason: str,
        error: type[exc.InvalidConfig] = exc.InvalidConfig,
    ) -> None:
        """Take a pid_type out of the space; a config that names it hears ``reason``."""
        if name in self.allowed_pid_types:
            self.allowed_pid_types.remove(name)
            self.pid_type_reasons[name] = (reason, error)
        assert self.allowed_pid_types, "no pid_type is left"

    def pid_type_error(self, name: str) -> exc.InvalidConfig:
        """Make the error for a config that names a pid_type which is not allowed."""
        unknown = ("this kernel does not allow it", exc.InvalidConfig)
        reason, error = self.pid_type_reasons.get(name, unknown)
        legal = ", ".join(map(repr, self.allowed_pid_types))
        return error.from_text(f"pid_type = {name!r}: {reason}; use {legal}")

    def known_keys(self) -> list[str]:
        """Return every key that a config of this kernel may have."""
        return [*KNOBS, *LEGACY_NAMES, *UNAVAILABLE, *self.user_tunables]

    def entries(self, knob: Knob) -> Sequence[Any]:
        """Return what has one value each of a list knob."""
        assert knob.per is not None, f"{knob.name} is not a list"
        items = getattr(self, knob.per)
        return range(items) if isinstance(items, int) else items

    def fragment(self, knob: Knob, entry: Any = None) -> Fragment:
        """Return the searched range of ``knob`` (of ``entry``, for a list knob)."""
        opened = self.opened.get(knob.name)
        if opened is not None:
            return opened
        if knob.fragment is not None:
            return knob.fragment
        if knob.name == "advanced_controls_file":
            return EnumFragment(("",))
        if knob.name == "pid_type":
            return EnumFragment(tuple(self.allowed_pid_types))
        if knob.name in ("indexing", "atomic_indexing"):
            return EnumFragment(self._modes(knob.name, entry))
        return entry.fragment(self)

    def _modes(self, name: str, op: int) -> tuple[str, ...]:
        """Return the modes that an operation may have under some block sizes."""
        known = self.indexing_modes if name == "indexing" else self.atomic_modes
        return known[op] if op < len(known) else INDEXING_MODES[:1]

    def knobs(self) -> Iterator[tuple[str, int | None, Fragment]]:
        """Yield (key, index, range) of every choice; the index of a scalar is None."""
        for knob in filter(self._is_open, KNOBS.values()):
            if knob.per is None:
                yield knob.name, None, self.fragment(knob)
                continue
            for index, entry in enumerate(self.entries(knob)):
                yield knob.name, index, self.fragment(knob, entry)
        for name, fragment in self.user_tunables.items():
            yield name, None, fragment

    def _is_open(self, knob: Knob) -> bool:
        if knob.is_optional and knob.name not in self.opened:
            return False
        if knob.name not in ("num_sm_multiplier", "maxnreg"):
            return True
        return any(name in PERSISTENT_PID_TYPES for name in self.allowed_pid_types)

    def size(self) -> int:
        """Return how many configs a search may draw."""
        total = 1
        for _, _, fragment in self.knobs():
            total *= fragment.cardinality()
        return total

    def default_block_size(self) -> int:
        """Return the tile extent for a kernel of which nothing else is known."""
        reduced = 1
        for reduction in self.reduction_loops:
            reduced *= reduction.padded
        dims = len(self.block_sizes)
        if dims <= 2 and reduced <= 128:
            return 32
        if dims >= 3 and reduced > 1:
            size = 1
            while (2 * size) ** dims * reduced <= 32768:
                size *= 2
            return size
        return 16 if reduced <= 256 else 1

    def normalize(self, config: Config | Mapping[str, Any]) -> Config:
        """Return the complete form of ``config``, which stays as it is.

        Raises one InvalidConfig that lists every problem.
        """
        return normalize(self, config)

    def default_config(self) -> Config:
        """Return the legal config that is used before any search."""
        values = self._assemble([f.default() for _, _, f in self.knobs()])
        pick = self.normalize(self._repair({**values, **self.preferred}))
        return pick if self.judge is None else self.judge(pick)

    def random_config(self, rng: random.Random | None = None) -> Config:
        """Draw a legal config."""
        rng = rng or random.Random()
        values = self._assemble([f.random(rng) for _, _, f in self.knobs()])
        # Without this nearly all draws in many dimensions would be huge tiles.
        limit = 32 * values["num_warps"] << rng.randrange(12)
        blocks = dict(enumerate(values.get("block_sizes", [])))
        while blocks and _product(blocks.values()) > limit:
            open_blocks = [
                i for i, n in blocks.items() if n > self.block_sizes[i].min_size
            ]
            if not open_blocks:
                break
            blocks[max(open_blocks, key=lambda i: blocks[i])] //= 2
        if blocks:
            values["block_sizes"] = list(blocks.values())
        return self.normalize(self._repair(values))

    def flatten(self, config: Config | Mapping[str, Any]) -> list[Any]:
        """Return the values of ``config`` in the order of ``knobs()``."""
        full = self.normalize(config)
        return [
            self._value_of(full, key, index, fragment)
            for key, index, fragment in self.knobs()
        ]

    def _value_of(
        self, config: Config, key: str, index: int | None, fragment: Fragment
    ) -> Any:
        if key not in config:
            # Normalization leaves out what means nothing under this pid_type.
            return fragment.default()
        return config[key] if index is None else config[key][index]

    def unflatten(self, flat: Sequence[Any]) -> Config:
        """Make a legal config of values from ``knobs()``, repairing what conflicts."""
        return self.normalize(self._repair(self._assemble(flat)))

    def _assemble(self, flat: Sequence[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for (key, index, _), value in zip(self.knobs(), flat, strict=True):
            if index is None:
                values[key] = value
            else:
                values.setdefault(key, []).append(value)
        return values

    def _repair(self, values: dict[str, Any]) -> dict[str, Any]:
        """Settle conflicts between values that are legal one by one."""
        fixed = dict(values)
        if fixed["pid_type"] not in PERSISTENT_PID_TYPES:
            fixed.pop("num_sm_multiplier", None)
            fixed.pop("maxnreg", None)
        elif (fixed.get("maxnreg") or 0) > self.register_budget(fixed["num_warps"]):
            fixed["maxnreg"] = None
        policies = fixed.get("load_eviction_policies", [])
        modifiers = fixed.get("load_cache_modifiers", [])
        fixed["load_cache_modifiers"] = [
            "" if policy else m for m, policy in zip(modifiers, policies)
        ]
        if any(fixed.get("flatten_loops", [])):
            fixed.pop("epilogue_subtile", None)
        blocks = clamp_bounded(self, fixed.get("block_sizes", []))
        chunks = fixed.get("reduction_loops", [])
        blocks = self.shrink_to_cap(blocks, reduction_loops=chunks)
        chunks = shrink_chunks(self, blocks, chunks, self.max_tensor_numel)
        return {**fixed, "block_sizes": blocks, "reduction_loops": chunks}

    def register_budget(self, num_warps: int) -> int:
        """Return the most registers that a thread of so many warps can have."""
        return self.registers_per_sm // (num_warps * 32)

    def shrink_to_cap(
        self,
        block_sizes: Sequence[int],
        cap: int | None = None,
        reduction_loops: Sequence[int | None] | None = None,
    ) -> list[int]:
        """Halve the largest block of each tile above ``cap``, not below its minimum."""
        if reduction_loops is None:
            knob = KNOBS["reduction_loops"]
            fragments = (self.fragment(knob, e) for e in self.reduction_loops)
            reduction_loops = [fragment.default() for fragment in fragments]
        cap = self.max_tensor_numel if cap is None else cap
        return shrink_blocks(self, block_sizes, reduction_loops, cap)


def _product(numbers: Iterable[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result
