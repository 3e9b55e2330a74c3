"""Orders candidate Configs by what the cost model expects, and picks a default."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from helion import exc
from helion._logging import log
from helion.autotuner.cost_model import Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from helion._compiler.kernel_facts import KernelFacts
    from helion.autotuner.config_spec import ConfigSpec
    from helion.autotuner.device_facts import DeviceFacts
    from helion.runtime.config import Config

# A rival of the pick has to be this much faster in the model, which is off by 10 to
# 20 % where it is good: a tie keeps the pick.
MARGIN = 0.7
LEAST_GAIN_US = 3.0
# The margin where lengths are guessed, or sides of products are computed: on an H200
# times of quantized weights and of jagged attention came out 2 to 6 times as long.
DOUBTFUL_MARGIN = 0.4

Ranked = list[tuple["Config", Estimate]]


def rank(
    facts: KernelFacts, device: DeviceFacts, candidates: Iterable[Config]
) -> Ranked:
    """Return the Configs with their estimates: legal before illegal, fastest first.

    Equal ones keep their order.
    """
    found = [(config, estimate(facts, device, config)) for config in candidates]
    return sorted(found, key=lambda item: (not item[1].legal, item[1].time_us))


def best_config(
    facts: KernelFacts,
    device: DeviceFacts,
    spec: ConfigSpec,
    pick: Config,
    proposals: Iterable[Mapping[str, Any]] = (),
) -> Config:
    """Return ``pick``, or what is clearly better or, unlike the pick, can be launched.

    Rivals are ``proposals`` (changes to the pick), then the neighbours of the pick.
    The same arguments give the same answer, within 50 ms on one core.
    """
    own = estimate(facts, device, pick)
    best, legal = pick, own.legal
    margin = DOUBTFUL_MARGIN if _is_doubtful(facts) else MARGIN
    least = min(own.time_us * margin, own.time_us - LEAST_GAIN_US)
    if not legal:
        least = float("inf")
    elif facts.unknown:
        return pick  # times leave out what is not counted
    for count, rival in enumerate(_rivals(spec, pick, proposals)):
        found = estimate(facts, device, rival)
        if found.legal and not found.spills and found.time_us < least:
            best, least, legal = rival, found.time_us, True
        if count >= MOST_RIVALS and legal:
            break
    return best if legal else _shrunk(facts, device, spec, pick)


def _is_doubtful(facts: KernelFacts) -> bool:
    """Whether times hang on what the facts only guess."""
    if any(axis.dealt_by for axis in facts.axes):
        return True
    products = [p for launch in facts.launches(()) for p in launch.products()]
    return any(p.right.load is None and not p.right.is_carried_in for p in products)


# The number, not the clock, ends the search, so that it is the same each time.
MOST_RIVALS = 40


def _rivals(
    spec: ConfigSpec, pick: Config, proposals: Iterable[Mapping[str, Any]]
) -> Iterator[Config]:
    seen = {pick}
    for changes in [*proposals, *_neighbours(pick)]:
        with contextlib.suppress(exc.InvalidConfig):
            rival = spec.normalize({**pick.to_dict(), **changes})
            if rival not in seen:
                seen.add(rival)
                yield rival


def _neighbours(pick: Config) -> Iterator[dict[str, Any]]:
    """Yield what a step changes: pipelining, warps, one block."""
    stages, warps = pick.get("num_stages", 1), pick.get("num_warps", 4)
    for value in (stages - 1, stages + 1):
        if 1 <= value <= 6:
            yield {"num_stages": value}
    for value in (warps // 2, warps * 2):
        if 1 <= value <= 32:
            yield {"num_warps": value}
    blocks = pick.get("block_sizes", [])
    for place, size in enumerate(blocks):
        for value in (size // 2, size * 2):
            if value >= 1:
                yield {"block_sizes": [*blocks[:place], value, *blocks[place + 1 :]]}


def _shrunk(
    facts: KernelFacts, device: DeviceFacts, spec: ConfigSpec, pick: Config
) -> Config:
    """Return a Config like the pick that needs less, until it can be launched.

    Fewer stages first, then smaller blocks; the pick, if nothing helps.
    """
    current = pick
    for _ in range(40):
        values = current.to_dict()
        for changes in _smaller(spec, values):
            with contextlib.suppress(exc.InvalidConfig):
                current = spec.normalize({**values, **changes})
                break
        else:
            return pick
        if estimate(facts, device, current).legal:
            return current
    return pick


def _smaller(spec: ConfigSpec, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield steps to a Config that needs less shared memory, the mildest first."""
    if values.get("num_stages", 1) > 2:
        yield {"num_stages": values["num_stages"] - 1}
    blocks = values.get("block_sizes", [])
    order = sorted(range(len(blocks)), key=lambda i: -blocks[i])
    for place in order:
        if blocks[place] > max(spec.block_sizes[place].min_size, 16):
            halved = [n // 2 if i == place else n for i, n in enumerate(blocks)]
            yield {"block_sizes": halved}
    if values.get("num_stages", 1) > 1:
        yield {"num_stages": values["num_stages"] - 1}
    chunks = values.get("reduction_loops", [])
    for place, chunk in enumerate(chunks):
        padded = spec.reduction_loops[place].padded
        if (chunk or padded) > 16:
            smaller = [
                (chunk or padded) // 2 if i == place else n
                for i, n in enumerate(chunks)
            ]
            yield {"reduction_loops": smaller}


def choose_default(
    facts: KernelFacts, device: DeviceFacts, spec: ConfigSpec, pick: Config
) -> Config:
    """Return the default of a kernel, given the pick by its class.

    An error here would be one in every first call: the pick stands instead.
    """
    try:
        return best_config(facts, device, spec, pick, spec.proposals)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        log.warning("the cost model failed for %s", facts.name, exc_info=True)
        return pick
