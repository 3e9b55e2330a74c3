"""Compare the rounding errors of long float32 reductions with those of torch.

The rows have a mean of 10000 and a deviation of 1, which a variance from sums of
squares does not survive. Without a GPU the emitted code is interpreted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import helion
from benchmarks import record
from test import reduction_kernels as kernels
from test.harness import run

ROWS = 8
MEAN = 1e4
LENGTHS = (1000, 100_000, 4_000_000)
INTERPRETED = LENGTHS[:2]


@dataclass(frozen=True)
class Method:
    """One way to compute a reduction; ``compute`` takes the rows and a chunk size."""

    name: str
    reduction: str
    compute: Callable[[torch.Tensor, int, str], torch.Tensor]


def by_torch(reduction: str, x: torch.Tensor) -> torch.Tensor:
    """Return the first result of torch, in the dtype of the rows."""
    return kernels.along(reduction, 1)(x)[0]


def _default(reduction: str) -> Callable[[torch.Tensor, int, str], torch.Tensor]:
    def compute(x: torch.Tensor, chunk: int, way: str) -> torch.Tensor:
        return _of_tiles(reduction, x, way, None)

    return compute


def _looped(reduction: str) -> Callable[[torch.Tensor, int, str], torch.Tensor]:
    def compute(x: torch.Tensor, chunk: int, way: str) -> torch.Tensor:
        config = helion.Config(block_sizes=[1], reduction_loops=[chunk])
        return _of_tiles(reduction, x, way, config)

    return compute


def _of_tiles(
    reduction: str, x: torch.Tensor, way: str, config: helion.Config | None
) -> torch.Tensor:
    fold = kernels.along(reduction, 1)
    outs = kernels.poisoned_like(fold(x[:, :2]))
    return run(kernels.of_tiles, x, fold, outs, way=way, config=config)[0]


def _two_passes(x: torch.Tensor, chunk: int, way: str) -> torch.Tensor:
    config = helion.Config(block_sizes=[1, chunk, chunk])
    out = torch.full([x.size(0)], torch.nan)
    return run(kernels.two_pass_variance, x, out, 1, way=way, config=config)


METHODS = (
    Method("sum", "sum", _default("sum")),
    Method("mean", "mean", _default("mean")),
    Method("var, default config", "var", _default("var")),
    Method("var, one pass over chunks", "var", _looped("var")),
    Method("var, two passes", "var", _two_passes),
    Method("logsumexp, default config", "logsumexp", _default("logsumexp")),
    Method("logsumexp, one pass over chunks", "logsumexp", _looped("logsumexp")),
)


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the largest relative error among the rows."""
    return ((found.double().cpu() - exact) / exact).abs().max().item()


def measure(length: int, way: str) -> list[dict[str, Any]]:
    """Return the errors of every method for rows of one length."""
    torch.manual_seed(0)
    x = torch.randn(ROWS, length) + MEAN
    mine = x.cuda() if way == "compiled" else x
    chunk = min(4096, 1 << (length // 4).bit_length())
    rows = []
    for method in METHODS:
        exact = by_torch(method.reduction, x.double())
        row = {
            "length": length,
            "method": method.name,
            "helion": error(method.compute(x, chunk, way), exact),
            "torch": error(by_torch(method.reduction, mine), exact),
        }
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the errors as a Markdown table."""
    lines = ["| reduction | length | helion | torch |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        errors = f"{row['helion']:.1e} | {row['torch']:.1e}"
        lines.append(f"| {row['method']} | {row['length']:,} | {errors} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = record.results_folder() / "reduction_errors.json"
    parser.add_argument("--json", type=Path, default=default)
    path = parser.parse_args().json
    has_gpu = torch.cuda.is_available()
    way = "compiled" if has_gpu else "interpreted"
    rows = [
        row for n in (LENGTHS if has_gpu else INTERPRETED) for row in measure(n, way)
    ]
    found = {
        **record.circumstances(),
        "gpu": torch.cuda.get_device_name() if has_gpu else "none",
        "way": way,
        "rows": ROWS,
        "data": f"{MEAN:g} + randn, float32; largest relative error of the rows",
        "errors": rows,
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
