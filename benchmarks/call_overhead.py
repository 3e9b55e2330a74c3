"""What a call costs the host: kernel object, wrapper, launcher (needs a GPU)."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

import helion
import helion.language as hl
from benchmarks import record


@helion.kernel
def double(x: torch.Tensor, out: torch.Tensor) -> None:
    """Write ``2 * x`` to ``out``: a wrapper that does nothing but launch."""
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * 2


def per_call_us(function: Callable[[], object]) -> float:
    """Return host microseconds of a call: the best of 20 runs of 200 launches."""
    for _ in range(500):
        function()
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(200):
            function()
        best = min(best, (time.perf_counter() - start) / 200)
    return best * 1e6


def measure() -> dict[str, float]:
    """Return microseconds by what is called."""
    x = torch.randn(1024, device="cuda")
    out = torch.empty_like(x)
    bound = double.bind((x, out))
    bound.set_config(helion.Config(block_sizes=[1024]))
    wrapper = bound.compile_config()
    return {
        "kernel(x, out)": per_call_us(lambda: double(x, out)),
        "wrapper(x, out)": per_call_us(lambda: wrapper(x, out)),
        "torch.mul(x, 2, out=out)": per_call_us(lambda: torch.mul(x, 2, out=out)),
    }


def main() -> None:
    """Print and save the cost of a call."""
    times = measure()
    table = Table("call", "us")
    for name, us in times.items():
        table.add_row(name, f"{us:.2f}")
    Console().print(table)
    facts = {**record.circumstances(), "gpu": torch.cuda.get_device_name()}
    record.write("call_overhead", {**facts, "us_per_call": times})


if __name__ == "__main__":
    main()
