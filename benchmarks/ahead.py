"""Jobs for processes that compile ahead: caches on disk then have what the GPU needs.

None of them times anything or launches what torch.compile made, so that many can run
side by side; what they leave undone only takes longer later.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

import helion
from benchmarks.suite import case_of

if TYPE_CHECKING:
    from helion.runtime.bound_kernel import BoundKernel

AUTOTUNE = "max-autotune-no-cudagraphs"
Launches = list[dict[str, int | None]]


def share_caches() -> None:
    """Give this process and its children one place for compiled kernels."""
    folder = Path(tempfile.gettempdir()) / f"helion_bench_{os.getuid()}"
    # torch.compile would move Triton's cache as it begins.
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))


def begin_compiler() -> None:
    """Set up a process that compiles, one of many."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    torch.set_num_threads(1)
    allow_tf32()


def allow_tf32() -> None:
    """Let every side multiply float32 in tf32; compiled code depends on it."""
    torch.set_float32_matmul_precision("high")


# ---- helion ----


@functools.lru_cache(maxsize=32)
def bind_offline(name: str) -> BoundKernel:
    """Bind a case without memory, on any machine."""
    case = case_of(name)
    return case.kernel.bind(case.fake_args())


def random_configs(name: str, count: int) -> list[dict[str, Any]]:
    """Return ``count`` seeded random Configs of a case."""
    spec = bind_offline(name).config_spec
    return [dict(spec.random_config(random.Random(seed))) for seed in range(count)]


def emit(name: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Emit one Config of a case, None for the default one; count its bytes."""
    bound, case = bind_offline(name), case_of(name)
    config = config_of(bound, options)
    text = bound.to_triton_code(config)
    bytes_moved = case.bytes_moved()
    return {"config": dict(config), "lines": text.count("\n"), "bytes": bytes_moved}


def assemble(name: str, options: dict[str, Any] | None, arch: str) -> dict[str, Any]:
    """Emit and assemble one Config, None for the default one; resources by launch.

    Triton's cache on disk then has what a launch needs, whichever process makes it.
    """
    from helion._compiler.triton.assemble import capture_launches

    began = time.perf_counter()
    bound = bind_offline(name)
    config = config_of(bound, options)
    function = bound.compile_config(config)
    launches = capture_launches(function, case_of(name).fake_args())
    kernels = [launch.assemble(arch) for launch in launches]
    return {
        "config": dict(config),
        "seconds": round(time.perf_counter() - began, 2),
        "launches": [
            {
                "registers": kernel.registers,
                "shared_bytes": kernel.shared_bytes,
                "spill_bytes": kernel.spill_bytes,
            }
            for kernel in kernels
        ],
    }


def config_of(bound: BoundKernel, options: dict[str, Any] | None) -> helion.Config:
    """Return the Config with these options, None: the default one."""
    if options is None:
        return bound.config_spec.default_config()
    return helion.Config(**options)


# ---- torch.compile ----


def warm_rival(name: str, is_autotuned: bool) -> float:
    """Compile what torch.compile makes of a case; return the seconds."""
    began = time.perf_counter()
    case = case_of(name)
    args = case.make_args("cuda")
    mode = AUTOTUNE if is_autotuned else None
    fn = case.compiled or case.eager
    with without_launches(), without_choosing() if is_autotuned else nothing():
        torch.compile(fn, dynamic=False, mode=mode)(*args)
    del args
    torch.compiler.reset()
    torch.cuda.empty_cache()
    return round(time.perf_counter() - began, 2)


nothing = contextlib.nullcontext


@contextlib.contextmanager
def without_launches() -> Iterator[None]:
    """Keep torch.compile's kernels from being launched, and so from being tuned.

    Times taken beside other processes would be kept on disk as if they were good.
    """
    heuristics = importlib.import_module("torch._inductor.runtime.triton_heuristics")
    with mock.patch.object(heuristics.CachingAutotuner, "run", lambda *_, **__: None):
        yield


@contextlib.contextmanager
def without_choosing() -> Iterator[None]:
    """Keep max-autotune from timing its choices, and the made-up result to oneself."""
    selection = importlib.import_module("torch._inductor.select_algorithm")
    inductor = importlib.import_module("torch._inductor.config")
    functorch = importlib.import_module("torch._functorch.config")

    def made_up(self: Any, choices: Any, *_: Any, **__: Any) -> dict[Any, float]:
        return {choice: 1.0 + place for place, choice in enumerate(choices)}

    cache = selection.AlgorithmSelectorCache
    off = {"fx_graph_cache": False, "autotune_local_cache": False}
    # More than these two keep times on disk; the compiled kernels lie elsewhere.
    folder = f"{os.environ['TORCHINDUCTOR_CACHE_DIR']}_made_up"
    with (
        mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
        mock.patch.object(cache, "benchmark", made_up),
        inductor.patch(off),
        functorch.patch(enable_autograd_cache=False),
    ):
        yield
