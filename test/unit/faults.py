"""Kernels made from a few lines of text, and the error that binding one raises."""

from __future__ import annotations

import itertools
import linecache
import textwrap
from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import fake_cuda

MARK = "#!"  # ends the line that an error must name
PARAMS = "x, y, z, n"

_HEAD = "def k({params}):\n    out = torch.empty_like(x)\n"
_LOOP = "    for t in hl.tile(x.size(0)):\n"
_TAIL = "        out[t] = x[t]\n    return out\n"
_serial = itertools.count()


def arguments() -> tuple[Any, ...]:
    """Return vectors ``x`` and ``y``, a matrix ``z`` and the int ``n``."""
    return torch.ones(64), torch.ones(64), torch.ones(64, 48), 5


def marked(lines: str) -> str:
    """Return lines of which one carries the mark, the last one if none does."""
    return lines if MARK in lines else f"{lines}  {MARK}"


def device_text(lines: str, params: str = PARAMS) -> str:
    """Return a kernel with ``lines`` in a loop over tiles ``t`` of ``x``."""
    body = textwrap.indent(textwrap.dedent(marked(lines)), " " * 8)
    return _HEAD.format(params=params) + _LOOP + body.rstrip("\n") + "\n" + _TAIL


def host_text(lines: str, params: str = PARAMS) -> str:
    """Return a kernel with ``lines`` in front of its loop."""
    body = textwrap.indent(textwrap.dedent(marked(lines)), " " * 4)
    return _HEAD.format(params=params) + body.rstrip("\n") + "\n" + _LOOP + _TAIL


def function_from(text: str, **names: Any) -> Any:
    """Return the function ``k`` of a text, as if it stood in a file."""
    filename = f"<kernel {next(_serial)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    names.setdefault("__name__", __name__)
    namespace = {"torch": torch, "helion": helion, "hl": hl, "exc": exc, **names}
    exec(compile(text, filename, "exec"), namespace)
    return namespace["k"]


def kernel_from(text: str, names: Any = None, **settings: Any) -> helion.Kernel:
    """Return the kernel of a text; ``names`` are further globals."""
    return helion.kernel(function_from(text, **(names or {})), **settings)


def compile_text(text: str, *args: Any, names: Any = None, **settings: Any) -> str:
    """Return the Triton code of a text's kernel, by default for ``arguments()``."""
    given = fake_cuda(args or arguments())
    return kernel_from(text, names, **settings).bind(given).to_triton_code()


def fault(text: str, *args: Any, names: Any = None, **settings: Any) -> exc.Base:
    """Return the typed error of a text's kernel, which names the marked line."""
    with pytest.raises(exc.Base) as caught:
        compile_text(text, *args, names=names, **settings)
    error = caught.value
    check_report(error, text)
    return error


def check_report(error: exc.Base, text: str) -> None:
    """Check that an error is the user's to understand: typed, and with the line."""
    assert not isinstance(error, exc.InternalError), f"reached a user: {error}"
    assert "hint: " in str(error) or not type(error).hint
    places = [at for at, line in enumerate(text.splitlines(), 1) if MARK in line]
    if places:
        assert error.location is not None, f"no location: {error!r}"
        assert error.location.lineno in places, str(error)
        assert text.splitlines()[error.location.lineno - 1].strip() in str(error)
