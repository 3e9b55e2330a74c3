"""Bind kernels with fake cuda tensors and look at the text they become."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from typing import Any

import torch

import helion
from examples._catalog import CASES
from helion.runtime.bound_kernel import BoundKernel
from test.harness import fake_cuda, with_settings

WITH_BODY = (ast.FunctionDef, ast.For)
KERNELS = {case.name: case for case in CASES}


def bind(kernel: helion.Kernel, *args: Any, **settings: Any) -> BoundKernel:
    """Return the bound kernel for fakes of ``args`` that say cuda."""
    chosen = with_settings(kernel, frozenset(settings.items()))
    return chosen.bind(fake_cuda(args))


@functools.cache
def bind_case(name: str, **settings: Any) -> BoundKernel:
    """Return the bound kernel of one catalog case with small arguments."""
    case = KERNELS[name]
    return bind(case.kernel, *case.make_args("cpu", True), **settings)


def case_code(name: str, **config: Any) -> str:
    """Return the text of a catalog case, under a Config or the default one."""
    return bind_case(name).to_triton_code(config or None)


def kernel_texts(code: str) -> list[str]:
    """Return the text of each Triton kernel in a module, in order."""
    functions = [n for n in ast.parse(code).body if isinstance(n, ast.FunctionDef)]
    return [ast.unparse(f) for f in functions if f.name.startswith("_helion_")]


def host_text(code: str) -> str:
    """Return the text of the wrapper in a module."""
    functions = [n for n in ast.parse(code).body if isinstance(n, ast.FunctionDef)]
    (wrapper,) = [f for f in functions if not f.name.startswith("_helion_")]
    return ast.unparse(wrapper)


def repeated_work(code: str) -> list[str]:
    """Return what a block of a kernel computes twice by the same text.

    That is calls, and what whole statements compute. Casts, and parts of addresses,
    may be repeated in larger expressions; Triton computes them once.
    """
    found: list[str] = []
    for kernel in kernel_texts(code):
        for block in _blocks(ast.parse(kernel)):
            computed = [n for s in block for n in ast.walk(s) if _is_work(n)]
            values = (s.value for s in block if isinstance(s, ast.Assign))
            computed += [value for value in values if isinstance(value, ast.BinOp)]
            counts = Counter(ast.unparse(node) for node in computed)
            found += [text for text, count in counts.items() if count > 1]
    return found


def _blocks(tree: ast.AST) -> list[list[ast.stmt]]:
    nested = (ast.For, ast.While, ast.If)
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, WITH_BODY)]
    return [[s for s in body if not isinstance(s, nested)] for body in bodies]


def _is_work(node: ast.AST) -> bool:
    """Whether a node is a call that computes something."""
    cheap = r"(tl\.(full|arange|zeros|cast|broadcast_to|debug_barrier)|float|\w+\.to)\("
    return isinstance(node, ast.Call) and not re.match(cheap, ast.unparse(node))


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a tensor without memory, to make fakes of any size from."""
    return torch.empty(shape, dtype=dtype, device="meta")
