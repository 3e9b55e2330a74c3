"""torch's random functions: the same numbers in every way and for all block sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import helion
from helion.language.random_ops import draw_seed, philox, uniform
from test import random_kernels as kernels
from test.harness import WAYS, offline
from test.interpreter_worker import call

SHAPE = (13, 21)
CONFIGS = [[16, 32], [8, 8], [4, 1]]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def seeded(seed: int, way: str, kernel: Any, args: tuple[Any, ...], config: Any) -> Any:
    """Seed torch's generator, then run a kernel in one way in this process."""
    torch.manual_seed(seed)
    return WAYS[way](kernel, args, config, frozenset())


def run(kernel: Any, *args: Any, way: str, seed: int = 3, sizes: Any = None) -> Any:
    """Run a kernel after seeding the generator, wherever it runs."""
    config = None if sizes is None else helion.Config(block_sizes=sizes)
    if way != "interpreted":
        return seeded(seed, way, kernel, args, config)
    return call(_emitted, (seed, kernel, args, config))[0]


def _emitted(seed: int, kernel: Any, args: tuple[Any, ...], config: Any) -> Any:
    from test.harness import run_emitted

    torch.manual_seed(seed)
    return run_emitted(kernel, args, config, frozenset())


def seeds(seed: int, count: int) -> list[int]:
    """Return the seeds that a launch with ``count`` random calls draws."""
    torch.manual_seed(seed)
    return [draw_seed() for _ in range(count)]


