"""Whether the results of a config are right: the reference, copies, comparison."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from helion.runtime.tensor_trees import map_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from helion.runtime.settings import Settings

_CHUNK = 1 << 22
_LEAST_TOLERANCE = 1e-2
_VALUES = (bool, int, float, complex, str, torch.dtype, torch.device)
_NARROW_INTEGERS = (torch.int8, torch.uint8)


# ---- arguments ----


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in containers, in order; each object once."""
    found: list[torch.Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)
    return [tensor for tensor in found if _is_plain(tensor)]


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not value.is_nested


def copied(args: tuple[Any, ...], written: Iterable[torch.Tensor]) -> tuple[Any, ...]:
    """Return ``args`` with copies of the memory of ``written``.

    Tensors that shared memory share it again; all others stay what they are.
    """
    storages = {_memory(tensor) for tensor in written}
    copies: dict[int, torch.UntypedStorage] = {}
    if not storages:
        return args

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if not _is_plain(tensor) or (place := _memory(tensor)) not in storages:
            return tensor
        if place not in copies:
            copies[place] = tensor.untyped_storage().clone()
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        layout = tensor.storage_offset(), tensor.size(), tensor.stride()
        return made.set_(copies[place], *layout)

    return map_tensors(copy, args)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def changed_places(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[int]:
    """Return the places of tensors whose values differ."""
    pairs = zip(tensors_in(before), tensors_in(after))
    return [i for i, (one, other) in enumerate(pairs) if not _same(one, other)]


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.data_ptr() == other.data_ptr():
        return True
    # As bytes, NaN equals itself.
    return torch.equal(_as_bytes(one), _as_bytes(other))


def _as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


# ---- runs ----


@contextlib.contextmanager
def checked_run(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Run with uninitialized memory that shows, and the random state of the caller.

    The state is that of the CPU and of the GPUs that ``tensors`` are on.
    """
    # The module's type is one that has properties, which checkers do not see.
    deterministic: Any = torch.utils.deterministic
    fill = deterministic.fill_uninitialized_memory
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = list({t.device for t in tensors if t.device.type == "cuda"})
    devices = devices if torch.cuda.is_available() else []
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = True
    try:
        with (
            torch.random.fork_rng(devices),
            torch.no_grad(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        deterministic.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


@dataclass
class Reference:
    """The right results, and what a call changes of its arguments.

    ``written`` are the tensors among the arguments of which each call gets copies;
    ``checked`` the places of those whose new values are compared.
    """

    results: list[Any]
    written: tuple[torch.Tensor, ...]
    checked: tuple[int, ...]
    settings: Settings

    @classmethod
    def of(
        cls,
        run: Callable[..., Any],
        args: tuple[Any, ...],
        written: Iterable[torch.Tensor],
        settings: Settings,
    ) -> Reference:
        """Run what is right on copies of all arguments."""
        every = tensors_in(args)
        given = copied(args, every)
        with checked_run(every):
            result = run(*given)
        known = {id(tensor) for tensor in written}
        checked = changed_places(args, given)
        kept = [t for i, t in enumerate(every) if id(t) in known or i in checked]
        reference = cls([], tuple(kept), tuple(checked), settings)
        reference.results.extend(reference._leaves(result, given))
        return reference

    def _leaves(self, result: Any, args: tuple[Any, ...]) -> list[Any]:
        changed = tensors_in(args)
        # A result may be an argument, or a view of one: what it is now counts.
        return [*_leaves_of(result), *(changed[i] for i in self.checked)]

    @functools.cached_property
    def tolerances(self) -> list[tuple[float, float]]:
        """The relative and absolute tolerance of each result."""
        given = (
            self.settings.autotune_baseline_rtol,
            self.settings.autotune_baseline_atol,
        )
        return [tolerance_of(right, *given) for right in self.results]

    def problem(self, run: Callable[..., Any], args: tuple[Any, ...]) -> str:
        """Run once on copies; return what is wrong with the results, "" if nothing."""
        given = copied(args, self.written)
        with checked_run(tensors_in(given)):
            result = run(*given)
        found = self._leaves(result, given)
        judge = self.settings.autotune_baseline_accuracy_check_fn
        if judge is not None:
            return _judged(judge, found, self.results)
        if len(found) != len(self.results):
            return f"{len(found)} results, not {len(self.results)}"
        rows = zip(found, self.results, self.tolerances)
        for place, (mine, right, tolerance) in enumerate(rows):
            if text := difference(mine, right, *tolerance):
                return f"result {place}: {text}"
        return ""


def _leaves_of(value: Any) -> Iterator[Any]:
    """Yield what is compared: tensors and plain values in containers, in order."""
    items: Iterable[Any] = ()
    if isinstance(value, (torch.Tensor, *_VALUES)):
        yield value
    elif isinstance(value, (list, tuple)):
        items = value
    elif isinstance(value, dict):
        items = value.values()
    elif dataclasses.is_dataclass(value):
        items = [getattr(value, field.name) for field in dataclasses.fields(value)]
    for item in items:
        yield from _leaves_of(item)


def _judged(judge: Callable[..., None], found: list[Any], wanted: list[Any]) -> str:
    if len(found) == len(wanted) == 1:
        found, wanted = found[0], wanted[0]
    try:
        judge(found, wanted)
    except AssertionError as error:
        return str(error).strip().split("\n")[0] or "the user's check failed"
    return ""


# ---- comparison ----


def difference(
    found: Any, wanted: Any, rtol: float | None = None, atol: float | None = None
) -> str:
    """Return in words how two results differ; "" if they agree.

    None takes the tolerance of the dtype: two steps of it or one percent for floats,
    one for 8-bit integers (rounded quotients), and none for all else. The absolute
    tolerance of floats is one percent of the root mean square of ``wanted``, because
    reordered sums are off by a share of their terms. NaN equals NaN.
    """
    if not isinstance(found, torch.Tensor) or not isinstance(wanted, torch.Tensor):
        return "" if _equal_values(found, wanted) else f"{found!r}, not {wanted!r}"
    found, wanted = _comparable(found), _comparable(wanted)
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{_kind(found)}, not {_kind(wanted)}"
    limits = tolerance_of(wanted, rtol, atol)
    mine, right = found.detach().reshape(-1), wanted.detach().reshape(-1)
    wrong, worst = 0, 0.0
    for start in range(0, right.numel(), _CHUNK):
        part = slice(start, start + _CHUNK)
        count, off = _compare(_wide(mine[part]), _wide(right[part]), *limits)
        wrong, worst = wrong + count, max(worst, off)
    if not wrong:
        return ""
    return f"{wrong} of {right.numel()} elements differ, by up to {worst:.3g}"


def _equal_values(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, float):
        both = torch.tensor([found, wanted], dtype=torch.float64)
        return not difference(both[0], both[1])
    return bool(found == wanted)


def _kind(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} of shape {list(tensor.shape)}"


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that torch can compare, with the same values."""
    if tensor.is_nested:
        return tensor.values()
    if tensor.dtype == torch.float4_e2m1fn_x2:
        return tensor.view(torch.uint8)
    return tensor


def tolerance_of(
    wanted: Any, rtol: float | None = None, atol: float | None = None
) -> tuple[float, float]:
    """Return the relative and absolute tolerance for a result; None: by its dtype."""
    if not isinstance(wanted, torch.Tensor):
        return 0.0, 0.0
    wanted = _comparable(wanted)
    dtype = wanted.dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        own = 1.0 if dtype in _NARROW_INTEGERS else 0.0
        return rtol or 0.0, max(own, atol or 0.0) if dtype != torch.bool else 0.0
    if rtol is None:
        rtol = max(_LEAST_TOLERANCE, 2 * torch.finfo(dtype).eps)
    if atol is None:
        atol = _LEAST_TOLERANCE * _root_mean_square(wanted)
    return rtol, atol


def _root_mean_square(tensor: torch.Tensor) -> float:
    flat, total, count = tensor.detach().reshape(-1), 0.0, 0
    for start in range(0, flat.numel(), _CHUNK):
        part = _wide(flat[start : start + _CHUNK])
        part = part[part.isfinite()].abs().double()
        total, count = total + float(part.square().sum()), count + part.numel()
    return (total / count) ** 0.5 if count else 0.0


def _wide(part: torch.Tensor) -> torch.Tensor:
    """Return values in a dtype that can be compared, exactly the same ones."""
    if part.dtype.is_complex:
        return part
    if not part.dtype.is_floating_point:
        return part.long()
    return part if part.dtype == torch.float64 else part.float()


def _compare(
    mine: torch.Tensor, right: torch.Tensor, rtol: float, atol: float
) -> tuple[int, float]:
    """Return how many elements differ and by how much at most."""
    if not (right.is_floating_point() or right.is_complex()):
        off = (mine - right).abs()
        bad = off > (atol + rtol * right.abs() if rtol else int(atol))
        worst = float(off.max()) if off.numel() else 0.0
        return int(bad.sum()), worst
    bad = ~torch.isclose(mine, right, rtol=rtol, atol=atol, equal_nan=True)
    off = (mine - right).abs().nan_to_num(0.0, 0.0, 0.0)
    return int(bad.sum()), float(off.max()) if off.numel() else 0.0
