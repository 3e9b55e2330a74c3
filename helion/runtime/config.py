"""``Config``: the choices that pick one implementation of a kernel."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from helion.autotuner.config_knobs import KNOBS

if TYPE_CHECKING:
    import os

    from helion.autotuner.config_spec import ConfigSpec


class Config(Mapping[str, Any]):
    """A read-only, hashable mapping from knob names to values.

    Keys are those of ``helion.autotuner.config_knobs.KNOBS``; any other keyword is the
    value of a tunable that the kernel registers. ``None`` means "not given". What a
    config hands out is a copy, so nothing can change it.

    Example: ``Config(block_sizes=[64, 64, 32], num_warps=8)``.
    """

    __slots__ = ("_hash", "_values")
    _values: dict[str, Any]
    _hash: int

    def __init__(self, **values: Any) -> None:
        given = {key: _frozen(v) for key, v in values.items() if v is not None}
        object.__setattr__(self, "_values", given)
        object.__setattr__(self, "_hash", hash(frozenset(given.items())))

    def __getitem__(self, key: str) -> Any:
        return _thawed(self._values[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self._values == other._values
        if isinstance(other, Mapping):
            return self.to_dict() == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Config is immutable: make a new one to set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Config is immutable: make a new one without {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Config.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        pairs = (f"{key}={self[key]!r}" for key in sorted(self._values))
        return f"helion.Config({', '.join(pairs)})"

    def to_dict(self) -> dict[str, Any]:
        """Return a new dict of plain lists and scalars."""
        return {key: _thawed(value) for key, value in self._values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Make a config of any mapping, another config included."""
        return cls(**values)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Config:
        return cls(**json.loads(text))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON form; a reader sees the old file or the new, never a part."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"tmp.{uuid.uuid4()}"
        try:
            temporary.write_text(self.to_json())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        return cls.from_json(Path(path).read_text())

    def minimize(self, spec: ConfigSpec) -> Config:
        """Drop what equals the default of ``spec``, except ``block_sizes``."""
        default = spec.default_config()
        kept = {
            key: value
            for key, value in self.items()
            if key == "block_sizes" or key not in default or default[key] != value
        }
        return Config(**kept)

    def _choice(self, name: str) -> Any:
        return self[name] if name in self else KNOBS[name].default

    def _list(self, name: str) -> list[Any]:
        return self.get(name, [])

    @property
    def block_sizes(self) -> list[int]:
        return self._list("block_sizes")

    @property
    def loop_orders(self) -> list[list[int]]:
        return self._list("loop_orders")

    @property
    def flatten_loops(self) -> list[bool]:
        return self._list("flatten_loops")

    @property
    def l2_groupings(self) -> list[int]:
        return self._list("l2_groupings")

    @property
    def reduction_splits(self) -> list[int]:
        return self._list("reduction_splits")

    @property
    def loop_splits(self) -> list[int]:
        return self._list("loop_splits")

    @property
    def split_mode(self) -> str:
        return self._choice("split_mode")

    @property
    def reduction_loops(self) -> list[int | None]:
        return self._list("reduction_loops")

    @property
    def range_unroll_factors(self) -> list[int]:
        return self._list("range_unroll_factors")

    @property
    def range_warp_specializes(self) -> list[bool | None]:
        return self._list("range_warp_specializes")

    @property
    def range_num_stages(self) -> list[int]:
        return self._list("range_num_stages")

    @property
    def range_multi_buffers(self) -> list[bool | None]:
        return self._list("range_multi_buffers")

    @property
    def range_flattens(self) -> list[bool | None]:
        return self._list("range_flattens")

    @property
    def static_ranges(self) -> list[bool]:
        return self._list("static_ranges")

    @property
    def peel_masks(self) -> list[bool]:
        return self._list("peel_masks")

    @property
    def swap_products(self) -> list[bool]:
        return self._list("swap_products")

    @property
    def num_warps(self) -> int:
        return self._choice("num_warps")

    @property
    def num_stages(self) -> int:
        return self._choice("num_stages")

    @property
    def pid_type(self) -> str:
        return self._choice("pid_type")

    @property
    def num_sm_multiplier(self) -> int:
        return self._choice("num_sm_multiplier")

    @property
    def maxnreg(self) -> int | None:
        return self._choice("maxnreg")

    @property
    def indexing(self) -> str | list[str]:
        return self._list("indexing")

    @property
    def atomic_indexing(self) -> str | list[str]:
        return self._list("atomic_indexing")

    @property
    def load_eviction_policies(self) -> str | list[str]:
        return self._list("load_eviction_policies")

    @property
    def load_cache_modifiers(self) -> str | list[str]:
        return self._list("load_cache_modifiers")

    @property
    def store_cache_modifiers(self) -> str | list[str]:
        return self._list("store_cache_modifiers")

    @property
    def launch_pdl(self) -> bool:
        return self._choice("launch_pdl")

    @property
    def xcd_remap(self) -> bool:
        return self._choice("xcd_remap")

    @property
    def advanced_controls_file(self) -> str:
        return self._choice("advanced_controls_file")

    @property
    def epilogue_subtile(self) -> int | None:
        return self._choice("epilogue_subtile")


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    return value
