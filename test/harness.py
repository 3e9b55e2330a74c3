"""Run a kernel in each of the ways a machine offers, on copies of one's arguments."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from helion.language._eager import eager_block_sizes
from helion.runtime.tensor_trees import map_tensors
from test import interpreter_worker

Tolerance = Mapping[torch.dtype, tuple[float, float]]

# Floating dtypes from the least to the most precise, with (rtol, atol).
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.bfloat16: (2e-2, 2e-2),
    torch.float16: (4e-3, 4e-3),
    torch.float32: (2e-5, 2e-5),
    torch.float64: (1e-10, 1e-10),
}


# ---- values ----


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return every tensor in ``value``, in the order of ``map_tensors``."""
    found: list[torch.Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)
    return found


def copy_to(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Return a copy with the same strides and offset, over a storage of equal size."""
    items = tensor.untyped_storage().nbytes() // tensor.element_size()
    storage = tensor.as_strided((items,), (1,), 0).to(device, copy=True)
    return storage.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def copy_elements(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy in place; elements that several indices share are written once."""
    if any(
        stride == 0 and size > 1
        for stride, size in zip(target.stride(), target.size(), strict=True)
    ):
        assert torch.equal(target, source.to(target.device)), "a shared element changed"
        return
    target.copy_(source)


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return a floating tensor in float64, any other as a copy."""
    return tensor.double() if tensor.is_floating_point() else tensor.clone()


def randn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return random values of any dtype: small integers, fair bools, no zero floats."""
    value = torch.randn(shape)
    if dtype == torch.bool:
        return value > 0
    if not dtype.is_floating_point:
        return torch.randint(-50, 50, shape).to(dtype)
    return torch.where(value == 0, 1.0, value).to(dtype)


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Fill what ``torch.empty`` and its kin return: NaN, or the largest integer."""
    fill = torch.utils.deterministic.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


# ---- ways ----


@functools.cache
def with_settings(kernel: helion.Kernel, settings: frozenset) -> helion.Kernel:
    """Return ``kernel`` itself, or one of the same function with other settings."""
    return helion.kernel(kernel.fn, **dict(settings)) if settings else kernel


def run(
    kernel: helion.Kernel,
    *args: Any,
    way: str,
    config: helion.Config | None = None,
    **settings: Any,
) -> Any:
    """Call ``kernel`` in one way; arguments are changed if the kernel changes them.

    ``plain`` is the undecorated function and knows no Config. Without a Config the
    other ways use their default.
    """
    return WAYS[way](kernel, args, config, frozenset(settings.items()))


def run_plain(
    kernel: helion.Kernel, args: Sequence[Any], config: Any, settings: frozenset
) -> Any:
    """Call the function under the decorator, as Python."""
    with poisoned():
        return kernel.fn(*args)


def run_eager(
    kernel: helion.Kernel,
    args: Sequence[Any],
    config: helion.Config | None,
    settings: frozenset,
) -> Any:
    """Run the body tile by tile, with the block sizes of ``config`` if given."""
    chosen = {**dict(settings), "ref_mode": helion.RefMode.EAGER}
    eager = helion.kernel(kernel.fn, config=config, **chosen)
    with poisoned():
        return eager(*args)


def compiled_function(
    kernel: helion.Kernel, args: Sequence[Any], config: helion.Config | None
) -> Callable[..., Any]:
    """Return the emitted host function for ``config``; None means the default one."""
    bound = kernel.bind(tuple(args))
    chosen = bound.config_spec.default_config() if config is None else config
    return bound.compile_config(chosen)


def run_emitted(
    kernel: helion.Kernel,
    args: Sequence[Any],
    config: helion.Config | None,
    settings: frozenset,
) -> Any:
    """Compile for ``config`` and call the emitted host function on ``args``."""
    function = compiled_function(with_settings(kernel, settings), args, config)
    with poisoned():
        return function(*args)


def run_both(
    kernel: helion.Kernel,
    args: Sequence[Any],
    config: helion.Config | None,
    settings: frozenset,
) -> Any:
    """Run as emitted, and hold that to the function as Python with the same tiles."""
    state, plain = torch.get_rng_state(), map_tensors(copy_here, tuple(args))
    result = run_emitted(kernel, args, config, settings)
    torch.set_rng_state(state)
    bound = with_settings(kernel, settings).bind(tuple(args))
    chosen = bound.config_spec.default_config() if config is None else config
    given = bound.config_spec.normalize(chosen).to_dict()
    try:
        with poisoned(), eager_block_sizes(given.get("block_sizes", []), given):
            wanted = kernel.fn(*plain)
    except helion.exc.CompiledOnly:
        return result
    assert_alike((result, args), (wanted, plain))
    return result


def copy_here(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy on the same device, which no gradient flows through."""
    return copy_to(tensor.detach(), tensor.device.type)


def assert_alike(found: Any, plain: Any) -> None:
    """Compare a compiled result with that of plain Python, up to rounding."""
    mine, theirs = tensors_in(found), tensors_in(plain)
    assert len(mine) == len(theirs), f"{len(mine)} tensors, not {len(theirs)} in eager"
    for one, other in zip(mine, theirs):
        assert one.dtype == other.dtype, f"{one.dtype}, but {other.dtype} in eager"
        if one.dtype == torch.float4_e2m1fn_x2:
            one, other = one.view(torch.uint8), other.view(torch.uint8)
        if not one.dtype.is_floating_point:
            assert torch.equal(one, other), "integers differ from eager"
            continue
        tolerance = {1: 0.13, 2: 3e-2}.get(one.dtype.itemsize, 2e-3)
        one, other = one.double(), other.double()
        finite = torch.where(other.isfinite(), other, 0.0)
        scale = float(finite.abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(
            one,
            other,
            rtol=tolerance,
            atol=tolerance * max(scale, 1e-3),
            equal_nan=True,
            msg=lambda text: f"differs from eager: {text}",
        )


def run_interpreted(
    kernel: helion.Kernel,
    args: Sequence[Any],
    config: helion.Config | None,
    settings: frozenset,
) -> Any:
    """Run the emitted text on CPU tensors, in a process with Triton's interpreter."""
    request = (run_both, (kernel, tuple(args), config, settings))
    result, changed = interpreter_worker.call(*request)
    for mine, theirs in zip(tensors_in(args), tensors_in(changed[1])):
        copy_elements(mine, theirs)
    return result


def run_compiled(
    kernel: helion.Kernel,
    args: Sequence[Any],
    config: helion.Config | None,
    settings: frozenset,
) -> Any:
    """Run on the GPU with copies of CPU arguments; results come back to the CPU."""
    moved = map_tensors(lambda tensor: copy_to(tensor, "cuda"), tuple(args))
    result = run_emitted(kernel, moved, config, settings)
    for mine, theirs in zip(tensors_in(args), tensors_in(moved)):
        copy_elements(mine, theirs)
    return map_tensors(lambda tensor: tensor.cpu(), result)


def run_scenario(way: str, scenario: Callable[[str], None]) -> None:
    """Call ``scenario(device)``, in which kernels are called as users call them."""
    if way == "interpreted":
        interpreter_worker.call(scenario, ("cpu",))
    else:
        scenario("cuda" if way == "compiled" else "cpu")


WAYS: dict[str, Callable[..., Any]] = {
    "plain": run_plain,
    "eager": run_eager,
    "interpreted": run_interpreted,
    "compiled": run_compiled,
}


def fake_cuda(args: Sequence[Any]) -> tuple[Any, ...]:
    """Return ``args`` with fake tensors that say cuda in place of the real ones."""

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        size, stride = tensor.size(), tensor.stride()
        return torch.empty_strided(size, stride, dtype=tensor.dtype, device="cuda")

    with FakeTensorMode():
        return map_tensors(fake, tuple(args))


def offline(
    kernel: helion.Kernel,
    *args: Any,
    config: helion.Config | None = None,
    arch: str = "sm_90",
) -> list[Any]:
    """Bind with fake cuda tensors, emit and assemble; one result for each launch."""
    from helion._compiler.triton.assemble import capture_launches

    fakes = fake_cuda(args)
    function = compiled_function(kernel, fakes, config)
    return [launch.assemble(arch) for launch in capture_launches(function, fakes)]


# ---- comparison ----


def least_precise(*values: Any) -> torch.dtype:
    """Return the least precise floating dtype among the tensors in ``values``."""
    present = {tensor.dtype for tensor in tensors_in(values)}
    return next((dtype for dtype in TOLERANCES if dtype in present), torch.float64)


def assert_close_to_reference(
    actual: Any,
    reference: Any,
    dtype: torch.dtype,
    tolerance: Tolerance | None = None,
) -> None:
    """Compare results, tensor by tensor, with what float64 mathematics gives.

    ``dtype`` is the least precise dtype on the way. NaN equals NaN; integers and
    bools must be equal.
    """
    found, wanted = tensors_in(actual), tensors_in(reference)
    assert len(found) == len(wanted), f"{len(found)} tensors, not {len(wanted)}"
    rtol, atol = {**TOLERANCES, **(tolerance or {})}[dtype]
    for mine, right in zip(found, wanted):
        exact = not right.is_floating_point()
        torch.testing.assert_close(
            mine.to(right.dtype),
            right,
            rtol=0 if exact else rtol,
            atol=0 if exact else atol,
            equal_nan=True,
        )


def check(
    kernel: helion.Kernel,
    *args: Any,
    way: str,
    reference: Callable[..., Any],
    configs: Sequence[helion.Config | None] = (None,),
    tolerance: Tolerance | None = None,
    **settings: Any,
) -> None:
    """Run ``kernel`` under each Config and compare with ``reference`` in float64."""
    wanted = reference(*map_tensors(to_float64, args))
    wanted = map_tensors(lambda tensor: tensor.cpu(), (wanted,))[0]
    for config in configs[:1] if way == "plain" else configs:
        mine = map_tensors(lambda tensor: copy_to(tensor, "cpu"), args)
        found = run(kernel, *mine, way=way, config=config, **settings)
        try:
            dtype = least_precise(args, found)
            assert_close_to_reference(found, wanted, dtype, tolerance)
        except AssertionError as error:
            raise AssertionError(f"{way} with {config}: {error}") from None
