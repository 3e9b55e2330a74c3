"""Op: a public language function together with the rules that compile it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[..., Any]

DEFAULT_BACKEND = "triton"


class Tracer(Protocol):
    """Whoever turns op calls into something else than their reference result."""

    def call_op(
        self, op: Op[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return what ``op(*args, **kwargs)`` stands for while tracing."""
        ...


@dataclass(frozen=True)
class OpFlags:
    """Where an op may be called and how its arguments are read."""

    is_device_only: bool = False
    is_host_only: bool = False
    tiles_as_sizes: bool = False  # tiles among the arguments stand for sizes
    impure: bool = False  # kept even when nothing uses the result


class Op(Generic[P, R]):
    """A callable public function with slots for the rules of the compiler.

    Called, it asks the active tracer of the thread; without one it runs its body,
    the eager reference on real torch tensors.
    """

    def __init__(self, reference: Callable[P, R], flags: OpFlags) -> None:
        functools.update_wrapper(self, reference)
        self.reference = reference
        self.flags = flags
        self.name: str = reference.__name__
        self.signature = inspect.signature(reference)
        self.fake: Rule | None = None
        self.type_propagation: Rule | None = None
        self.masked_value: Rule | None = None
        self.codegen: dict[str, Rule] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        tracer = active_tracer()
        if tracer is not None:
            return tracer.call_op(self, args, kwargs)
        return self.reference(*args, **kwargs)

    def bind(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> dict[str, object]:
        """Return the arguments by parameter name, defaults included."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def __repr__(self) -> str:
        return f"<op {self.reference.__module__}.{self.name}>"

    def __reduce__(self) -> str:
        return self.name

    def __copy__(self) -> Op[P, R]:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Op[P, R]:
        # Graph copies must keep the one object whose slots hold the rules.
        return self


class _Active(threading.local):
    tracer: Tracer | None = None


_active = _Active()


def active_tracer() -> Tracer | None:
    """Return the tracer of this thread; None means that ops run eagerly."""
    return _active.tracer


@contextlib.contextmanager
def set_tracer(tracer: Tracer | None) -> Iterator[None]:
    """Send the op calls of this thread to ``tracer`` (None: run them) for a while."""
    before = _active.tracer
    _active.tracer = tracer
    try:
        yield
    finally:
        _active.tracer = before


def as_op(function: object) -> Op[..., Any]:
    """Return ``function`` as the op it must be, for the rule decorators."""
    if not isinstance(function, Op):
        raise TypeError(f"{function!r} is no op: decorate it with api() first")
    return cast("Op[..., Any]", function)
