"""Random numbers that depend on seed and position only: hl.rand and its kin."""

from __future__ import annotations

import operator

import torch
from torch.utils._python_dispatch import _disable_current_modes

from .. import exc
from . import _decorators
from ._eager import kernel_device
from .creation_ops import Shape, Size, shape_list
from .tile import EagerTile

Seed = int | torch.Tensor
Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF
UNIFORM_SCALE = 4.6566127342e-10  # just below 2**-31, so that the result is below 1


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def rand(
    shape: Shape,
    seed: Seed,
    device: torch.device | None = None,
    offsets: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return float32 numbers, uniform in [0, 1).

    The number at a position depends on the seed and on that position in the whole
    iteration range, so block sizes do not change it. A tile counts with its loop's
    range, any other size with itself; loops around the call whose tiles are not in the
    shape do not matter, so that each turn of them gives the same numbers.

    torch's own random functions (``torch.rand_like``, ``F.dropout``...) follow the same
    rule, with a seed for each call in the text. The seeds are drawn at every launch
    from torch's global generator of the CPU.

    Args:
        shape: a list of ints and tiles, or one of them.
        seed: an int or a 0-d integer tensor, used as 64 bits.
        device: the kernel's device, also if None.
        offsets: counters that replace the positions; the result has their shape.
    """
    if offsets is None:
        offsets = linear_positions(shape, device)
    return uniform(philox(seed, offsets)[0])


@_decorators.api(is_device_only=True)
def rand4x(
    seed: Seed, offsets: torch.Tensor, device: torch.device | None = None
) -> Words:
    """Return four float32 tensors, uniform in [0, 1), from one counter per element.

    Args:
        seed: an int or a 0-d integer tensor, used as 64 bits.
        offsets: integer counters; the results have their shape.
        device: the kernel's device, also if None.
    """
    first, second, third, fourth = philox(seed, offsets)
    return uniform(first), uniform(second), uniform(third), uniform(fourth)


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def randint(
    shape: Shape, low: int, high: int, seed: Seed, device: torch.device | None = None
) -> torch.Tensor:
    """Return int32 numbers from ``low`` up to but not including ``high``.

    Args:
        shape: a list of ints and tiles, or one of them.
        low: the smallest number.
        high: one past the largest number.
        seed: an int or a 0-d integer tensor, used as 64 bits.
        device: the kernel's device, also if None.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """
    check_bounds(low, high)
    word = philox(seed, linear_positions(shape, device))[0]
    return (low + _signed(word).abs() % (high - low)).to(torch.int32)


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def positions(shape: Shape) -> torch.Tensor:
    """Return the row-major position of each element in the whole iteration range."""
    return linear_positions(shape, None)


@_decorators.api(is_device_only=True)
def random_words(
    seed: Seed, offsets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first two random words at each counter, as int64 in [0, 2**32)."""
    first, second, _, _ = philox(seed, offsets)
    return first, second


def draw_seed() -> int:
    """Return a seed for one launch from torch's global generator of the CPU.

    It is odd, and so is never divisible by 16: one compiled kernel serves all seeds.
    """
    # Without the modes of fake tensors, which know no numbers.
    with _disable_current_modes():
        seed = torch.randint(-(2**63), 2**63 - 1, (), dtype=torch.int64, device="cpu")
        return int(seed) | 1


def linear_positions(shape: Shape, device: torch.device | None) -> torch.Tensor:
    """Return the row-major position of each element in the whole iteration range."""
    device = device or kernel_device()
    positions = torch.zeros([], dtype=torch.int64, device=device)
    for size in shape_list(shape):
        index, extent = _positions(size, device)
        positions = positions[..., None] * extent + index
    return positions


def _positions(size: Size, device: torch.device | None) -> tuple[torch.Tensor, int]:
    """Return the positions along one dim and the extent of the whole range."""
    if isinstance(size, EagerTile):
        return size.index.to(torch.int64), size.loop.numel
    count = operator.index(size)
    return torch.arange(count, dtype=torch.int64, device=device), count


def philox(seed: Seed, offsets: torch.Tensor) -> Words:
    """Return the four 32-bit words (in int64) of Philox-4x32 at each counter."""
    check_integers(seed, offsets)
    counter = offsets.to(torch.int64)
    key = torch.as_tensor(seed, dtype=torch.int64, device=counter.device)
    key0, key1 = key & MASK, (key >> 32) & MASK
    c0, c1 = counter & MASK, (counter >> 32) & MASK
    c2, c3 = torch.zeros_like(c0), torch.zeros_like(c0)
    for _ in range(ROUNDS):
        high0, low0 = _multiply(MULTIPLIERS[0], c0)
        high1, low1 = _multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = (key0 + WEYL[0]) & MASK, (key1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def check_integers(seed: object, offsets: object) -> None:
    """Check what decides about random numbers.

    Raises:
        exc.TypeInferenceError: the seed is no int or 0-d integer tensor, or the offsets
            are no integer tensor.
    """
    if isinstance(seed, torch.Tensor):
        if seed.ndim or seed.dtype.is_floating_point:
            raise exc.TypeInferenceError("a seed tensor is 0-d and of an integer dtype")
    elif not isinstance(seed, (int, torch.SymInt)):
        raise exc.TypeInferenceError(f"a seed is an int, not {type(seed).__name__}")
    if not isinstance(offsets, torch.Tensor) or offsets.dtype.is_floating_point:
        raise exc.TypeInferenceError("the offsets are a device tensor of integers")


def check_bounds(low: object, high: object) -> None:
    """Check the range of integers.

    Raises:
        exc.TypeInferenceError: a bound is no int.
        ValueError: ``low`` is not below ``high``.
    """
    for bound in (low, high):
        if not isinstance(bound, (int, torch.SymInt)) or isinstance(bound, bool):
            kind = type(bound).__name__
            raise exc.TypeInferenceError(f"hl.randint: the bounds are ints, not {kind}")
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise ValueError(f"hl.randint needs low < high, not {low} and {high}")


def uniform(word: torch.Tensor) -> torch.Tensor:
    """Return 32-bit words (in int64) as float32 in [0, 1)."""
    signed = _signed(word)
    magnitude = torch.where(signed >= 0, signed, -signed - 1)
    return magnitude.to(torch.float32) * UNIFORM_SCALE


def _signed(word: torch.Tensor) -> torch.Tensor:
    return torch.where(word > MASK >> 1, word - (MASK + 1), word)


def _multiply(factor: int, word: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the high and the low 32 bits of the 64-bit product."""
    # In two halves of 16 bits, because int64 does not hold the whole product.
    upper = word * (factor >> 16)
    lower = word * (factor & 0xFFFF)
    high = (upper + (lower >> 16)) >> 16
    low = ((upper << 16) + lower) & MASK
    return high, low
