"""Ranges of one choice each: what a search may draw, step to and encode."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


def padded_size(n: int) -> int:
    """Return the smallest power of two that is at least ``n`` (1 for ``n <= 1``)."""
    return 1 << max(n - 1, 0).bit_length()


def is_power_of_two(value: Any) -> bool:
    """True for an integer 2**n with n >= 0."""
    return is_int(value) and value > 0 and value & (value - 1) == 0


def is_int(value: Any) -> bool:
    """True for an integer that is not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


class Fragment:
    """One dimension of a search space; values are plain Python data."""

    def default(self) -> Any:
        """Return the value a config has before any search."""
        raise NotImplementedError

    def random(self, rng: random.Random) -> Any:
        """Draw a legal value."""
        raise NotImplementedError

    def pattern_neighbors(self, value: Any, radius: int = 1) -> list[Any]:
        """Return the legal values near ``value``, without ``value``."""
        raise NotImplementedError

    def differential_mutation(self, a: Any, b: Any, c: Any) -> Any:
        """Move ``a`` in the direction in which ``b`` differs from ``c``."""
        raise NotImplementedError

    def encode(self, value: Any) -> list[float]:
        """Return ``dim()`` numbers for a surrogate model."""
        raise NotImplementedError

    def dim(self) -> int:
        return 1

    def cardinality(self) -> int:
        """Return how many legal values there are."""
        raise NotImplementedError

    def validate(self, value: Any) -> str | None:
        """Return what is wrong with ``value`` (``None``: nothing)."""
        raise NotImplementedError


@dataclass(frozen=True)
class PowerOfTwoFragment(Fragment):
    """Powers of two from ``low`` to ``high``; both are powers of two."""

    low: int
    high: int
    default_value: int | None = None

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            assert is_power_of_two(bound), f"{bound} is not a power of two"
        assert self.low <= self.high, f"empty range {self.low}..{self.high}"

    def default(self) -> Any:
        wanted = self.low if self.default_value is None else self.default_value
        return min(max(wanted, self.low), self.high)

    def random(self, rng: random.Random) -> Any:
        return self._at(rng.randrange(self.cardinality()))

    def pattern_neighbors(self, value: Any, radius: int = 1) -> list[Any]:
        position = self._position(value)
        return [self._at(i) for i in self._near(position, radius) if i != position]

    def differential_mutation(self, a: Any, b: Any, c: Any) -> Any:
        step = _sign(self._position(b) - self._position(c))
        last = self.cardinality() - 1
        return self._at(min(max(self._position(a) + step, 0), last))

    def encode(self, value: Any) -> list[float]:
        return [float(self._position(value) + math.log2(self.low))]

    def cardinality(self) -> int:
        return self.high.bit_length() - self.low.bit_length() + 1

    def validate(self, value: Any) -> str | None:
        if is_power_of_two(value) and self.low <= value <= self.high:
            return None
        return f"must be a power of two in {self.low}..{self.high}"

    def _position(self, value: Any) -> int:
        """Return the place of ``value`` in the range, which need not contain it."""
        return max(value, 1).bit_length() - self.low.bit_length()

    def _at(self, position: int) -> Any:
        return self.low << position

    def _near(self, position: int, radius: int) -> range:
        last = self.cardinality() - 1
        return range(max(position - radius, 0), min(position + radius, last) + 1)


@dataclass(frozen=True)
class BlockSizeFragment(PowerOfTwoFragment):
    """Tile extents."""


@dataclass(frozen=True)
class NumWarpsFragment(PowerOfTwoFragment):
    """Warps of a program."""


@dataclass(frozen=True)
class ReductionLoopFragment(PowerOfTwoFragment):
    """Chunks of a looped reduction; the step above ``high`` is ``None``: no loop.

    ``default_value`` above ``high`` stands for ``None`` as well.
    """

    persistent: bool = True

    def default(self) -> Any:
        if self.persistent and (self.default_value or 0) > self.high:
            return None
        return super().default()

    def cardinality(self) -> int:
        return super().cardinality() + self.persistent

    def validate(self, value: Any) -> str | None:
        if value is None and self.persistent:
            return None
        problem = super().validate(value)
        return f"{problem} or None" if problem and self.persistent else problem

    def _position(self, value: Any) -> int:
        if value is None:
            return super()._position(self.high) + 1
        return super()._position(value)

    def _at(self, position: int) -> Any:
        value = self.low << position
        return None if value > self.high else value


