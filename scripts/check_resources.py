"""Hold the resource model to assembled kernels: all examples, three architectures.

Each example is bound with fake arguments and assembled under its default Config and
under a few steps away from it; what the model expects stands beside what came out. No
GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helion
from benchmarks import record, suite
from examples._catalog import CASES
from helion import exc
from helion._compiler.kernel_facts import KernelFacts
from helion._compiler.triton.assemble import Launch, capture_launches
from helion.autotuner.config_spec import ConfigSpec
from helion.autotuner.cost_model import resource_estimates
from helion.autotuner.device_facts import offline_facts
from helion.autotuner.resource_model import Resources, register_class
from test.harness import fake_cuda

ARCHES = ("sm_80", "sm_90", "sm_100")
# Shared memory is given out in units of 1 KiB, and each program takes one for itself.
TOLERANCE, UNIT = 0.05, 1024


@dataclass(frozen=True)
class Subject:
    """A kernel with arguments: an example, or a case of the GPU benchmarks."""

    name: str
    kernel: helion.Kernel
    args: Callable[[], tuple[Any, ...]]


def subjects(names: list[str], with_suite: bool) -> Iterator[Subject]:
    """Yield the examples, then the benchmark cases, or those that are named."""
    found = [
        Subject(c.name, c.kernel, lambda c=c: fake_cuda(c.make_args("cpu", True)))
        for c in CASES
    ]
    if with_suite:
        for name, case in suite.CASES.items():
            found.append(Subject(f"gpu:{name}", case.kernel, case.fake_args))
    yield from (s for s in found if not names or s.name in names)


def configs(spec: ConfigSpec, count: int, seed: int) -> list[helion.Config]:
    """Return the default Config and ``count`` others a few steps away from it."""
    rng, found = random.Random(seed), [spec.default_config()]
    while count > 0:
        count -= 1
        try:
            found.append(spec.normalize(_changed(found[0].to_dict(), spec, rng)))
        except exc.InvalidConfig:
            continue
    return list(dict.fromkeys(found))


def _changed(
    values: dict[str, Any], spec: ConfigSpec, rng: random.Random
) -> dict[str, Any]:
    blocks = [
        max(n * 2 // rng.choice((1, 2, 2, 4)), entry.min_size) if n > 1 else 1
        for n, entry in zip(values.get("block_sizes", []), spec.block_sizes)
    ]
    chunks = [rng.choice((n, 512, 1024)) for n in values.get("reduction_loops", [])]
    ranges = [rng.choice((0, 0, 2, 3)) for _ in values.get("range_num_stages", [])]
    changed = {
        "block_sizes": blocks,
        "reduction_loops": chunks,
        "num_warps": min(max(values["num_warps"] * 2 // rng.choice((1, 2, 4)), 1), 16),
        "num_stages": rng.randint(1, 5),
    }
    if rng.random() < 0.3:
        changed["range_num_stages"] = ranges
    return {**values, **{key: value for key, value in changed.items() if value != []}}


# ---- one kernel ----------------------------------------------------------------------


def assembled(launch: Launch, arch: str) -> dict[str, Any]:
    """Return what the assembler says of a launch, or why it refuses it."""
    try:
        kernel = launch.assemble(arch)
    except Exception as error:  # of Triton, which has no base class of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return {"name": launch.jit_fn.__name__, "error": lines[-1][:200]}
    return {
        "name": launch.jit_fn.__name__,
        "shared": kernel.shared_bytes,
        "registers": kernel.registers,
        "spills": kernel.spill_bytes,
    }


def measured(
    subject: Subject, archs: list[str], count: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield a line for each Config and architecture: what was assembled."""
    bound = subject.kernel.bind(subject.args())
    for place, config in enumerate(configs(bound.config_spec, count, seed)):
        launches = capture_launches(bound.compile_config(config), subject.args())
        for arch in archs:
            found = [assembled(launch, arch) for launch in launches]
            yield {
                "case": subject.name,
                "arch": arch,
                "is_default": place == 0,
                "config": config.to_dict(),
                "assembled": found,
            }


