"""Where the host time of one call goes: dispatch, wrapper, launcher (needs a GPU)."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Callable

import torch

import helion
import helion.language as hl


@helion.kernel
def double(x: torch.Tensor, out: torch.Tensor) -> None:
    """Write ``2 * x`` to ``out``: a wrapper that does nothing but launch."""
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * 2


def per_call_us(function: Callable[[], object], count: int = 20_000) -> float:
    """Return host microseconds of a call, with the queue drained in between."""
    for _ in range(200):
        function()
    best = float("inf")
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(200):
            function()
        best = min(best, (time.perf_counter() - start) / 200)
    return best * 1e6


def main() -> None:
    """Print microseconds per call, and a profile of the call."""
    x = torch.randn(1024, device="cuda")
    out = torch.empty_like(x)
    wrapper = double.bind((x, out)).compile_config()
    print(f"kernel(x, out):   {per_call_us(lambda: double(x, out)):.2f} us")
    print(f"wrapper(x, out):  {per_call_us(lambda: wrapper(x, out)):.2f} us")
    print(f"torch.mul(out=):  {per_call_us(lambda: torch.mul(x, 2, out=out)):.2f} us")
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(2000):
        double(x, out)
    profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(14)
    print(text.getvalue())


if __name__ == "__main__":
    main()
