"""Holds generated folds to float64, under Configs drawn for them."""

from __future__ import annotations

import random
from typing import Any

import torch

import helion
from helion import exc
from test.emitted_checks import problems
from test.fold_generator import generate
from test.harness import copy_to, fake_cuda, map_tensors, poisoned, to_float64

CONFIGS = 3
LONG = 70001


def configs_of(
    bound: Any, rng: random.Random, count: int = CONFIGS
) -> list[helion.Config]:
    """Return the default Config and some with chunks and splits of all sizes."""
    spec = bound.config_spec
    found = [spec.default_config()]
    for _ in range(count):
        values = dict(spec.random_config(rng))
        chunks = [_chunk(entry, rng) for entry in spec.reduction_loops]
        splits = [rng.choice([1, 1, 2, 4, 16]) for _ in spec.split_reductions]
        if rng.random() < 0.8 and chunks:
            values.update(reduction_loops=chunks)
            if splits:
                values.update(reduction_splits=splits)
        try:
            found.append(spec.normalize(values))
        except exc.InvalidConfig:
            values = dict(spec.random_config(rng))
            found.append(spec.normalize(values))
    return found


def _chunk(entry: Any, rng: random.Random) -> int | None:
    size = entry.size_hint
    choices = [c for c in (2, 4, 8, 16, 64, 128) if size // 20 <= c < 2 * size]
    return rng.choice([None, *choices, *choices])


def failure(seed: int) -> str | None:
    """Return what is wrong with the kernel of a seed, None if nothing is."""
    kernel, args, writer = generate(seed)
    if not _has_result(kernel.fn, args):
        return None
    bound = kernel.bind(args)
    configs = configs_of(bound, random.Random(seed))
    for config in configs:
        if text := _wrong(bound, config, args, writer):
            return f"{text} {config}"
    others = writer.arguments()
    # Code for symbolic sizes has to be right for other sizes too.
    if _has_result(kernel.fn, others) and kernel.bind(others) is bound:
        if text := _wrong(bound, configs[-1], others, writer):
            return f"{text} {configs[-1]} for {[t.shape for t in others]}"
    return None


def _has_result(fn: Any, args: Any) -> bool:
    """Whether torch can do it: there is no extremum of nothing."""
    try:
        _call(fn, args)
    except (IndexError, RuntimeError):
        return False
    return True


def _wrong(bound: Any, config: helion.Config, args: Any, writer: Any) -> str | None:
    run = bound.compile_config(config)
    found, again = _call(run, args), _call(run, args)
    if not all(map(_same_bits, found, again)):
        return "BITS"
    wanted = _call(bound.kernel.fn, map_tensors(to_float64, args))
    return _difference(found, _call(bound.kernel.fn, args), wanted, writer)


def _call(fn: Any, args: Any) -> list[torch.Tensor]:
    """Return the results, then the arguments as they are after the call."""
    mine = map_tensors(lambda t: copy_to(t, "cpu"), tuple(args))
    with poisoned():
        return [*fn(*mine), *mine]


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(torch.nan_to_num(first), torch.nan_to_num(second)) and bool(
        (first.isnan() == second.isnan()).all()
    )


def _difference(found: Any, usual: Any, wanted: Any, writer: Any) -> str | None:
    """Compare; the function as Python tells how far rounding may lead."""
    is_half = "float16" in writer.text or writer.dtype.itemsize == 2
    rtol = 2e-2 if is_half else 1e-4
    for index, (mine, eager, right) in enumerate(zip(found, usual, wanted)):
        if not mine.dtype.is_floating_point:
            if not torch.equal(mine, eager):
                return f"VALUE result {index}: {_where(mine != eager, mine, eager)}"
            continue
        mine, eager, right = mine.double(), eager.double(), right.double()
        stable = (eager.isnan() == right.isnan()) & (eager.isinf() == right.isinf())
        stable &= ~eager.isinf() | (eager == right)
        finite = stable & right.isfinite()
        noise = (eager - right)[finite].abs().max() if finite.any() else 0.0
        limit = 30 * noise + rtol * (1 + right.abs())
        limit = torch.where(right.isfinite(), limit, 0.0)
        same = (mine == right) | (mine.isnan() & right.isnan())
        wrong = stable & ~same & ~((mine - right).abs() <= limit)
        if wrong.any():
            return f"VALUE result {index}: {_where(wrong, mine, right)}"
    return None


def _where(wrong: torch.Tensor, mine: torch.Tensor, right: torch.Tensor) -> str:
    at = tuple(wrong.nonzero()[0].tolist())
    return f"{int(wrong.sum())} wrong, at {at} {mine[at]} not {right[at]}"


# -- the text alone --------------------------------------------------------------------


def unsound(seed: int, count: int, cap: int = 4096) -> list[str]:
    """Return what is wrong with texts for a seed on long axes, under a low cap."""
    kernel, args, writer = generate(seed, longest=LONG, max_triton_tensor_numel=cap)
    bound = kernel.bind(fake_cuda(args))
    rng = random.Random(seed)
    try:
        configs = configs_of(bound, rng, count)
    except exc.HelionReductionTooLarge as error:
        # A row that enters a branch or a loop is needed whole.
        enters = "    for i" in writer.text or "    if " in writer.text
        return [] if enters else [str(error)]
    codes = {str(c): bound.to_triton_code(c) for c in configs}
    return [f"{p} {c}" for c, code in codes.items() for p in problems(code, cap)]
