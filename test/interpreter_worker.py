"""One process that runs calls under Triton's interpreter, for the whole test session.

TRITON_INTERPRET must be set before Triton is imported and would spoil every test
that assembles, so the interpreter lives in a process of its own.
"""

from __future__ import annotations

import atexit
import importlib
import io
import marshal
import os
import pickle
import subprocess
import sys
import traceback
import types
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import helion

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 120.0
NARROW_FLOATS = (
    torch.float4_e2m1fn_x2,
    torch.float8_e8m0fnu,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
)


class InterpretedError(AssertionError):
    """A call failed in the worker; the text is the traceback from there."""


# ---- how calls travel ----


class _Pickler(pickle.Pickler):
    """Pickles kernels by name, and local functions by code and closure."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, helion.Kernel):
            return _find, (obj.fn.__module__, obj.fn.__qualname__)
        if isinstance(obj, types.FunctionType) and "<" in obj.__qualname__:
            cells = tuple(cell.cell_contents for cell in obj.__closure__ or ())
            code = marshal.dumps(obj.__code__)
            return _rebuild, (obj.__module__, code, obj.__defaults__, cells)
        if isinstance(obj, torch.Tensor) and obj.dtype in NARROW_FLOATS:
            # Torch writes such tensors, but cannot read them back.
            return torch.Tensor.view, (obj.view(torch.uint8), obj.dtype)
        return NotImplemented


def _find(module: str, qualname: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _rebuild(
    module: str, code: bytes, defaults: tuple[Any, ...] | None, cells: tuple[Any, ...]
) -> types.FunctionType:
    namespace = vars(importlib.import_module(module))
    body = marshal.loads(code)
    closure = tuple(types.CellType(cell) for cell in cells)
    return types.FunctionType(body, namespace, body.co_name, defaults, closure)


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    return buffer.getvalue()


# ---- the side of the tests ----


@dataclass
class Worker:
    """A running process and the pipe to it."""

    process: subprocess.Popen[bytes]
    pipe: Connection

    @classmethod
    def start(cls) -> Worker:
        """Start the process; Triton there is imported with its interpreter on."""
        mine, theirs = Pipe()
        path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path}
        environment["CUDA_VISIBLE_DEVICES"] = ""
        # Not as __main__: what is pickled there must be found by the same name here.
        program = f"import {__name__} as worker; worker.serve({theirs.fileno()})"
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        return cls(process, mine)

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()
        self.process.wait()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``(function(*args), args)`` as they are after the call there."""
        self.pipe.send_bytes(_dumps((function, args)))
        if not self.pipe.poll(TIMEOUT_S):
            raise TimeoutError(f"no answer from the interpreter in {TIMEOUT_S} s")
        succeeded, answer = pickle.loads(self.pipe.recv_bytes())
        if not succeeded:
            raise InterpretedError(answer)
        return answer


_worker: Worker | None = None


def call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call in the worker, which is started when first needed and after it died."""
    global _worker
    if _worker is None:
        _worker = Worker.start()
        atexit.register(stop)
    try:
        return _worker.call(function, args)
    except (OSError, EOFError) as error:
        stop()
        raise InterpretedError(f"the interpreter process is gone: {error!r}") from error


def stop() -> None:
    """Stop the worker if one runs."""
    global _worker
    if _worker is not None:
        _worker.stop()
        _worker = None


# ---- the side of the worker ----


def serve(descriptor: int) -> None:
    """Answer the calls that come through a pipe until its other side is closed."""
    from test import triton_interpreter

    pipe = Connection(descriptor)
    torch.set_num_threads(1)
    triton_interpreter.install(check_bounds=True)
    while True:
        try:
            request = pipe.recv_bytes()
        except EOFError:
            return
        try:
            function, args = pickle.loads(request)
            answer = _dumps((True, (function(*args), args)))
        except Exception:
            answer = _dumps((False, traceback.format_exc()))
        pipe.send_bytes(answer)