def compared(line: dict[str, Any], facts: KernelFacts) -> list[dict[str, Any]]:
    """Return what the model says of each launch of a line, beside what is."""
    config = dict(line["config"])
    if any(one["name"].endswith("_unaligned") for one in line["assembled"]):
        config["indexing"] = ["pointer"] * len(config.get("indexing", []))
    needs = resource_estimates(facts, offline_facts(line["arch"]), config)
    return [
        {**one, "model": need}
        for one, need in zip(line["assembled"], needs, strict=True)
        if "error" not in one
    ]


def is_close(one: dict[str, Any]) -> bool:
    """Whether shared memory is as the model says."""
    need: Resources = one["model"]
    return abs(need.shared_bytes - one["shared"]) <= max(
        TOLERANCE * one["shared"], UNIT
    )


def is_same_class(one: dict[str, Any]) -> bool:
    """Whether registers are of the class, and spilled, as the model says."""
    need: Resources = one["model"]
    spills = bool(one["spills"])
    return need.spills == spills and (
        spills or need.register_class == register_class(one["registers"])
    )


# ---- the command ---------------------------------------------------------------------


def lines_of(options: argparse.Namespace) -> Iterator[tuple[Subject, dict[str, Any]]]:
    """Yield what was recorded before, or what is assembled now."""
    chosen = list(subjects(options.cases, options.suite or bool(options.replay)))
    if options.replay:
        known = {subject.name: subject for subject in chosen}
        for text in Path(options.replay).read_text().splitlines():
            line = json.loads(text)
            if line["case"] in known and line["arch"] in options.archs:
                yield known[line["case"]], line
        return
    for subject in chosen:
        for line in measured(subject, options.archs, options.random, options.seed):
            yield subject, line


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compare everything; print what differs and return the summary."""
    facts: dict[str, KernelFacts] = {}
    counts = {"launches": 0, "shared": 0, "registers": 0, "defaults": 0, "close": 0}
    exceptions = []
    for subject, line in lines_of(options):
        if options.record:
            with Path(options.record).open("a") as out:
                out.write(json.dumps(line) + "\n")
        if subject.name not in facts:
            facts[subject.name] = subject.kernel.bind(subject.args()).facts
        for one in compared(line, facts[subject.name]):
            close = is_close(one)
            counts["launches"] += 1
            counts["shared"] += close
            counts["registers"] += is_same_class(one)
            counts["defaults"] += line["is_default"]
            counts["close"] += line["is_default"] and close
            if not close or (options.registers and not is_same_class(one)):
                exceptions.append(_exception(line, one))
                print(_text(exceptions[-1]), flush=True)
    return {**counts, "exceptions": exceptions}


def _exception(line: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    need: Resources = one["model"]
    keys = ("block_sizes", "reduction_loops", "num_warps", "num_stages")
    return {
        "case": line["case"],
        "arch": line["arch"],
        "is_default": line["is_default"],
        "config": {key: line["config"].get(key) for key in keys},
        "launch": one["name"],
        "shared": one["shared"],
        "model_shared": need.shared_bytes,
        "registers": one["registers"],
        "model_registers": need.registers,
        "spills": one["spills"],
        "model_spills": need.spills,
    }


def _text(item: dict[str, Any]) -> str:
    mark = "default" if item["is_default"] else "changed"
    return (
        f"{item['case']:28} {item['arch']:6} {mark} {item['config']} shared "
        f"{item['shared']} model {item['model_shared']} registers {item['registers']}"
        f"+{item['spills']} model {item['model_registers']} {item['model_spills']}"
    )


def main(arguments: Iterable[str] | None = None) -> int:
    """Parse the command line and run; 1 if a default is off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="examples, or gpu:<benchmark case>")
    parser.add_argument("--archs", nargs="+", default=list(ARCHES), choices=ARCHES)
    parser.add_argument(
        "--random", type=int, default=0, help="Configs near the default"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--suite", action="store_true", help="benchmark cases too")
    parser.add_argument("--registers", action="store_true", help="list those too")
    parser.add_argument("--record", help="append what was assembled to this file")
    parser.add_argument("--replay", help="compare with what this file has")
    parser.add_argument("--write", action="store_true", help="write the result file")
    options = parser.parse_args(None if arguments is None else list(arguments))
    summary = run(options)
    if options.write:
        found = {**record.circumstances(), "archs": options.archs, **summary}
        record.write("resources", found)
    print({key: value for key, value in summary.items() if key != "exceptions"})
    return int(summary["close"] < summary["defaults"])


if __name__ == "__main__":
    sys.exit(main())