@dataclass(frozen=True)
class IntegerFragment(Fragment):
    """Integers from ``low`` to ``high``."""

    low: int
    high: int
    default_value: int | None = None

    def __post_init__(self) -> None:
        assert self.low <= self.high, f"empty range {self.low}..{self.high}"

    def default(self) -> int:
        return self._clamp(
            self.low if self.default_value is None else self.default_value
        )

    def random(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)

    def pattern_neighbors(self, value: int, radius: int = 1) -> list[int]:
        first, last = self._clamp(value - radius), self._clamp(value + radius)
        return [near for near in range(first, last + 1) if near != value]

    def differential_mutation(self, a: int, b: int, c: int) -> int:
        return self._clamp(a + _sign(b - c))

    def encode(self, value: int) -> list[float]:
        return [float(value)]

    def cardinality(self) -> int:
        return self.high - self.low + 1

    def validate(self, value: Any) -> str | None:
        if is_int(value) and self.low <= value <= self.high:
            return None
        return f"must be an integer in {self.low}..{self.high}"

    def _clamp(self, value: int) -> int:
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class EnumFragment(Fragment):
    """One of ``choices``; the first is the default."""

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        assert self.choices, "an enum needs a choice"

    def default(self) -> Any:
        return self.choices[0]

    def random(self, rng: random.Random) -> Any:
        return rng.choice(self.choices)

    def pattern_neighbors(self, value: Any, radius: int = 1) -> list[Any]:
        return [choice for choice in self.choices if choice != value]

    def differential_mutation(self, a: Any, b: Any, c: Any) -> Any:
        # No choice lies between two others: take one that was seen to differ.
        return next((value for value in (b, c) if value != a and b != c), a)

    def encode(self, value: Any) -> list[float]:
        return [float(choice == value) for choice in self.choices]

    def dim(self) -> int:
        return len(self.choices)

    def cardinality(self) -> int:
        return len(self.choices)

    def validate(self, value: Any) -> str | None:
        for choice in self.choices:
            # True == 1 in Python, but not for a config.
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return None
        return f"must be one of {', '.join(map(repr, self.choices))}"


@dataclass(frozen=True)
class BooleanFragment(Fragment):
    """True or False."""

    default_value: bool = False

    def default(self) -> bool:
        return self.default_value

    def random(self, rng: random.Random) -> bool:
        return rng.random() < 0.5

    def pattern_neighbors(self, value: bool, radius: int = 1) -> list[bool]:
        return [not value]

    def differential_mutation(self, a: bool, b: bool, c: bool) -> bool:
        return a if b == c else not a

    def encode(self, value: bool) -> list[float]:
        return [float(value)]

    def cardinality(self) -> int:
        return 2

    def validate(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else "must be True or False"


@dataclass(frozen=True)
class PermutationFragment(Fragment):
    """Orders of ``length`` things, as lists of their positions."""

    length: int

    def default(self) -> list[int]:
        return list(range(self.length))

    def random(self, rng: random.Random) -> list[int]:
        return rng.sample(range(self.length), self.length)

    def pattern_neighbors(self, value: list[int], radius: int = 1) -> list[list[int]]:
        pairs = itertools.combinations(range(self.length), 2)
        return [_swapped(value, i, j) for i, j in pairs]

    def differential_mutation(
        self, a: list[int], b: list[int], c: list[int]
    ) -> list[int]:
        for i, (left, right) in enumerate(zip(b, c, strict=True)):
            if left != right:
                return _swapped(a, i, a.index(left) if a[i] != left else a.index(right))
        return list(a)

    def encode(self, value: list[int]) -> list[float]:
        return [float(position) for position in value]

    def dim(self) -> int:
        return self.length

    def cardinality(self) -> int:
        return math.factorial(self.length)

    def validate(self, value: Any) -> str | None:
        legal = list(range(self.length))
        if isinstance(value, (list, tuple)) and all(map(is_int, value)):
            return (
                None if sorted(value) == legal else f"must be a permutation of {legal}"
            )
        return f"must be a list: a permutation of {legal}"


@dataclass(frozen=True)
class ListOf(Fragment):
    """``length`` values of the same range."""

    inner: Fragment
    length: int

    def default(self) -> list[Any]:
        return [self.inner.default() for _ in range(self.length)]

    def random(self, rng: random.Random) -> list[Any]:
        return [self.inner.random(rng) for _ in range(self.length)]

    def pattern_neighbors(self, value: list[Any], radius: int = 1) -> list[list[Any]]:
        changed = [
            [*value[:i], near, *value[i + 1 :]]
            for i, old in enumerate(value)
            for near in self.inner.pattern_neighbors(old, radius)
        ]
        return [*changed, *(u for u in self._uniform(value) if u not in changed)]

    def differential_mutation(
        self, a: Sequence[Any], b: Sequence[Any], c: Sequence[Any]
    ) -> list[Any]:
        triples = zip(a, b, c, strict=True)
        return [self.inner.differential_mutation(*triple) for triple in triples]

    def encode(self, value: list[Any]) -> list[float]:
        return [number for item in value for number in self.inner.encode(item)]

    def dim(self) -> int:
        return self.length * self.inner.dim()

    def cardinality(self) -> int:
        return self.inner.cardinality() ** self.length

    def validate(self, value: Any) -> str | None:
        if not isinstance(value, (list, tuple)) or len(value) != self.length:
            return f"must be a list of {self.length} values"
        problems = ((i, self.inner.validate(item)) for i, item in enumerate(value))
        found = [f"[{i}] {problem}" for i, problem in problems if problem]
        return "; ".join(found) or None

    def _uniform(self, value: list[Any]) -> list[list[Any]]:
        """Return the lists of equal elements, where there are few of them."""
        if not isinstance(self.inner, (EnumFragment, BooleanFragment)):
            return []
        first = self.inner.default()
        choices = [first, *self.inner.pattern_neighbors(first)]
        lists = [[choice] * self.length for choice in choices]
        return [uniform for uniform in lists if uniform != list(value)]


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)


def _swapped(order: Sequence[int], i: int, j: int) -> list[int]:
    result = list(order)
    result[i], result[j] = result[j], result[i]
    return result
