"""Run the kernels of pointwise_cases.py; prints one JSON object of failures.

``python pointwise_runner.py interpret`` runs under Triton's interpreter on the CPU,
``... cuda`` on a GPU. A subprocess, because Triton reads its mode when imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

MODE = sys.argv[1]
if MODE == "interpret":
    os.environ["TRITON_INTERPRET"] = "1"

import torch  # noqa: E402 (after the environment is set)

from test.unit import pointwise_cases as table  # noqa: E402


def load(cases: list[table.Case], directory: str) -> Any:
    """Write one kernel per case and import them."""
    path = Path(directory) / "pointwise_kernels.py"
    kernels = (table.kernel_text(f"kernel_{i}", [c]) for i, c in enumerate(cases))
    path.write_text(table.HEADER + "".join(kernels))
    spec = importlib.util.spec_from_file_location("pointwise_kernels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(case: table.Case, kernel: Any, device: str) -> None:
    """Launch a kernel and compare with what torch computes on the CPU."""
    expected = case.expected()
    out = torch.empty_like(expected, device=device).expand(32).contiguous()
    kernel[(1,)](*(t.to(device) for t in case.tensors().values()), out)
    half = expected.dtype in (torch.float16, torch.bfloat16)
    rtol, atol = (1e-2, 1e-3) if half else (1e-5, 1e-6)
    if expected.dtype.itemsize == 1 and expected.dtype.is_floating_point:
        rtol = atol = 0.0
    lanes = defined_lanes(case, expected)
    torch.testing.assert_close(
        out.cpu()[lanes],
        expected.expand(32)[lanes],
        equal_nan=True,
        rtol=rtol,
        atol=atol,
    )


def defined_lanes(case: table.Case, expected: torch.Tensor) -> torch.Tensor:
    """Return where CPU and GPU must agree: casts of inf and NaN to integers need not.

    Torch itself gives other integers for them on a GPU than on a CPU.
    """
    everywhere = torch.ones(32, dtype=torch.bool)
    is_cast = case.op is torch.ops.prims.convert_element_type.default
    integral = not expected.dtype.is_floating_point and expected.dtype != torch.bool
    if MODE == "interpret" or not is_cast or not integral:
        return everywhere
    (source,) = case.tensors().values()
    limit = 2.0 ** (8 * expected.dtype.itemsize - 1)
    return everywhere & source.float().abs().lt(limit).expand(32)


def main() -> None:
    interpreted = MODE == "interpret"
    if interpreted:
        from test import triton_interpreter

        triton_interpreter.install()
    cases = table.CASES
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = load(cases, directory)
        for i, case in enumerate(cases):
            try:
                check(
                    case, getattr(module, f"kernel_{i}"), "cpu" if interpreted else MODE
                )
            except Exception as error:  # every failure is reported by case
                failures[str(case)] = f"{type(error).__name__}: {error}"
    print(json.dumps(failures))


if __name__ == "__main__":
    main()
