"""Completing a config and finding everything that is wrong with it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helion import exc
from helion.autotuner.config_fragment import PowerOfTwoFragment, padded_size
from helion.autotuner.config_knobs import (
    KNOBS,
    LEGACY_NAMES,
    PERSISTENT_PID_TYPES,
    UNAVAILABLE,
    Knob,
)
from helion.autotuner.config_limits import limit_splits, oversized
from helion.autotuner.config_splits import limit_loop_splits
from helion.runtime.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helion.autotuner.config_spec import ConfigSpec

_RANGE_KNOBS = [name for name in KNOBS if name.startswith("range_")]
_SMALLEST_CHUNK = 8
_LEAST_SPECIALIZED_WARPS = 4


@dataclass
class Draft:
    """A config on its way to the complete form, with the problems found so far."""

    spec: ConfigSpec
    values: dict[str, Any]
    problems: list[exc.BaseError] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)

    def reject(self, key: str, rule: str, where: str = "") -> None:
        """Note that ``key`` (at ``where``: ``[1] = 48``) breaks ``rule``."""
        self.note(key, exc.InvalidConfig(f"{key}{where}: {rule}"))

    def note(self, key: str, error: exc.BaseError) -> None:
        self.problems.append(error)
        self.faulty.add(key)

    def is_sound(self, *keys: str) -> bool:
        """True if ``keys`` are present and nothing is wrong with them."""
        return all(key in self.values and key not in self.faulty for key in keys)


def normalize(spec: ConfigSpec, config: Config | Mapping[str, Any]) -> Config:
    """Return ``config`` with every key of ``spec``, or raise all problems as one."""
    draft = Draft(spec, Config.from_dict(config).to_dict())
    _rename_legacy_keys(draft)
    _reject_unknown_keys(draft)
    _reject_closed_keys(draft)
    _fill_lists(draft)
    _fill_scalars(draft)
    _check_pid_type(draft)
    _settle_sizes(draft)
    _settle_ranges(draft)
    _settle_options(draft)
    _check_tensor_sizes(draft)
    _raise_problems(draft.problems)
    return Config(**{key: v for key, v in draft.values.items() if v != []})


def _raise_problems(problems: Sequence[exc.BaseError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        # The narrowest class tells most; all of them are InvalidConfig.
        special = (type(p) for p in problems if type(p) is not exc.InvalidConfig)
        lines = "".join(f"\n  - {problem}" for problem in problems)
        text = f"the config has {len(problems)} problems:{lines}"
        raise next(special, exc.InvalidConfig).from_text(text)


def _rename_legacy_keys(draft: Draft) -> None:
    for old, new in LEGACY_NAMES.items():
        if old not in draft.values:
            continue
        value = draft.values.pop(old)
        if new in draft.values:
            draft.reject(old, f"is the older name of {new}: give one of the two")
        elif new == "reduction_loops" and not isinstance(value, list):
            draft.values[new] = [value] * len(draft.spec.reduction_loops)
        else:
            draft.values[new] = [value]


def _reject_unknown_keys(draft: Draft) -> None:
    known = {*KNOBS, *draft.spec.user_tunables}
    for key in [key for key in draft.values if key not in known]:
        value = draft.values.pop(key)
        if key not in UNAVAILABLE:
            near = difflib.get_close_matches(key, draft.spec.known_keys(), n=1)
            advice = f"did you mean {near[0]}?" if near else "see helion.Config"
            draft.reject(key, f"is no key of this kernel's config; {advice}")
        elif not _asks_for_nothing(value, UNAVAILABLE[key]):
            draft.reject(key, "is not available yet; leave it out", f" = {value!r}")


def _reject_closed_keys(draft: Draft) -> None:
    """Drop knobs that this kernel or GPU does not have; they may not be set."""
    for key, reason in draft.spec.closed.items():
        if key in draft.values:
            value = draft.values.pop(key)
            if not _asks_for_nothing(value, KNOBS[key].default):
                draft.reject(key, f"{reason}; leave it out", f" = {value!r}")


def _asks_for_nothing(value: Any, default: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(item == default or not item for item in items)


def _fill_lists(draft: Draft) -> None:
    for knob in KNOBS.values():
        if knob.per is not None:
            _fill_list(draft, knob, draft.spec.entries(knob))


def _fill_list(draft: Draft, knob: Knob, entries: Sequence[Any]) -> None:
    given = _as_list(draft, knob, len(entries))
    given = given[: len(entries)] if _may_be_longer(draft, knob, given) else given
    if len(given) > len(entries) or (
        knob.name == "block_sizes" and len(given) < len(entries)
    ):
        each = f"(one per {knob.unit})"
        draft.reject(knob.name, f"expected {len(entries)} values {each}, got {given!r}")
        entries = entries[: len(given)]
    elif len(given) < len(entries) and knob.name == "indexing" and given:
        rule = f"expected one value or {len(entries)} (one per {knob.unit})"
        draft.reject(knob.name, f"{rule}, got {len(given)}")
    _check_entries(draft, knob, list(zip(entries, given)))
    rest = [_filler(draft, knob, entry) for entry in entries[len(given) :]]
    draft.values[knob.name] = given + rest


def _check_entries(draft: Draft, knob: Knob, pairs: Sequence[tuple[Any, Any]]) -> None:
    for index, (entry, value) in enumerate(pairs):
        problem = _entry_problem(draft, knob, entry, value)
        if problem is None:
            continue
        if isinstance(draft.values[knob.name], str):
            # One word for all entries: they are all wrong in the same way.
            draft.reject(knob.name, problem, f" = {value!r}")
            return
        draft.reject(knob.name, problem, f"[{index}] = {value!r}")


def _as_list(draft: Draft, knob: Knob, count: int) -> list[Any]:
    """Return the given values of ``knob``, without nesting and scalar forms."""
    value = draft.values.get(knob.name, [])
    if not isinstance(value, list):
        everywhere = isinstance(value, str) and knob.per is not None
        return [value] * count if everywhere else [value]
    if knob.name == "loop_orders":
        is_one = bool(value) and not any(isinstance(item, list) for item in value)
        return [value] if is_one else value
    return _flat(value)


def _flat(values: list[Any]) -> list[Any]:
    result: list[Any] = []
    for value in values:
        result.extend(_flat(value) if isinstance(value, list) else [value])
    return result


def _may_be_longer(draft: Draft, knob: Knob, given: list[Any]) -> bool:
    """True where surplus values are harmless.

    Configs tuned elsewhere have a value for each copy of a load that rolling makes,
    after those of the source; and ``None`` for loops that cannot specialize.
    """
    if knob.name == "range_warp_specializes":
        return not draft.spec.allow_warp_specialize and not any(given)
    if knob.is_optional and all(value == knob.default for value in given):
        return True
    per_access = ("num_loads", "num_stores", "num_memory_ops")
    copied = knob.per in per_access
    return copied and bool(draft.spec.reduction_loops)


def _entry_problem(draft: Draft, knob: Knob, entry: Any, value: Any) -> str | None:
    problem = knob.check(value)
    fragment = draft.spec.fragment(knob, entry)
    if problem is not None:
        if isinstance(fragment, PowerOfTwoFragment):
            problem += f" (searched: {fragment.low}..{fragment.high})"
        return problem
    if knob.name == "loop_orders":
        return fragment.validate(value)
    return None


def _filler(draft: Draft, knob: Knob, entry: Any) -> Any:
    """Return the value of an entry that the config leaves out."""
    if knob.name in ("loop_orders", "reduction_loops"):
        return draft.spec.fragment(knob, entry).default()
    return knob.default


def _fill_scalars(draft: Draft) -> None:
    for knob in KNOBS.values():
        if knob.per is None:
            value = draft.values.get(knob.name, knob.default)
            problem = knob.check(value)
            if problem is not None:
                draft.reject(knob.name, problem, f" = {value!r}")
    for name in ("num_warps", "num_stages"):
        draft.values.setdefault(name, KNOBS[name].default)
    draft.values.setdefault("pid_type", draft.spec.allowed_pid_types[0])
    for name, fragment in draft.spec.user_tunables.items():
        value = draft.values.setdefault(name, fragment.default())
        problem = fragment.validate(value)
        if problem is not None:
            draft.reject(name, problem, f" = {value!r}")


def _check_pid_type(draft: Draft) -> None:
    if not draft.is_sound("pid_type"):
        return
    pid_type, spec = draft.values["pid_type"], draft.spec
    if pid_type not in spec.allowed_pid_types:
        draft.note("pid_type", spec.pid_type_error(pid_type))
        return
    if pid_type not in PERSISTENT_PID_TYPES:
        for name in ("num_sm_multiplier", "maxnreg"):
            default = KNOBS[name].default
            if draft.is_sound(name) and draft.values[name] != default:
                rule = "can only be used with a persistent pid_type"
                draft.reject(name, f"{rule}, not {pid_type!r}")
            draft.values.pop(name, None)
        return
    draft.values.setdefault("num_sm_multiplier", KNOBS["num_sm_multiplier"].default)
    if draft.is_sound("maxnreg", "num_warps"):
        warps = draft.values["num_warps"]
        budget = spec.register_budget(warps)
        if draft.values["maxnreg"] > budget:
            rule = f"exceeds the register budget of {budget} for {warps} warps"
            draft.reject("maxnreg", rule, f" = {draft.values['maxnreg']}")


def _settle_sizes(draft: Draft) -> None:
    """Bring legal block and chunk sizes into their canonical form."""
    if draft.is_sound("block_sizes"):
        blocks = draft.values["block_sizes"]
        draft.values["block_sizes"] = clamp_bounded(draft.spec, blocks)
    if draft.is_sound("reduction_loops"):
        chunks = draft.values["reduction_loops"]
        for index, entry in enumerate(draft.spec.reduction_loops):
            cap, chunk = entry.cap(draft.spec), chunks[index]
            if chunk is not None and chunk < 2:
                chunks[index] = chunk = _SMALLEST_CHUNK
            if chunk is not None and chunk >= entry.size_hint and entry.padded <= cap:
                chunks[index] = chunk = None
            size = entry.padded if chunk is None else chunk
            if size > cap:
                axis = f"reduction_loops[{index}] (block id {entry.block_id})"
                error = exc.HelionReductionTooLarge(axis=axis, size=size, cap=cap)
                draft.note("reduction_loops", error)

    if draft.is_sound("block_sizes", "reduction_loops", "reduction_splits"):
        sizes = draft.values["block_sizes"], draft.values["reduction_loops"]
        splits = draft.values["reduction_splits"]
        draft.values["reduction_splits"] = limit_splits(draft.spec, *sizes, splits)
    if draft.is_sound("block_sizes", "reduction_loops", "loop_splits"):
        sizes = draft.values["block_sizes"], draft.values["reduction_loops"]
        splits = draft.values["loop_splits"]
        draft.values["loop_splits"] = limit_loop_splits(draft.spec, *sizes, splits)
        _check_stream(draft)


def _check_stream(draft: Draft) -> None:
    pairs = zip(draft.spec.split_loops, draft.values["loop_splits"])
    uneven = any(count > 1 and not entry.can_stream for entry, count in pairs)
    if draft.values.get("split_mode") == "stream" and uneven:
        rule = "needs a loop with as many turns in each tile; use 'semaphore'"
        draft.reject("split_mode", rule, " = 'stream'")


def clamp_bounded(spec: ConfigSpec, blocks: Sequence[int]) -> list[int]:
    """Raise blocks to their minimum, and lower inner ones to the tile they walk."""
    sizes = [max(n, entry.min_size) for entry, n in zip(spec.block_sizes, blocks)]
    known = dict(spec.fixed_block_sizes)
    for index, entry in enumerate(spec.block_sizes):
        if entry.bounded_by is not None:
            outer = known.get(entry.bounded_by, sizes[index])
            sizes[index] = max(min(sizes[index], outer), entry.min_size)
        known[entry.block_id] = sizes[index]
    return sizes


def _settle_ranges(draft: Draft) -> None:
    """Reset the range knobs of loops that are no ``tl.range`` under this config."""
    if not draft.is_sound(*_RANGE_KNOBS, "static_ranges", "pid_type"):
        return
    unrolled = {
        entry.block_id
        for entry, is_static in zip(
            draft.spec.static_ranges, draft.values["static_ranges"]
        )
        if is_static
    }
    if draft.is_sound("reduction_loops"):
        chunks = zip(draft.spec.reduction_loops, draft.values["reduction_loops"])
        unrolled |= {entry.block_id for entry, chunk in chunks if chunk is None}
    persistent = draft.values["pid_type"] in PERSISTENT_PID_TYPES
    for index, entry in enumerate(draft.spec.ranges):
        is_grid_only = entry.is_grid and not persistent
        if is_grid_only or unrolled & set(entry.block_ids):
            for name in _RANGE_KNOBS:
                if index < len(draft.values[name]):
                    draft.values[name][index] = KNOBS[name].default
    _keep_one_specialized_loop(draft.values)


def _keep_one_specialized_loop(values: dict[str, Any]) -> None:
    flags = values["range_warp_specializes"]
    if True not in flags:
        return
    first = flags.index(True)
    flags[first + 1 :] = [False if flag else flag for flag in flags[first + 1 :]]
    if values["range_unroll_factors"][first] > 1:
        values["range_unroll_factors"][first] = 0
    values["num_warps"] = max(values["num_warps"], _LEAST_SPECIALIZED_WARPS)


def _settle_options(draft: Draft) -> None:
    """Check what optional knobs mean together, and drop those that ask for nothing."""
    values = draft.values
    if draft.is_sound("load_eviction_policies", "load_cache_modifiers"):
        names = ("load_eviction_policies", "load_cache_modifiers")
        for load, (policy, modifier) in enumerate(zip(*(values[n] for n in names))):
            if policy and modifier:
                rule = f"load {load} has the eviction policy {policy!r}, and not both"
                where = f"[{load}] = {modifier!r}"
                draft.reject("load_cache_modifiers", rule, where)
    if draft.is_sound("epilogue_subtile") and values["epilogue_subtile"]:
        values["epilogue_subtile"] = max(int(values["epilogue_subtile"]), 2)
        if any(values.get("flatten_loops", [])):
            rule = "cannot be used with flatten_loops, which leaves no tile to split"
            draft.reject("epilogue_subtile", rule)
    modes = [*values.get("indexing", []), *values.get("atomic_indexing", [])]
    if draft.is_sound("host_tensor_descriptors") and "tensor_descriptor" not in modes:
        del values["host_tensor_descriptors"]
    for knob in KNOBS.values():
        is_set = knob.is_optional and draft.is_sound(knob.name)
        if is_set and _asks_for_nothing(values[knob.name], knob.default):
            del values[knob.name]


def _check_tensor_sizes(draft: Draft) -> None:
    if not draft.is_sound("block_sizes", "reduction_loops"):
        return
    blocks, chunks = draft.values["block_sizes"], draft.values["reduction_loops"]
    too_long: dict[int, int] = {}
    fixed: dict[int, int] = {}
    for shape, numel in oversized(draft.spec, blocks, chunks):
        axes = [dim for dim in shape if not isinstance(dim, int)]
        reduced = [block_id for kind, block_id in axes if kind == "reduction"]
        if reduced:
            too_long[reduced[0]] = max(numel, too_long.get(reduced[0], 0))
            continue
        whole = [dim for dim in shape if isinstance(dim, int)]
        if math.prod(map(padded_size, whole)) > draft.spec.max_tensor_numel:
            fixed[max(whole)] = max(numel, fixed.get(max(whole), 0))
            continue
        ids = [block_id for _, block_id in axes]
        what = f"the tile over block ids {ids} has {numel} elements"
        cap = f"the cap is {draft.spec.max_tensor_numel}"
        fix = "lower block_sizes, or raise settings.max_triton_tensor_numel"
        draft.reject("block_sizes", f"{what}, {cap}; {fix}", f" = {blocks}")
    for extent, numel in fixed.items():
        axis = f"of {extent} elements, which cannot be walked in chunks,"
        cap = draft.spec.max_tensor_numel
        error = exc.HelionReductionTooLarge(axis=axis, size=numel, cap=cap)
        draft.note("block_sizes", error)
    for block_id, numel in too_long.items():
        draft.note("reduction_loops", _reduction_error(draft.spec, block_id, numel))


def _reduction_error(spec: ConfigSpec, block_id: int, numel: int) -> exc.BaseError:
    indices = [i for i, e in enumerate(spec.reduction_loops) if e.block_id == block_id]
    where = f"reduction_loops[{indices[0]}] " if indices else ""
    axis = f"{where}(block id {block_id})"
    return exc.HelionReductionTooLarge(axis=axis, size=numel, cap=spec.max_tensor_numel)
