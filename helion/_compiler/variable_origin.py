"""Origins: how a host value is spelled in host code, or a device value in a launch."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Base: where a value comes from."""

    def host_str(self) -> str:
        """Return host code that evaluates to the value."""
        raise AssertionError(f"{self!r} has no host spelling")

    def suggest_name(self) -> str:
        """Return an identifier for a kernel argument that holds the value."""
        name = re.sub(r"\W+", "_", self.host_str()).strip("_")
        return name if name and not name[0].isdigit() else f"arg_{name}"


@dataclass(frozen=True)
class NameOrigin(Origin):
    """A local variable or parameter of the host function."""

    name: str

    def host_str(self) -> str:
        return self.name


@dataclass(frozen=True)
class ExprOrigin(Origin):
    """Any other host expression, e.g. ``weights[0]`` or ``fn.__closure__[1]``."""

    text: str
    hint: str = ""

    def host_str(self) -> str:
        return self.text

    def suggest_name(self) -> str:
        return self.hint or super().suggest_name()


SEED_PREFIX = "_helion_seed_"


@dataclass(frozen=True)
class SeedOrigin(Origin):
    """The seed of a random call of torch, drawn before each launch."""

    slot: int

    def host_str(self) -> str:
        return f"{SEED_PREFIX}{self.slot}"


@dataclass(frozen=True)
class SizeOrigin(Origin):
    """Size of one dim of a parameter."""

    tensor: Origin
    dim: int

    def host_str(self) -> str:
        return f"{self.tensor.host_str()}.size({self.dim})"

    def suggest_name(self) -> str:
        return f"{self.tensor.suggest_name()}_size_{self.dim}"


@dataclass(frozen=True)
class StrideOrigin(Origin):
    """Stride of one dim of a host tensor, in elements."""

    tensor: Origin
    dim: int

    def host_str(self) -> str:
        return f"{self.tensor.host_str()}.stride({self.dim})"

    def suggest_name(self) -> str:
        return f"{self.tensor.suggest_name()}_stride_{self.dim}"


@dataclass(frozen=True)
class BlockOrigin(Origin):
    """A fact of one tiled axis, known inside a launch."""

    block_id: int


class BlockSizeOrigin(BlockOrigin):
    """The tile extent of the axis; on the host, the Config's number."""

    def host_str(self) -> str:
        return f"_BLOCK_SIZE_{self.block_id}"


class TileBeginOrigin(BlockOrigin):
    """``tile.begin``."""


class TileEndOrigin(BlockOrigin):
    """``tile.end``, clipped to the loop end."""


class TileIdOrigin(BlockOrigin):
    """``tile.id``."""


class TileCountOrigin(BlockOrigin):
    """``tile.count``."""


class GridIndexOrigin(BlockOrigin):
    """The scalar index of an ``hl.grid`` loop."""


@dataclass(frozen=True)
class DeviceScalarOrigin(Origin):
    """A scalar read from a 0-d device tensor; ``node_name`` is its graph node."""

    node_name: str


@dataclass(frozen=True)
class TunableOrigin(Origin):
    """A value of ``hl.register_tunable``: a Config entry."""

    name: str

    def host_str(self) -> str:
        return f"_tunable_{self.name}"
