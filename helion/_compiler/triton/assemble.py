"""Assemble emitted kernels without a GPU, and record what a module would launch."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from helion import exc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Name of an architecture -> the arguments of Triton's GPUTarget.
ARCHES: dict[str, tuple[str, int | str, int]] = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}


@dataclass(frozen=True)
class AssembledKernel:
    """A kernel as machine code; ``None`` where the tools did not tell.

    ``registers`` and ``spill_bytes`` count per thread, ``shared_bytes`` per program.
    """

    arch: str
    registers: int | None
    shared_bytes: int
    spill_bytes: int | None
    ptx_or_asm: str
    cubin: bytes


@dataclass(frozen=True)
class Launch:
    """One call of the launcher, as the generated host code made it."""

    jit_fn: Any
    grid: tuple[Any, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def assemble(self, arch: str = "sm_90") -> AssembledKernel:
        """Assemble what this launch would run."""
        return assemble_launch(self.jit_fn, self.args, self.kwargs, arch)


def assemble(
    jit_fn: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, object],
    *,
    arch: str = "sm_90",
    divisible_by_16: frozenset[str] | set[str] = frozenset(),
    **options: object,
) -> AssembledKernel:
    """Compile a ``triton.jit`` function for ``arch``, on any machine.

    ``signature`` gives a Triton type per parameter (``{"x": "*bf16", "n": "i32"}``);
    parameters in ``constexprs`` need none. ``options`` are those of a launch: num_warps
    (4 if missing), num_stages (1 if missing), maxnreg, ...
    """
    backend = _backend_of(jit_fn, arch)
    names = jit_fn.arg_names
    types = {n: "constexpr" if n in constexprs else signature[n] for n in names}
    attrs = {
        (names.index(n),): [["tt.divisibility", 16]] for n in sorted(divisible_by_16)
    }
    parsed = backend.parse_options({"num_warps": 4, "num_stages": 1, **options})
    return _compile(jit_fn, arch, (types, dict(constexprs), attrs), parsed)


def assemble_launch(
    jit_fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any], arch: str = "sm_90"
) -> AssembledKernel:
    """Compile what ``launcher(jit_fn, grid, *args, **kwargs)`` would run on ``arch``.

    Arguments may be fake tensors and SymInts. They are specialized by Triton's own
    rules; tensors count as 16-byte aligned and smaller than 2 GB.
    """
    from triton.runtime.jit import create_function_from_signature

    backend = _backend_of(jit_fn, arch)
    known = {*vars(backend.parse_options({})), *jit_fn.arg_names}
    if ARCHES[arch][0] == "hip":
        # Options such as maxnreg mean nothing here; on CUDA Triton must see them.
        kwargs = {name: value for name, value in kwargs.items() if name in known}
    bind = create_function_from_signature(jit_fn.signature, jit_fn.params, backend)
    bound, facts, options = bind(*map(_stand_in, args), **kwargs)
    options, *types = jit_fn._pack_args(backend, options, bound, facts, options)
    return _compile(jit_fn, arch, tuple(types), options)


def capture_launches(host_fn: Callable[..., Any], args: Sequence[Any]) -> list[Launch]:
    """Call a generated host function on fake tensors; return its launches in order.

    Nothing runs: real tensors among ``args`` are replaced by fake ones, and fake ones
    keep their mode. SymInts are left as they are.
    """
    from torch.utils._pytree import tree_leaves, tree_map_only

    launches: list[Launch] = []

    def record(jit_fn: Any, grid: Any, *call_args: Any, **kwargs: Any) -> None:
        launches.append(Launch(jit_fn, tuple(grid), call_args, kwargs))

    with _fake_mode_of(tree_leaves(list(args))) as to_fake:
        host_fn(*tree_map_only(torch.Tensor, to_fake, list(args)), _launcher=record)
    return launches


@contextlib.contextmanager
def _fake_mode_of(
    leaves: list[Any],
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Enter the mode of the first fake tensor, or a new one; yield how to join it."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    modes = [leaf.fake_mode for leaf in leaves if isinstance(leaf, FakeTensor)]
    mode = modes[0] if modes else FakeTensorMode()

    def to_fake(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else mode.from_tensor(tensor)

    with mode:
        yield to_fake


def _stand_in(arg: Any) -> Any:
    """Return a value that Triton specializes as it would ``arg``, without memory."""
    from triton.runtime.jit import MockTensor

    if isinstance(arg, torch.Tensor):
        return MockTensor(arg.dtype)
    if isinstance(arg, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return arg.node.hint
    if isinstance(arg, tuple):
        values = [_stand_in(value) for value in arg]
        return type(arg)(*values) if hasattr(arg, "_fields") else tuple(values)
    return arg


def _target_of(arch: str) -> Any:
    from triton.backends.compiler import GPUTarget

    if arch not in ARCHES:
        known = ", ".join(ARCHES)
        raise exc.InvalidAPIUsage(f"cannot assemble for {arch!r}; known: {known}")
    return GPUTarget(*ARCHES[arch])


def _backend_of(jit_fn: Any, arch: str) -> Any:
    from triton.compiler import make_backend
    from triton.runtime.jit import JITFunction

    if not isinstance(jit_fn, JITFunction):
        raise exc.InvalidAPIUsage(
            f"{jit_fn!r} cannot be assembled: it is no triton.jit function, or it was "
            "decorated under TRITON_INTERPRET=1; unset that before importing triton"
        )
    return make_backend(_target_of(arch))


def _compile(
    jit_fn: Any, arch: str, types: tuple[Any, ...], options: Any
) -> AssembledKernel:
    import triton
    from triton.compiler import ASTSource

    source = ASTSource(jit_fn, *types)
    kernel = triton.compile(source, target=_target_of(arch), options=vars(options))
    if ARCHES[arch][0] == "cuda":
        text, binary = kernel.asm["ptx"], kernel.asm["cubin"]
        registers, spill_bytes = _cubin_usage(binary)
    else:
        text, binary = kernel.asm["amdgcn"], kernel.asm["hsaco"]
        registers, spill_bytes = _amdgcn_usage(text)
    shared_bytes = int(kernel.metadata.shared)
    return AssembledKernel(arch, registers, shared_bytes, spill_bytes, text, binary)


def _cubin_usage(cubin: bytes) -> tuple[int | None, int | None]:
    """Return registers and spilled bytes of a thread, by the tool Triton ships."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        try:
            command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
            text = subprocess.run(command, capture_output=True, text=True).stdout
        except (OSError, RuntimeError):
            return None, None
    registers = re.search(r"\bREG:(\d+)", text)
    # Kernels have no stack of their own: what lies there or in LOCAL was spilled.
    spilled = re.findall(r"\b(?:STACK|LOCAL):(\d+)", text)
    if registers is None:
        return None, None
    return int(registers[1]), sum(map(int, spilled))


def _amdgcn_usage(text: str) -> tuple[int | None, int | None]:
    """Return vector registers and spilled bytes of a lane, by the kernel's metadata."""
    counts = {
        name: int(match[1])
        for name in ("vgpr_count", "vgpr_spill_count")
        if (match := re.search(rf"\.{name}:\s*(\d+)", text))
    }
    spills = counts.get("vgpr_spill_count")
    return counts.get("vgpr_count"), None if spills is None else 4 * spills