def uniforms(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Return what a call with a seed gives, by the reference."""
    positions = torch.arange(int(torch.tensor(shape).prod()))
    return uniform(philox(seed, positions)[0]).view(shape)


def normals(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """Return the Box-Muller transform of the first two words, in float64."""
    positions = torch.arange(int(torch.tensor(shape).prod()))
    first, second = (uniform(word).double() for word in philox(seed, positions)[:2])
    radius = (-2 * first.clamp(min=1e-7).log()).sqrt()
    return (radius * (2 * torch.pi * second).cos()).view(shape)


@pytest.mark.parametrize("sizes", CONFIGS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rand_and_randn(way: str, dtype: torch.dtype, sizes: list[int]) -> None:
    if dtype not in DTYPES[:2] and sizes != CONFIGS[0]:
        pytest.skip("one Config is enough for each of the other dtypes")
    found = run(kernels.noises, torch.ones(SHAPE, dtype=dtype), way=way, sizes=sizes)
    first, second, third, fourth = seeds(3, 4)
    largest = 1 - torch.finfo(dtype).eps / 2
    for seed, values in zip((first, third, fourth), (found[0], *found[2:])):
        wanted = uniforms(seed)
        if dtype.itemsize == 2:
            wanted = wanted.clamp(max=largest)
        assert torch.equal(values, wanted.to(dtype))
        assert values.max() < 1
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if dtype.itemsize == 2 else {}
    loose = {"rtol": 1e-4, "atol": 2e-5}
    wanted = normals(second).to(dtype)
    torch.testing.assert_close(found[1], wanted, **(tolerance or loose))


@pytest.mark.parametrize("sizes", CONFIGS, ids=str)
def test_dropout(way: str, sizes: list[int]) -> None:
    x = torch.randn(SHAPE)
    config = [*sizes, sizes[0]]
    out, rows = run(kernels.dropped, x, 0.25, way=way, sizes=config)
    for seed, found in zip(seeds(3, 2), (out, rows)):
        keep = uniforms(seed) >= 0.25
        torch.testing.assert_close(found, torch.where(keep, x / 0.75, 0.0))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_all(way: str, p: float) -> None:
    x = torch.randn(SHAPE)
    out, _ = run(kernels.dropped, x, p, way=way)
    assert torch.equal(out, x * (1 - p))


@pytest.mark.parametrize("sizes", CONFIGS[:2], ids=str)
def test_coins_and_integers(way: str, sizes: list[int]) -> None:
    chances = torch.rand(SHAPE)
    coins, ints = run(kernels.draws, chances, -5, 2**40, way=way, sizes=sizes)
    found = seeds(3, 5)
    assert torch.equal(coins[0], uniforms(found[0]) < chances)
    assert torch.equal(coins[1], uniforms(found[1]) < 0.25)
    for seed, values, low, high in zip(
        found[2:], ints, (-3, -5, 0), (5, 2**40, 7), strict=True
    ):
        words = philox(seed, torch.arange(SHAPE[0] * SHAPE[1]))
        bits = (words[1] % 2**31) * 2**32 + words[0]
        assert torch.equal(values, (bits % (high - low) + low).view(SHAPE))


@pytest.mark.parametrize("sizes", CONFIGS[:2], ids=str)
def test_methods_that_fill(way: str, sizes: list[int]) -> None:
    x = torch.randn(SHAPE)
    found = run(kernels.filled, x, way=way, sizes=sizes)
    a, b, c, d, e = seeds(3, 5)
    wanted = [
        uniforms(a) * 4 - 1,
        normals(b).float() * 0.5 + 2,
        (uniforms(c) < 0.5).float(),
        -torch.log1p(-uniforms(d).double()).float() / 2,
        normals(e).float() * 0.5 + x,
    ]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("sizes", CONFIGS[:2], ids=str)
def test_each_call_of_a_helper_has_seeds_of_its_own(way: str, sizes: list[int]) -> None:
    first, second = run(kernels.helped, torch.ones(SHAPE), way=way, sizes=sizes)
    a, b, c, d = seeds(3, 4)
    # A GPU rounds the scaling of a number and the sum once.
    torch.testing.assert_close(first, uniforms(a) + uniforms(b), rtol=0, atol=1e-6)
    torch.testing.assert_close(second, uniforms(c) + uniforms(d), rtol=0, atol=1e-6)


def test_turns_of_a_loop_share_the_seed(way: str) -> None:
    found = run(kernels.repeated, torch.ones(9), way=way)
    wanted = uniforms(seeds(3, 1)[0], (9,))
    assert torch.equal(found, wanted.expand(3, 9))


def test_permutation(way: str) -> None:
    found = run(kernels.shuffled, torch.ones(3, 11), way=way)
    order = uniforms(seeds(3, 1)[0], (11,)).argsort(stable=True)
    assert torch.equal(found, order.expand(3, 11))


@pytest.mark.parametrize("chunk", [None, 8])
def test_noise_along_a_row_in_chunks(way: str, chunk: int | None) -> None:
    x = torch.randn(5, 37)
    config = helion.Config(block_sizes=[4], reduction_loops=[chunk])
    if way == "interpreted":
        found = call(_emitted, (3, kernels.noise_sums, (x,), config))[0]
    else:
        found = seeded(3, way, kernels.noise_sums, (x,), config)
    wanted = (x.double() + normals(seeds(3, 1)[0], (5, 37))).sum(1).float()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_launch_draws_anew(way: str) -> None:
    x = torch.ones(9)
    runs = [run(kernels.repeated, x, way=way, seed=seed)[0] for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


# ---- without a way ----


def moments(values: torch.Tensor) -> tuple[float, float]:
    return values.double().mean().item(), values.double().var().item()


def test_the_numbers_look_random() -> None:
    x = torch.empty(100, 200)
    uniform_, normal, again, _ = run(kernels.noises, x, way="plain")
    assert moments(uniform_) == pytest.approx((1 / 2, 1 / 12), abs=1e-2)
    assert moments(normal) == pytest.approx((0, 1), abs=5e-2)
    both = torch.stack([uniform_.flatten(), again.flatten()])
    assert torch.corrcoef(both)[0, 1].abs() < 5e-2


def test_other_kernels_draw_nothing() -> None:
    from test.scan_kernels import random_like

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    random_like.fn(torch.empty(4, 4), 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    text = random_like.bind((torch.empty(4, 4), 3)).to_triton_code()
    assert "_draw_seed" not in text


@pytest.mark.parametrize("arch", ["sm_90", "sm_100", "gfx942"])
def test_random_calls_assemble(arch: str) -> None:
    config = helion.Config(block_sizes=[8, 16])
    x = torch.empty(SHAPE, dtype=torch.bfloat16)
    offline(kernels.noises, x, arch=arch, config=config)
    offline(kernels.draws, torch.empty(SHAPE), -5, 2**40, arch=arch, config=config)


Refusal = Callable[[torch.Tensor], torch.Tensor]
REFUSED: dict[str, tuple[Refusal, str]] = {
    "generator": (
        lambda v: torch.rand_like(v, generator=torch.Generator()),
        "generator",
    ),
    "integers": (lambda v: torch.rand_like(v, dtype=torch.int32), "torch.int32"),
    "range": (lambda v: torch.randint_like(v, 4, 4), "low < high"),
    "probability": (lambda v: torch.dropout(v, 1.5, True), "from 0 to 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    function, message = REFUSED[name]
    args = (torch.empty(4), function)
    for call_it in (lambda: kernels.applied.fn(*args), lambda: bind(args)):
        with pytest.raises(helion.exc.InvalidAPIUsage, match=message):
            call_it()


def bind(args: tuple[Any, ...]) -> object:
    return kernels.applied.bind(args)
