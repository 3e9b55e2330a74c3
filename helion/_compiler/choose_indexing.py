"""Chooses how each access is addressed, and remembers why a wish was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._logging import log
from . import indexing_block_ptr, indexing_tensor_descriptor
from .ast_extension import expr, if_else, text_of
from .indexing_strategy import INDEXING

if TYPE_CHECKING:
    import ast
    from collections.abc import Sequence

    from ..runtime.config import Config
    from .device_function import DeviceFunction
    from .indexing_strategy import Access, IndexingStrategy
    from .indexing_tensor_descriptor import Described
    from .storage_use import StorageUse

_ALWAYS = "pointer"
assert indexing_block_ptr and indexing_tensor_descriptor  # they register themselves


@dataclass(frozen=True)
class IndexingChoice:
    """How one operation is addressed: what the Config asked for, and what it got.

    ``op`` is the place in ``indexing``, or in ``atomic_indexing`` for an atomic;
    ``reason`` tells why ``used`` is not ``wanted``, and is None if it is.
    """

    kind: str
    op: int
    line: int
    tensor: str
    wanted: str
    used: str
    reason: str | None = None

    def __str__(self) -> str:
        text = f"line {self.line}: {self.kind} {self.op} of {self.tensor}: {self.used}"
        if self.reason is None:
            return text
        return f"{text}, not {self.wanted}: {self.reason}"


@dataclass
class IndexingRecord:
    """What is known of the accesses of one launch while it is emitted.

    ``descriptors`` has the names of descriptors by tensor and block, ``described`` what
    a call has to check before it may use them.
    """

    uses: StorageUse | None = None
    choices: list[IndexingChoice] = field(default_factory=list)
    descriptors: dict[tuple[object, ...], str] = field(default_factory=dict)
    described: list[Described] = field(default_factory=list)


def choose_indexing(launch: DeviceFunction, access: Access) -> IndexingStrategy:
    """Return the mode that the Config gives an access, or pointers if it cannot be."""
    key = "site" if access.knob == "indexing" else "atomic_site"
    op = access.state.node.meta[key]
    modes = launch.config.get(access.knob) or _ALWAYS
    wanted = modes if isinstance(modes, str) else modes[op]
    strategy = INDEXING[wanted]
    reason = strategy.refusal(access)
    if reason is not None:
        strategy = INDEXING[_ALWAYS]
    _note(launch, access, op, wanted, reason)
    return strategy


def _note(
    launch: DeviceFunction, access: Access, op: int, wanted: str, reason: str | None
) -> None:
    location = access.state.node.meta.get("location")
    line = location.lineno if location is not None else 0
    used = wanted if reason is None else _ALWAYS
    choice = IndexingChoice(access.kind, op, line, access.host, wanted, used, reason)
    if choice in launch.indexed.choices:
        return
    launch.indexed.choices.append(choice)
    if reason is not None:
        log.info("%s: %s", launch.name, choice)


def with_pointers(config: Config) -> Config:
    """Return a Config with nothing but pointers."""
    values = config.to_dict()
    for knob in ("indexing", "atomic_indexing"):
        values[knob] = [_ALWAYS] * len(values.get(knob, []))
    values.pop("host_tensor_descriptors", None)
    # Not everywhere can a loop that loads through pointers be specialized.
    values.pop("range_warp_specializes", None)
    return type(config).from_dict(values)


def fits_descriptors(described: Sequence[Described]) -> ast.expr:
    """Return host code that asks whether tensors can have their descriptors."""
    found = dict.fromkeys(described)
    known = [d.host for d in found if d.is_known]
    open_dims = [f"{d.host}, {d.dim}" for d in found if not d.is_known]
    texts = [f"_aligned({', '.join(dict.fromkeys(known))})"] if known else []
    texts += [f"_describable({text})" for text in open_dims]
    return expr(" and ".join(texts))


def either(
    test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]
) -> list[ast.stmt]:
    """Return a choice between two lists of statements, after what both begin with."""
    count, limit = 0, min(len(body), len(orelse)) - 1
    while count < limit and text_of(body[count]) == text_of(orelse[count]):
        count += 1
    return [*body[:count], if_else(test, body[count:], orelse[count:])]
