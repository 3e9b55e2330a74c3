"""Compare compiles and emitted text with sizes that remember their symbol, and without.

``python -m benchmarks.specialize_ab`` binds examples with both values of the setting
``specialize_provenance`` in turns and prints the median of the ratios of the turns, in
time of the CPU. Where the emitted text is the same, what runs is the same too.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import record
from benchmarks.compile_time import use_few_cores

if TYPE_CHECKING:
    from helion.runtime.bound_kernel import BoundKernel

SETTING = "specialize_provenance"
GATE = 1.03
NAMES = ("add", "matmul", "softmax", "layer_norm", "layer_norm_bwd", "rms_norm")


@dataclass(frozen=True)
class Pair:
    """Medians of one example with the feature on and off.

    ``ratio`` is the median of on / off over the turns.
    """

    name: str
    shapes: str
    on_ms: float
    off_ms: float
    ratio: float
    same_text: bool


def bound(name: str, is_static: bool, is_on: bool) -> tuple[BoundKernel, float]:
    """Return a kernel that was bound just now, and the CPU seconds of it."""
    import helion
    from examples._catalog import CASES
    from test.harness import fake_cuda

    case = next(case for case in CASES if case.name == name)
    args = fake_cuda(case.make_args("cpu", True))
    settings: dict[str, Any] = {"static_shapes": is_static, SETTING: is_on}
    kernel = helion.kernel(case.kernel.fn, **settings)
    gc.collect()
    gc.disable()
    start = time.process_time()
    found = kernel.bind(args)
    seconds = time.process_time() - start
    gc.enable()
    return found, seconds


def compare(name: str, is_static: bool, repeats: int) -> Pair:
    """Time both sides in turns, the first one changing, so that drift hits both."""
    texts = [bound(name, is_static, on)[0].to_triton_code() for on in (True, False)]
    times: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repeats):
        for is_on in (turn % 2 == 0, turn % 2 == 1):
            times[is_on].append(bound(name, is_static, is_on)[1])
    on_ms, off_ms = (1e3 * statistics.median(times[side]) for side in (True, False))
    ratio = statistics.median(on / off for on, off in zip(times[True], times[False]))
    shapes = "static" if is_static else "dynamic"
    return Pair(name, shapes, on_ms, off_ms, ratio, texts[0] == texts[1])


def main() -> int:
    """Measure, print and write; return 0 if nothing is slower by more than 3 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=41)
    repeats = parser.parse_args().repeats
    use_few_cores()
    pairs = [compare(n, static, repeats) for n in NAMES for static in (True, False)]
    for pair in pairs:
        same = "same text" if pair.same_text else "OTHER TEXT"
        print(
            f"{pair.name:16} {pair.shapes:8} on {pair.on_ms:7.2f} ms  "
            f"off {pair.off_ms:7.2f} ms  x {pair.ratio:.3f}  {same}"
        )
    ratio = statistics.median(pair.ratio for pair in pairs)
    passed = ratio <= GATE and all(pair.same_text for pair in pairs)
    print(f"median of all {ratio:.3f}, gate {GATE}: {'passed' if passed else 'failed'}")
    found = {"ratio": ratio, "gate": GATE, "passed": passed, "repeats": repeats}
    rows = [asdict(pair) for pair in pairs]
    record.write("specialize_ab", {**record.circumstances(), **found, "rows": rows})
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
