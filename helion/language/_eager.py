"""Eager mode: the same kernel body, run tile by tile on real tensors."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from .. import exc
from ._eager_axes import note_load, note_result
from ._eager_histogram import HISTOGRAM_HANDLERS
from ._eager_in_place import IN_PLACE_HANDLERS
from ._eager_indexing import SELECTORS, is_plain, native, select
from ._eager_matmul import MATMUL_HANDLERS
from ._eager_sort import SORT_HANDLERS
from ._eager_views import VIEW_HANDLERS
from .tile import EagerTile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import CodeType, FrameType

_OWN_PACKAGE = __name__.rpartition(".")[0]
_OP_CALL = "helion._compiler.op_registry"

Site = tuple["CodeType", int]


class BlockSizes:
    """Block sizes of a config, handed out to loops in order of first encounter."""

    def __init__(
        self,
        block_sizes: Sequence[int | None],
        tunables: Mapping[str, object] | None = None,
    ) -> None:
        self._left = list(block_sizes)
        self._taken: dict[Site, list[int | None]] = {}
        self.tunables = dict(tunables or {})

    def take(self, site: Site, count: int) -> list[int | None]:
        """Return the ``count`` entries of a site; None where the config has no more."""
        if site not in self._taken:
            entries, self._left = self._left[:count], self._left[count:]
            self._taken[site] = entries + [None] * (count - len(entries))
        return self._taken[site]


class _EagerState(threading.local):
    """What eager mode knows in one thread."""

    blocks: BlockSizes | None = None
    device: torch.device | None = None  # given by the caller
    loop_device: torch.device | None = None  # found by the outermost loop
    depth: int = 0  # nesting of running loops
    session: object = None  # identity of the outermost running loop
    seeds: dict[object, int] | None = None  # of random calls, by their place
    points: list[Sequence[Any]] | None = None  # where the running loops are


_state = _EagerState()


# -- contexts --------------------------------------------------------------------------


@contextlib.contextmanager
def eager_block_sizes(
    block_sizes: Sequence[int | None], tunables: Mapping[str, object] | None = None
) -> Iterator[None]:
    """Run kernels with the tile sizes (and registered tunables) of a config.

    Each loop dim without an explicit block size, and each ``hl.register_block_size``,
    takes one entry the first time its place in the source is reached.
    """
    before = _state.blocks
    _state.blocks = BlockSizes(block_sizes, tunables)
    try:
        yield
    finally:
        _state.blocks = before


@contextlib.contextmanager
def eager_device(device: torch.device | str) -> Iterator[None]:
    """Run kernels on ``device``: factories without ``device=`` make tensors there."""
    before = _state.device
    _state.device = torch.device(device)
    try:
        with _state.device:
            yield
    finally:
        _state.device = before


def take_block_sizes(count: int) -> list[int | None]:
    """Return the config's entries for the calling place; None means no choice."""
    if _state.blocks is None or count == 0:
        return [None] * count
    frame = user_frame()
    return _state.blocks.take((frame.f_code, frame.f_lasti), count)


def tunable_value(name: str) -> object | None:
    """Return the config's value of a registered tunable; None if it has none."""
    return None if _state.blocks is None else _state.blocks.tunables.get(name)


def kernel_device() -> torch.device | None:
    """Return the device of the running kernel; None means torch's default."""
    return _state.device or _state.loop_device


def loop_depth() -> int:
    """Return how many eager loops are running around the caller."""
    return _state.depth


def user_frame() -> FrameType:
    """Return the innermost frame outside the language package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_own(module: str) -> bool:
    return module.startswith(_OWN_PACKAGE) or module == _OP_CALL


def _tensor_device(frame: FrameType) -> torch.device | None:
    """Return the device of the first tensor among a function's arguments and names."""
    for value in frame.f_locals.values():
        items = value if isinstance(value, (list, tuple)) else (value,)
        for item in items:
            if isinstance(item, torch.Tensor):
                return item.device
    return None


# -- running loops ---------------------------------------------------------------------


def device_of_loop() -> torch.device | None:
    """Return the device for a loop about to run, seen from the user's frame."""
    return kernel_device() or _tensor_device(user_frame())


@contextlib.contextmanager
def running_loop(device: torch.device | None) -> Iterator[None]:
    """Keep eager mode on while a loop runs; nested loops share the outermost's mode."""
    if _state.depth == 0:
        _state.session, _state.loop_device = object(), device
        _state.seeds, _state.points = {}, []
        EagerMode().__enter__()
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if _state.depth == 0:
            _state.session = _state.loop_device = None
            _remove_mode()


def _remove_mode() -> None:
    """Take EagerMode off the stack, whatever the user's code left above it."""
    above: list[Any] = []
    while torch._C._len_torch_function_stack():
        mode = torch._C._pop_torch_function_stack()
        if isinstance(mode, EagerMode):
            break
        above.append(mode)
    for mode in reversed(above):
        torch._C._push_on_torch_function_stack(mode)


class EagerMode(TorchFunctionMode):
    """Gives torch calls in a running loop the meaning they have on device."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        handler = _HANDLERS.get(func, func)
        kwargs = kwargs or {}
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": kernel_device()}
        return note_result(func, args, handler(*args, **kwargs))


def add_handlers(handlers: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
    """Give more torch functions a meaning of their own in running loops."""
    _HANDLERS.update(handlers)


@contextlib.contextmanager
def walking() -> Iterator[list[Any]]:
    """Yield a list that a loop keeps at the tiles (or indices) of its turn."""
    point: list[Any] = []
    points = _state.points
    assert points is not None, "a loop runs"
    points.append(point)
    try:
        yield point
    finally:
        _state.points = [other for other in points if other is not point]


def running_tiles() -> list[EagerTile]:
    """Return the tiles of the running loops, the outermost first."""
    every = [item for point in _state.points or [] for item in point]
    return [item for item in every if isinstance(item, EagerTile)]


def launch_seeds() -> dict[object, int]:
    """Return the seeds that were drawn for the outermost running loop."""
    assert _state.seeds is not None, "random calls outside of loops are torch's"
    return _state.seeds


def mark_loaded(value: Any) -> torch.Tensor:
    """Remember that ``value`` is a device value of the running loop."""
    if _state.session is not None:
        value._helion_session = _state.session
    return value


def is_loaded(value: torch.Tensor) -> bool:
    """Return whether ``value`` was loaded in the running loop."""
    session = getattr(value, "_helion_session", None)
    return session is not None and session is _state.session


def _get_item(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """``tensor[index]`` as a load: a copy, because device values never alias."""
    if is_plain(index) and type(tensor) not in SELECTORS:
        with native():
            return mark_loaded(tensor[index].clone())
    return note_load(mark_loaded(select(tensor, index).read()), tensor, index)


def _set_item(tensor: torch.Tensor, index: object, value: object) -> None:
    """``tensor[index] = value`` as a store."""
    if is_loaded(tensor):
        raise exc.DeviceTensorSubscriptAssignmentNotAllowed(name="a loaded tensor")
    select(tensor, index).write(value)


_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.Tensor.__getitem__: _get_item,
    torch.Tensor.__setitem__: _set_item,
    **IN_PLACE_HANDLERS,
    **MATMUL_HANDLERS,
    **VIEW_HANDLERS,
    **SORT_HANDLERS,
    **HISTOGRAM_HANDLERS,
}

_FACTORIES = frozenset(
    [
        torch.arange,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.scalar_tensor,
        torch.tensor,
        torch.zeros,
    ]
)
