"""What the cost model expects of a bound kernel under a Config, to be read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from helion.autotuner.cost_model import Estimate, LaunchEstimate, estimate
from helion.autotuner.device_facts import DeviceFacts, device_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helion._compiler.choose_indexing import IndexingChoice
    from helion.runtime.bound_kernel import BoundKernel
    from helion.runtime.config import Config


@dataclass(frozen=True)
class Explanation:
    """An estimate with what it is about; ``print`` it, or take ``to_json()``."""

    kernel: str
    device: DeviceFacts
    config: Config
    estimate: Estimate
    operations: tuple[IndexingChoice, ...]

    def __str__(self) -> str:
        total = self.estimate
        lines = [
            f"{self.kernel} on {self.device.arch} with {self.device.sms} "
            f"multiprocessors, {_rate(self.device.bytes_per_s, 'B/s')}: expected "
            f"{total.time_us:.1f} us, floor {total.floor_us:.1f} us",
            f"config: {self.config!r}",
        ]
        if total.reason is not None:
            lines.append(f"cannot be launched: {total.reason}")
        for launch in total.launches:
            lines += _launch_lines(launch)
        if self.operations:
            lines += ["operations:", *(f"  {choice}" for choice in self.operations)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: numbers in bytes, operations and microseconds."""
        device = asdict(self.device)
        return {
            "kernel": self.kernel,
            "device": {**device, "matrix_per_s": dict(device["matrix_per_s"])},
            "config": self.config.to_dict(),
            "estimate": self.estimate.to_dict(),
            "operations": [asdict(choice) for choice in self.operations],
        }

    def to_json(self) -> str:
        """Return the same as a JSON text."""
        return json.dumps(self.to_dict(), indent=2)


def explain(
    bound: BoundKernel, config: Config | Mapping[str, Any] | None
) -> Explanation:
    """Return what is expected of ``bound`` under ``config``; nothing is run."""
    chosen = bound.normalized(config)
    device = device_facts(bound.device)
    found = estimate(bound.facts, device, chosen)
    choices = tuple(bound.indexing_report(chosen))
    return Explanation(bound.name, device, chosen, found, choices)


def _launch_lines(launch: LaunchEstimate) -> list[str]:
    spills = ", spilled" if launch.spills else ""
    programs = f"{launch.programs} programs" if launch.programs != 1 else "1 program"
    parts = ", ".join(f"{name} {us:.1f}" for name, us in launch.parts_us.items() if us)
    return [
        f"launch {launch.name}: expected {launch.time_us:.1f} us, "
        f"floor {launch.floor_us:.1f} us, limited by {launch.limit}",
        f"  {programs}, {launch.occupancy} on a multiprocessor, "
        f"{launch.waves:.2f} waves",
        f"  {launch.registers} registers a thread{spills}, "
        f"{launch.shared_bytes} bytes of shared memory a program",
        f"  {_rate(launch.bytes, 'B')} at the least, {_rate(launch.device_bytes, 'B')} "
        f"expected, {_rate(launch.operations, 'operations')} in products",
        f"  us: {parts}",
    ]


def _rate(value: float, unit: str) -> str:
    """Return a number with a prefix: 1.61 GB."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
