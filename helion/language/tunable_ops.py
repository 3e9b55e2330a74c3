"""Values that a config chooses: hl.register_block_size and hl.register_tunable."""

from __future__ import annotations

from typing import Any, Protocol

from .. import exc
from .._math import next_power_of_2
from . import _decorators
from ._eager import take_block_sizes, tunable_value


class Fragment(Protocol):
    """The range of a tunable, as in ``helion.autotuner``."""

    def default(self) -> Any:
        """Return the value used where no config chooses one."""
        ...


@_decorators.api(is_host_only=True)
def register_block_size(min_or_max: int, max_or_none: int | None = None, /) -> int:
    """Register one entry of the config's ``block_sizes`` and return its value.

    It may be the ``block_size=`` of several loops and take part in host sizes. Eager
    without a config it is the largest value.

    Args:
        min_or_max: the smallest value if ``max_or_none`` is given, else the largest.
        max_or_none: the largest value, rounded up to a power of two.

    Raises:
        exc.InvalidConfig: the smallest value is no power of two.
        exc.IncorrectTileUsage: an argument is no int.
    """
    smallest, largest = min_or_max, max_or_none
    if largest is None:
        smallest, largest = 1, min_or_max
    if not isinstance(smallest, int) or not isinstance(largest, int):
        raise exc.IncorrectTileUsage(name="hl.register_block_size")
    if smallest <= 0 or smallest & (smallest - 1):
        raise exc.InvalidConfig(
            f"the smallest block size must be a power of two, not {smallest}"
        )
    (chosen,) = take_block_sizes(1)
    return chosen or max(next_power_of_2(largest), smallest)


@_decorators.api(is_host_only=True)
def register_tunable(name: str, fragment: Fragment) -> Any:
    """Add a key to the config and return its value.

    Args:
        name: the new key, a string literal that is no key already.
        fragment: the range of values, such as ``IntegerFragment(1, 8)``.

    Raises:
        exc.RegisterTunableArgTypes: the arguments are of other kinds.
        exc.TunableTypeNotSupported: the values are not int, float or bool.
    """
    if not isinstance(name, str) or not callable(getattr(fragment, "default", None)):
        raise exc.RegisterTunableArgTypes(
            name_type=type(name).__name__, fragment_type=type(fragment).__name__
        )
    chosen = tunable_value(name)
    value = fragment.default() if chosen is None else chosen
    if not isinstance(value, (int, float)):
        raise exc.TunableTypeNotSupported(type=type(value).__name__)
    return value
