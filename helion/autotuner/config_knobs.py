"""Every knob of a config, declared once: range, default, check and meaning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helion.autotuner.config_fragment import (
    BooleanFragment,
    EnumFragment,
    Fragment,
    IntegerFragment,
    NumWarpsFragment,
    PowerOfTwoFragment,
    is_int,
    is_power_of_two,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INDEXING_MODES = ("pointer", "block_ptr", "tensor_descriptor")
PID_TYPES = ("flat", "xyz", "persistent_blocked", "persistent_interleaved")
PERSISTENT_PID_TYPES = PID_TYPES[2:]


# What a list element belongs to, by the attribute of ConfigSpec that has it.
UNITS = {
    "block_sizes": "tunable tile dimension",
    "loop_orders": "tile loop over several dimensions",
    "flatten_loops": "tile loop that can be flattened",
    "l2_groupings": "grid over several dimensions",
    "reduction_loops": "rollable reduction axis",
    "split_reductions": "reduction axis that can be split",
    "split_loops": "loop that can be split",
    "ranges": "grid and one per inner loop",
    "warp_specialize_ranges": "loop that can be warp specialized",
    "static_ranges": "short loop with constant bounds",
    "num_swaps": "sum of products over a loop",
    "masked_loops": "loop with products and with masks that whole tiles do not need",
    "stage_ranges": "grid and one per inner loop",
    "num_loads": "load",
    "num_stores": "store",
    "num_memory_ops": "load or store",
    "num_atomics": "atomic",
}


@dataclass(frozen=True)
class Knob:
    """One key of a config.

    ``per`` is the attribute of ConfigSpec (a list or a count) with one item for each
    element; ``None``: one value for the kernel. ``check`` tells what is wrong with an
    explicit value, whose legal range may be wider than the searched ``fragment``, which
    is ``None`` where it depends on the kernel. ``legacy`` is the older, singular name.
    One that ``is_optional`` stands in a complete config only where it asks for
    something, and a search draws it only for kernels that open it. ``vendor``: it means
    something on GPUs of that maker alone.
    """

    name: str
    default: Any
    doc: str
    check: Callable[[Any], str | None]
    per: str | None = None
    fragment: Fragment | None = None
    legacy: str | None = None
    is_optional: bool = False
    vendor: str | None = None

    @property
    def unit(self) -> str:
        """Words for what has one value: a load, a tile dimension, the kernel."""
        return "kernel" if self.per is None else UNITS[self.per]


def _power_of_two(value: Any) -> str | None:
    return None if is_power_of_two(value) else "must be a power of two"


def _reduction_loop(value: Any) -> str | None:
    # Below 2, normalization puts the smallest chunk.
    if value is None or is_power_of_two(value) or (is_int(value) and value < 2):
        return None
    return "must be a power of two, or None for one tile over the whole axis"


def _integer(low: int, high: int | None = None) -> Callable[[Any], str | None]:
    rule = f"must be an integer >= {low}"
    if high is not None:
        rule = f"must be an integer in {low}..{high}"

    def check(value: Any) -> str | None:
        inside = is_int(value) and value >= low and (high is None or value <= high)
        return None if inside else rule

    return check


def _maxnreg(value: Any) -> str | None:
    return None if value is None else _integer(1, 256)(value)


def _subtile(value: Any) -> str | None:
    known = value is None or isinstance(value, bool) or value in (0, 2, 4)
    return None if known else "must be None, 2 or 4 (True means 2)"


def _controls_file(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be the path of a file, or '' for none"
    if len(value.split()) > 1:
        return "must have no spaces: Triton splits its options there"
    return None if not value or os.path.isfile(value) else "there is no such file"


def _pipeline(value: Any) -> str | None:
    if value == "barrier":
        return None
    # Every loop is a launch of its own, which begins when the one before has ended.
    return "must be 'barrier': a loop begins when the loops before it have ended"


def _order(value: Any) -> str | None:
    # The length of its loop decides: see LoopOrderSpec.fragment.
    return None if isinstance(value, list) else "must be a list of positions"


_FLAG = BooleanFragment()
_OPTIONAL_FLAG = EnumFragment((None, False, True))
_SMALL = IntegerFragment(0, 4, 0)
_POLICIES = EnumFragment(("", "first", "last"))
_MODES = EnumFragment(INDEXING_MODES)
_ATOMIC_MODES = EnumFragment(("pointer", "tensor_descriptor"))
_SPLIT_MODES = EnumFragment(("partials", "semaphore", "stream"))

_ALL = (
    Knob(
        "block_sizes",
        default=None,
        doc="elements of each tile dimension that one program holds at a time",
        check=_power_of_two,
        per="block_sizes",
        legacy="block_size",
    ),
    Knob(
        "loop_orders",
        default=None,
        doc="order in which the dimensions of a tile loop are walked",
        check=_order,
        per="loop_orders",
        legacy="loop_order",
    ),
    Knob(
        "flatten_loops",
        default=False,
        doc="walk all dimensions of a tile loop by one linear index",
        check=_FLAG.validate,
        per="flatten_loops",
        fragment=_FLAG,
        legacy="flatten_loop",
    ),
    Knob(
        "l2_groupings",
        default=1,
        doc="rows of programs that are walked together and so share the L2 cache",
        check=_power_of_two,
        per="l2_groupings",
        fragment=PowerOfTwoFragment(1, 64, 1),
        legacy="l2_grouping",
    ),
    Knob(
        "reduction_loops",
        default=None,
        doc="chunk in which a reduction axis is walked; None: one tile over all of it",
        check=_reduction_loop,
        per="reduction_loops",
        legacy="reduction_loop",
    ),
    Knob(
        "reduction_splits",
        default=1,
        doc="programs that fold a share of a looped axis each; a second launch folds"
        " what they leave, in a fixed order",
        check=_power_of_two,
        per="split_reductions",
        legacy="reduction_split",
    ),
    Knob(
        "loop_splits",
        default=1,
        doc="programs that walk a share of a device loop each (split-K); what they"
        " gather is joined in a fixed order",
        check=_integer(1, 64),
        per="split_loops",
        legacy="loop_split",
    ),
    Knob(
        "split_mode",
        default="partials",
        doc="what joins the parts of split loops and reductions: a second launch, or"
        " (semaphore) the program of a tile that arrives last; stream: as many programs"
        " as a persistent grid has do equal shares of all turns (stream-K)",
        check=_SPLIT_MODES.validate,
        fragment=_SPLIT_MODES,
        is_optional=True,
    ),
    Knob(
        "range_unroll_factors",
        default=0,
        doc="loop_unroll_factor of a device loop; 0 leaves it to Triton",
        check=_integer(0),
        per="ranges",
        fragment=_SMALL,
        legacy="range_unroll_factor",
    ),
    Knob(
        "range_warp_specializes",
        default=None,
        doc="warp_specialize of a device loop; None leaves it to Triton",
        check=_OPTIONAL_FLAG.validate,
        per="warp_specialize_ranges",
        fragment=_OPTIONAL_FLAG,
        legacy="range_warp_specialize",
        is_optional=True,
    ),
    Knob(
        "range_num_stages",
        default=0,
        doc="num_stages of a device loop; 0 leaves it to num_stages",
        check=_integer(0),
        per="stage_ranges",
        fragment=_SMALL,
        legacy="range_num_stage",
    ),
    Knob(
        "range_multi_buffers",
        default=None,
        doc="several accumulator buffers in a device loop; None leaves it to Triton",
        check=_OPTIONAL_FLAG.validate,
        per="ranges",
        fragment=_OPTIONAL_FLAG,
        legacy="range_multi_buffer",
    ),
    Knob(
        "range_flattens",
        default=None,
        doc="flatten of a device loop; None leaves it to Triton",
        check=_OPTIONAL_FLAG.validate,
        per="ranges",
        fragment=_OPTIONAL_FLAG,
        legacy="range_flatten",
    ),
    Knob(
        "static_ranges",
        default=False,
        doc="unroll a device loop completely",
        check=_FLAG.validate,
        per="static_ranges",
        fragment=_FLAG,
        legacy="static_range",
    ),
    Knob(
        "peel_masks",
        default=True,
        doc="walk the tiles of a loop that need no mask in a loop of their own",
        check=_FLAG.validate,
        per="masked_loops",
        fragment=BooleanFragment(True),
        legacy="peel_mask",
    ),
    Knob(
        "swap_products",
        default=False,
        doc="compute a sum of products transposed, which suits tiles of few rows",
        check=_FLAG.validate,
        per="num_swaps",
        fragment=_FLAG,
        legacy="swap_product",
    ),
    Knob(
        "num_warps",
        default=4,
        doc="warps of a program; 32 are the most that a GPU launches",
        check=PowerOfTwoFragment(1, 32).validate,
        fragment=NumWarpsFragment(1, 32, 4),
    ),
    Knob(
        "num_stages",
        default=1,
        doc="software-pipeline depth of device loops",
        check=_integer(0),
        fragment=IntegerFragment(1, 8, 1),
    ),
    Knob(
        "pid_type",
        default="flat",
        doc="how program ids are mapped to tiles",
        check=EnumFragment(PID_TYPES).validate,
    ),
    Knob(
        "num_sm_multiplier",
        default=1,
        doc="programs for each multiprocessor in a persistent grid",
        check=_integer(1, 128),
        fragment=PowerOfTwoFragment(1, 128, 1),
    ),
    Knob(
        "maxnreg",
        default=None,
        doc="register limit of a thread in a persistent grid; None: no limit",
        check=_maxnreg,
        fragment=EnumFragment((None, 32, 64, 128, 256)),
    ),
    Knob(
        "indexing",
        default="pointer",
        doc="how a load or store is addressed",
        check=_MODES.validate,
        per="num_memory_ops",
    ),
    Knob(
        "atomic_indexing",
        default="pointer",
        doc="how an atomic is addressed",
        check=_ATOMIC_MODES.validate,
        per="num_atomics",
    ),
    Knob(
        "host_tensor_descriptors",
        default=False,
        doc="make tensor descriptors before the launch, not in each program",
        check=_FLAG.validate,
        fragment=_FLAG,
        is_optional=True,
    ),
    Knob(
        "load_eviction_policies",
        default="",
        doc="which loads the cache drops first or last",
        check=_POLICIES.validate,
        per="num_loads",
        fragment=_POLICIES,
    ),
    Knob(
        "load_cache_modifiers",
        default="",
        doc="caches that a load goes through: '.ca' all, '.cg' not that of the SM,"
        " '.cv' none; not beside an eviction policy",
        check=EnumFragment(("", ".ca", ".cg", ".cv")).validate,
        per="num_loads",
        fragment=EnumFragment(("", ".cg")),
        is_optional=True,
    ),
    Knob(
        "store_cache_modifiers",
        default="",
        doc="what a store leaves in the caches: '.wb' and '.cg' keep it, '.cs' drops it"
        " soon, '.wt' writes through",
        check=EnumFragment(("", ".wb", ".cg", ".cs", ".wt")).validate,
        per="num_stores",
        fragment=EnumFragment(("", ".cs", ".wt")),
        is_optional=True,
    ),
    Knob(
        "epilogue_subtile",
        default=None,
        doc="pieces in which what follows a product is computed and stored, along the"
        " innermost tile dimension that they divide",
        check=_subtile,
        fragment=EnumFragment((None, 2)),
        is_optional=True,
    ),
    Knob(
        "reduction_fusion",
        default=False,
        doc="one loop for several reductions over an axis; it is always done where it"
        " is possible, so that this changes nothing",
        check=_FLAG.validate,
        fragment=_FLAG,
        is_optional=True,
    ),
    Knob(
        "cross_loop_pipeline",
        default="barrier",
        doc="how a loop waits for the loops before it",
        check=_pipeline,
        fragment=EnumFragment(("barrier",)),
        is_optional=True,
    ),
    Knob(
        "launch_pdl",
        default=False,
        doc="start while the launch before is ending, and wait for its end before the"
        " first access (programmatic dependent launch)",
        check=_FLAG.validate,
        fragment=_FLAG,
        is_optional=True,
        vendor="nvidia",
    ),
    Knob(
        "advanced_controls_file",
        default="",
        doc="file of controls for NVIDIA's assembler",
        check=_controls_file,
        is_optional=True,
        vendor="nvidia",
    ),
    Knob(
        "xcd_remap",
        default=False,
        doc="give each die of an AMD GPU a run of neighbouring tiles",
        check=_FLAG.validate,
        fragment=_FLAG,
        is_optional=True,
        vendor="amd",
    ),
    Knob(
        "waves_per_eu",
        default=0,
        doc="waves that share an AMD execution unit; 0 leaves it to Triton",
        check=_integer(0, 4),
        fragment=EnumFragment((0, 1, 2, 3, 4)),
        is_optional=True,
        vendor="amd",
    ),
    Knob(
        "matrix_instr_nonkdim",
        default=0,
        doc="rows of an AMD matrix instruction; 0 leaves it to Triton",
        check=EnumFragment((0, 16, 32)).validate,
        fragment=EnumFragment((0, 16, 32)),
        is_optional=True,
        vendor="amd",
    ),
)

KNOBS: dict[str, Knob] = {knob.name: knob for knob in _ALL}

LEGACY_NAMES: dict[str, str] = {
    knob.legacy: knob.name for knob in _ALL if knob.legacy is not None
}

# Keys of existing configs that nothing here reads yet, with the value that asks for
# nothing: that one is accepted, any other is an error.
UNAVAILABLE: dict[str, Any] = {}
