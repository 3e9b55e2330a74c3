"""Random legal Configs of the examples: draw one, run it on fresh data, judge it."""

from __future__ import annotations

import dataclasses
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from examples._catalog import CASES, Case
from helion import _testing, exc
from helion.autotuner.config_fragment import EnumFragment
from helion.autotuner.config_knobs import KNOBS
from helion.runtime.config import Config
from helion.runtime.tensor_trees import map_tensors
from test.harness import poisoned, tensors_in, to_float64

# What an error says of a Config that asks for more than the device has.
RESOURCES = ("out of resource", "out of memory", "Insufficient registers")

# Files that are not here, and loops that only some loads allow to be specialized.
NEVER = ("advanced_controls_file", "range_warp_specializes")

Families = dict[str, list[Case]]
Run = Callable[[Case, tuple[Any, ...], Config], Any]


@dataclass(frozen=True)
class Outcome:
    """How one Config fared.

    The verdict is ``right``, ``wrong``, ``resources`` (the device has too few),
    ``refused`` (an error of ours, which no Config that the spec draws should meet) or
    ``failed``.
    """

    case: str
    seed: int
    verdict: str
    config: str
    detail: str = ""


def families() -> Families:
    """Return the cases of each example file, by its name."""
    found: Families = {}
    for case in CASES:
        name = case.kernel.fn.__module__.rpartition(".")[2]
        found.setdefault(name, []).append(case)
    return found


def case_of(family: str, seed: int) -> Case:
    """Return the case that a seed draws for: the cases of a family take turns."""
    cases = families()[family]
    return cases[seed % len(cases)]


def draw(case: Case, seed: int, args: tuple[Any, ...]) -> Config:
    """Return the Config of a seed, from the space of the kernel for ``args``."""
    spec = case.kernel.bind(args).config_spec
    # Every knob that a user may set, also those that no search draws here.
    optional = [k.name for k in KNOBS.values() if k.is_optional and k.name not in NEVER]
    opened = {n: spec.opened.get(n) for n in optional if n not in spec.closed}
    opened["epilogue_subtile"] = EnumFragment((None, 2, 4))
    wide = dataclasses.replace(spec, opened={**spec.opened, **opened})
    return spec.normalize(wide.random_config(random.Random(f"{case.name} {seed}")))


def attempt(
    case: Case, seed: int, run: Run, device: str, is_small: bool = True
) -> Outcome:
    """Draw the Config of a seed, run it on data of the same seed, and judge it."""
    with _testing.data_seed(seed):
        args = case.make_args(device, is_small)
    config = draw(case, seed, args)
    facts = (case.name, seed)
    try:
        wanted = case.reference(*map_tensors(to_float64, args))
        differs = difference(case, args, run(case, args, config), wanted)
    except Exception as error:
        return Outcome(*facts, verdict_of(error), repr(config), last_lines(error))
    if differs:
        return Outcome(*facts, "wrong", repr(config), differs)
    return Outcome(*facts, "right", repr(config))


def judged(family: str, seed: int, device: str, is_small: bool = True) -> Outcome:
    """Return how the Config of a seed fares with the case that has its turn."""
    return attempt(case_of(family, seed), seed, run_emitted, device, is_small)


def run_emitted(case: Case, args: tuple[Any, ...], config: Config) -> Any:
    """Run a case in this process, whose unwritten memory holds NaN."""
    function = case.kernel.bind(args).compile_config(config)
    with poisoned():
        result = function(*args)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return result


def difference(case: Case, args: Any, found: Any, wanted: Any) -> str:
    """Return how a result differs from the reference, nothing if it does not."""
    mine, right = tensors_in(found), tensors_in(wanted)
    if len(mine) != len(right):
        return f"{len(mine)} results, not {len(right)}"
    rtol, atol = _testing.tolerance_of(case, (args, mine))
    for one, other in zip(mine, right):
        exact = not other.is_floating_point()
        try:
            torch.testing.assert_close(
                one.to(other.dtype),
                other,
                rtol=0 if exact else rtol,
                atol=case.slack if exact else atol,
                equal_nan=True,
            )
        except AssertionError as error:
            return str(error)
    return ""


def verdict_of(error: BaseException) -> str:
    """Return what kind of failure an error is."""
    if isinstance(error, exc.Base):
        return "refused"
    text = f"{type(error).__name__}: {error}"
    return "resources" if lacking(text) else "failed"


def lacking(text: str) -> str:
    """Return the line of a report that says what the device has too little of."""
    lines = (line.strip() for line in text.splitlines())
    return next((n for n in lines if any(word in n for word in RESOURCES)), "")


def last_lines(error: BaseException) -> str:
    """Return what lacks, or the end of an error's report."""
    text = "".join(traceback.format_exception(error))
    return lacking(text) or text[-1500:]
