"""Holds random small programs to the promise of the compiler.

A program fails with a typed error that names a line of it, or it compiles, always to
the same text, and computes what the function computes as plain Python:
``python -m test.program_fuzz --count 2000 --seed 0``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import importlib
import math
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import helion
from helion import exc
from helion.language._eager import eager_block_sizes
from test import interpreter_worker
from test.harness import copy_to, fake_cuda, map_tensors, poisoned, to_float64
from test.program_generator import generate
from test.program_mutator import mutate
from test.program_text import Node, Program, quiet

# Errors that say that the compiler, not the program, is at a loss.
LOST = (exc.InternalError, exc.InductorLoweringError)
HALF = (torch.float16, torch.bfloat16)
RUN_SHARE = 0.2
TILES = 24
LIMIT_S = 20.0


@dataclass(frozen=True)
class Finding:
    """What is wrong with a program: ``kind`` is the promise that it breaks."""

    kind: str
    text: str

    @property
    def key(self) -> str:
        """What a smaller program must share to show the same fault."""
        first = (self.text.strip().splitlines() or [""])[0]
        first = re.sub(r"Tensor\[[^]]*\]|\[[^]]*\]", "[]", first)
        first = re.sub(r"['\"][^'\"]*['\"]", "''", first)
        return f"{self.kind}: {re.sub(r'[a-z]*[0-9.]+', '#', first)[:70]}"


@dataclass(frozen=True)
class Outcome:
    """How a program fared: compiled, refused (by which class), or at fault."""

    finding: Finding | None = None
    refused: str = ""


# -- one program -----------------------------------------------------------------------


def examine(program: Program, run: bool, assemble: bool = False) -> Outcome:
    """Compile a program, and run it where ``run`` says; for either process.

    Assembling takes a second or two: it shows what the interpreter lets pass.
    """
    try:
        with quiet(), limited(LIMIT_S * (9 if assemble else 1)):
            kernel = program.kernel()
            args = program.arguments()
            try:
                bound = kernel.bind(args if run else fake_cuda(args))
            except Exception as error:
                return _judge(program, error)
            return Outcome(_emitted(program, bound, run, assemble))
    except OutOfTime as error:
        frames = traceback.extract_tb(error.__traceback__)
        if any(frame.name == _plain.__name__ for frame in frames):
            return Outcome(refused="endless in Python, too")
        return Outcome(Finding("HANG", _tail(error)))


class OutOfTime(BaseException):
    """No exception of a program, so that nothing on the way handles it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so many seconds of computing."""

    def stop(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _judge(program: Program, error: Exception) -> Outcome:
    """Whether an error is one that a user can act on."""
    name = type(error).__name__
    if not isinstance(error, exc.Base):
        if _plain(program, None)[1] is not None:
            return Outcome(refused=f"Python's {name}")
        return Outcome(Finding("UNTYPED", f"{name}: {error}\n{_tail(error)}"))
    if isinstance(error, LOST):
        return Outcome(Finding(name, f"{error.message}\n{_tail(error)}"))
    if error.location is None and not error.errors:
        return Outcome(Finding("NO LINE", f"{name}: {error}"))
    if isinstance(error, exc.TorchOpTracingError) and not program.is_wrong:
        # Loops without turns hide from Python what torch refuses.
        if program.has_elements and _plain(program, None)[1] is None:
            return Outcome(Finding(name, f"{error.message}\n{_tail(error)}"))
    return Outcome(refused=f"{name}: {error.message.splitlines()[0]}")


def _emitted(program: Program, bound: Any, run: bool, assemble: bool) -> Finding | None:
    config = None
    try:
        for config in _configs(program, bound.config_spec, run):
            found = _emitted_as(program, bound, config, run)
            if found is None and assemble and not run:
                found = _assembled(program, bound, config)
            if found is not None:
                return found
    except Exception as error:
        # Only a wrong program can have no legal Config, or one too many.
        is_typed = isinstance(error, exc.Base) and not isinstance(error, LOST)
        if program.is_wrong and is_typed:
            return None
        name = type(error).__name__
        return Finding(f"EMIT {name}", f"{error}\n{config}\n{_tail(error)}")
    return None


def _configs(program: Program, spec: Any, run: bool) -> list[helion.Config]:
    """Return the default Config, a random one, or both."""
    configs = [spec.default_config(), spec.random_config(random.Random(program.seed))]
    if run:
        return [_with_few_tiles(spec, configs[program.seed % 4 > 0])]
    return configs[: 1 + (program.seed % 2 == 0)]


def _emitted_as(
    program: Program, bound: Any, config: helion.Config, run: bool
) -> Finding | None:
    text = bound.to_triton_code(config)
    if program.seed % 4 == 0 and _again(program, run, config) != text:
        return Finding("TEXT", f"two texts for {config}")
    if run and (found := _ran(program, bound, config)):
        return Finding(found.kind, f"{found.text}\n{config}")
    return None


def _with_few_tiles(spec: Any, config: helion.Config) -> helion.Config:
    """Return a Config with larger tiles: the interpreter runs them one by one."""
    blocks = list(config.to_dict().get("block_sizes", []))
    hints = [max(block.size_hint, 1) for block in spec.block_sizes]
    counts = [-(-hint // block) for hint, block in zip(hints, blocks)]
    while math.prod(counts) > TILES:
        most = counts.index(max(counts))
        blocks[most] *= 2
        counts[most] = -(-hints[most] // blocks[most])
    try:
        return spec.normalize({**config.to_dict(), "block_sizes": blocks})
    except exc.InvalidConfig:
        return spec.default_config()


def _assembled(program: Program, bound: Any, config: helion.Config) -> Finding | None:
    """Let Triton compile what is launched."""
    from helion._compiler.triton.assemble import capture_launches

    fakes = fake_cuda(program.arguments())
    try:
        for launch in capture_launches(bound.compile_config(config), fakes):
            launch.assemble("sm_90")
    except Exception as error:
        return Finding("ASSEMBLE", f"{_last_line(error)}\n{error}\n{config}")
    return None


def _again(program: Program, run: bool, config: helion.Config) -> str:
    """Return the text that a new kernel of the same program gives."""
    args = program.arguments()
    bound = program.kernel().bind(args if run else fake_cuda(args))
    return bound.to_triton_code(config)


def _ran(program: Program, bound: Any, config: helion.Config) -> Finding | None:
    wanted, failure = _plain(program, config)
    if failure is not None and program.is_wrong:
        return None
    torch.manual_seed(0)
    mine = _copies(program.arguments())
    try:
        with poisoned():
            found = bound.compile_config(config)(*mine)
    except Exception as error:
        if failure is not None:
            return None
        return Finding("RUN", f"{_last_line(error)}\n{_tail(error, 12)}")
    if failure is not None:
        return Finding(
            "EAGER", f"{type(failure).__name__}: {failure}\n{_tail(failure)}"
        )
    wide, _ = _plain(program, config, to_float64)
    return _difference(found, wanted, wide, program)


def _plain(
    program: Program,
    config: helion.Config | None,
    change: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
) -> tuple[list[torch.Tensor], Exception | None]:
    """Call the function as Python, with the tile sizes of a Config."""
    given = {} if config is None else config.to_dict()
    sizes = given.get("block_sizes", [])
    torch.manual_seed(0)
    try:
        args = map_tensors(change, _copies(program.arguments()))
        with quiet(), poisoned(), eager_block_sizes(sizes, given):
            return program.kernel().fn(*args), None
    except Exception as error:
        return [], error


def _copies(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return map_tensors(lambda tensor: copy_to(tensor, "cpu"), args)


def _difference(found: Any, wanted: Any, wide: Any, program: Program) -> Finding | None:
    """Compare; where float64 arguments change much, rounding decides the result."""
    if len(found) != len(wanted):
        return Finding("VALUE", f"{len(found)} results, not {len(wanted)}")
    text = program.source()
    half = any(
        t.dtype in HALF for t in program.arguments() if isinstance(t, torch.Tensor)
    )
    rtol = 3e-2 if half or "float16" in text or "bfloat16" in text else 1e-4
    for index, (mine, right) in enumerate(zip(found, wanted)):
        if mine.shape != right.shape or mine.dtype != right.dtype:
            return Finding("VALUE", f"result {index}: {mine.dtype} {list(mine.shape)}")
        mine, right = mine.double(), right.double()
        limit = rtol * (1 + right.abs())
        if len(wide) == len(wanted):
            limit = limit + 30 * (wide[index].double() - right).abs()
        same = (mine == right) | (mine.isnan() & right.isnan())
        wrong = ~same & ~((mine - right).abs() <= limit) & ~limit.isnan()
        wrong |= mine.isnan() != right.isnan()
        if wrong.any():
            at = tuple(wrong.nonzero()[0].tolist())
            count = f"{int(wrong.sum())} of {wrong.numel()} wrong"
            where = f"at {list(at)} {mine[at]} not {right[at]}"
            return Finding("VALUE", f"result {index}: {count}, {where}")
    return None


def _tail(error: BaseException, count: int = 4) -> str:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    frames = traceback.extract_tb(cause.__traceback__)[-count:]
    return "\n".join(f"  {f.filename}:{f.lineno} {f.name}: {f.line}" for f in frames)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


# -- smaller programs ------------------------------------------------------------------


def smaller(program: Program) -> Iterator[Program]:
    """Yield copies with one statement less, or with a block in place of its head."""
    places = list(enumerate(_sizes(program.body)))
    for place, size in sorted(places, key=lambda pair: -pair[1]):
        for unwrap in (False, True)[: 1 + (size > 1)]:
            other = copy.copy(program)
            other.body = copy.deepcopy(program.body)
            if _drop(other.body, place, unwrap):
                yield other
    for name in program.outs:
        other = copy.copy(program)
        other.outs = {k: v for k, v in program.outs.items() if k != name}
        yield other


def _sizes(body: Sequence[Node]) -> list[int]:
    """Return how many statements each statement has, in the order of the text."""
    found: list[int] = []
    for node in body:
        inner = _sizes(node.body) + _sizes(node.orelse)
        found += [1 + len(inner), *inner]
    return found


def _drop(body: list[Node], place: int, unwrap: bool) -> bool:
    for index, node in enumerate(body):
        if place == 0:
            if unwrap and not node.body:
                return False
            body[index : index + 1] = node.body if unwrap else []
            return True
        place -= 1
        for inner in (node.body, node.orelse):
            size = len(_sizes(inner))
            if place < size:
                return _drop(inner, place, unwrap)
            place -= size
    return False


def shrink(program: Program, finding: Finding, run: bool, limit: int) -> Program:
    """Drop statements as long as the same fault shows."""
    tries = 0
    is_done = False
    while not is_done:
        is_done = True
        for other in smaller(program):
            tries += 1
            if tries > limit:
                return program
            found = check(other, run).finding
            if found is not None and found.key == finding.key:
                program, is_done = other, False
                break
    return program


# -- many programs ---------------------------------------------------------------------


def program_of(seed: int) -> Program:
    """Return the program of a seed; a part of them is made wrong on purpose."""
    program = generate(seed)
    return mutate(program, random.Random(seed)) if seed % 3 == 0 else program


def is_run(seed: int) -> bool:
    """Whether the program of a seed is run, in Triton's interpreter."""
    return random.Random(~seed).random() < RUN_SHARE


def check(program: Program, run: bool, assemble: bool = False) -> Outcome:
    """Examine a program, in the interpreter's process if it is run."""
    if not run:
        return examine(program, run, assemble)
    try:
        return interpreter_worker.call(examine, (program, run))[0]
    except (interpreter_worker.InterpretedError, TimeoutError) as error:
        interpreter_worker.stop()
        return Outcome(Finding("WORKER", str(error)))


def check_seed(seed: int, assemble: bool = False) -> Outcome:
    """Examine the program of a seed."""
    return check(program_of(seed), is_run(seed) and not assemble, assemble)


def report(seed: int, finding: Finding, tries: int = 60) -> str:
    """Return the finding with the smallest program that shows it."""
    program, run = program_of(seed), is_run(seed)
    last = finding
    if tries:
        program = shrink(program, finding, run, tries)
        last = check(program, run).finding or finding
    args = [f"{k}={_summary(v)}" for k, v in program.params.items()]
    static = f"static_shapes={program.is_static}"
    head = f"seed {seed} {last.kind} ({static}, {'; '.join(args)})"
    return f"{head}\n{program.source()}{last.text}\n"


def _summary(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return "..." if isinstance(value, (list, dict)) else repr(value)
    return f"{value.dtype} {list(value.shape)} {list(value.stride())}"


def main(argv: Sequence[str] | None = None) -> int:
    """Check the programs of many seeds; return 1 if one broke the promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refused", action="store_true", help="count the refusals")
    parser.add_argument("--assemble", action="store_true", help="and run nothing")
    parser.add_argument("--tries", type=int, default=60, help="to shrink a program")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop then")
    parser.add_argument("--each", type=int, default=1, help="reports of one kind")
    options = parser.parse_args(argv)
    refused: collections.Counter[str] = collections.Counter()
    seen: collections.Counter[str] = collections.Counter()
    end, done = time.monotonic() + options.seconds, 0
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() > end:
            break
        done += 1
        outcome = check_seed(seed, options.assemble)
        if outcome.refused:
            kind = "wrong" if program_of(seed).is_wrong else "right"
            refused[f"{kind} {Finding('', outcome.refused).key}"] += 1
        if outcome.finding is None:
            continue
        seen[outcome.finding.key] += 1
        if seen[outcome.finding.key] <= options.each:
            print(report(seed, outcome.finding, options.tries), flush=True)
    if options.refused:
        for key, count in refused.most_common():
            print(f"{count:6d} {key}")
    for key, count in seen.most_common():
        print(f"{count:6d} {key}")
    share = sum(refused.values()) / max(done, 1)
    print(f"{done} programs, {share:.0%} refused, {sum(seen.values())} faults")
    return 1 if seen else 0


if __name__ == "__main__":
    # Under its own name, so that the interpreter's process finds what is sent to it.
    sys.exit(importlib.import_module("test.program_fuzz").main())
