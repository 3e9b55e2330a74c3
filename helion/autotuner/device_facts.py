"""What a GPU can do, read from the device, known of its architecture, or measured.

Nothing here depends on the name of a product: limits follow the compute capability,
rates follow it times the number of multiprocessors and the clock. Only ``measure()``
runs anything; what it finds is kept on disk and used from then on.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Without a GPU, what is estimated is one of this architecture.
DEFAULT_ARCH = "sm_90"
KIB = 1024


@dataclass(frozen=True)
class Architecture:
    """What all chips of one compute capability share; rates are per clock and SM.

    ``matrix`` gives dense multiply-add pairs by the bytes of an operand; ``dot`` is the
    generation of the instructions that Triton uses for products.
    """

    shared_per_block: int
    shared_per_sm: int
    threads_per_sm: int
    blocks_per_sm: int
    matrix: dict[int, int]
    lanes: int
    special: int
    dot: int
    registers_per_sm: int = 65536
    warp_size: int = 32


# NVIDIA's and AMD's tables of limits by compute capability (CUDA programming guide,
# "Technical Specifications per Compute Capability"; CDNA3 ISA), and multiply-adds a
# clock and SM from the same generations' white papers.
_AMPERE = {1: 2048, 2: 1024, 4: 512}
_HOPPER = {1: 4096, 2: 2048, 4: 1024}
_BLACKWELL = {1: 8192, 2: 4096, 4: 2048}
ARCHITECTURES: dict[str, Architecture] = {
    "sm_75": Architecture(64 * KIB, 64 * KIB, 1024, 16, {1: 1024, 2: 512}, 64, 16, 2),
    "sm_80": Architecture(163 * KIB, 164 * KIB, 2048, 32, _AMPERE, 64, 16, 2),
    "sm_86": Architecture(99 * KIB, 100 * KIB, 1536, 16, _AMPERE, 128, 16, 2),
    "sm_89": Architecture(99 * KIB, 100 * KIB, 1536, 24, _AMPERE, 128, 16, 2),
    "sm_90": Architecture(227 * KIB, 228 * KIB, 2048, 32, _HOPPER, 128, 16, 3),
    "sm_100": Architecture(227 * KIB, 228 * KIB, 2048, 32, _BLACKWELL, 128, 16, 5),
    "sm_120": Architecture(99 * KIB, 100 * KIB, 1536, 24, _AMPERE, 128, 16, 2),
    "gfx942": Architecture(
        64 * KIB, 64 * KIB, 2048, 32, {1: 2048, 2: 1024, 4: 128}, 64, 16, 4, 131072, 64
    ),
}
# Chips to estimate for where there is none: (SMs, clock GHz, bytes/s, L2 bytes).
_OFFLINE: dict[str, tuple[int, float, float, int]] = {
    "sm_80": (108, 1.41, 1.75e12, 40 << 20),
    "sm_90": (132, 1.75, 4.3e12, 50 << 20),
    "sm_100": (148, 1.85, 6.9e12, 126 << 20),
    "gfx942": (304, 2.1, 4.3e12, 256 << 20),
}


@dataclass(frozen=True)
class DeviceFacts:
    """One device; rates are what can be reached, in bytes or operations a second.

    ``is_measured``: the two rates were measured on it, not computed.
    """

    arch: str
    sms: int
    clock_hz: float
    l2_bytes: int
    bytes_per_s: float
    matrix_per_s: dict[int, float]
    is_measured: bool = False

    @property
    def limits(self) -> Architecture:
        """What its architecture allows and does per clock."""
        return ARCHITECTURES[self.arch]

    def matrix_rate(self, itemsize: int) -> float:
        """Return operations a second of products of operands of so many bytes."""
        known = self.matrix_per_s
        return known.get(itemsize) or known[min(known, key=lambda k: abs(k - itemsize))]

    def __hash__(self) -> int:
        return hash((self.arch, self.sms, self.bytes_per_s))


# Of the peak: what a large product of random data reaches (power, not the units, is
# the limit: 0.72 to 0.8 of it on an H200, benchmarks/results/gpu_nvidia_h200.json).
_MATRIX_SHARE = 0.78
# Copies reach 0.89 of the product of memory clock and bus width (same file).
_MEMORY_SHARE = 0.89


def offline_facts(arch: str = DEFAULT_ARCH) -> DeviceFacts:
    """Return facts of a typical chip of an architecture, without one."""
    sms, ghz, bytes_per_s, l2 = _OFFLINE.get(arch, _OFFLINE[DEFAULT_ARCH])
    return DeviceFacts(arch, sms, ghz * 1e9, l2, bytes_per_s, _rates(arch, sms, ghz))


def _rates(arch: str, sms: int, ghz: float) -> dict[int, float]:
    per_clock = ARCHITECTURES[arch].matrix
    scale = 2 * sms * ghz * 1e9 * _MATRIX_SHARE
    return {size: pairs * scale for size, pairs in per_clock.items()}


def device_facts(device: torch.device | str = "cuda") -> DeviceFacts:
    """Return the facts of a device; of a typical sm_90 chip where there is none."""
    return _facts_of(str(device))


@functools.cache
def _facts_of(name: str) -> DeviceFacts:
    device = torch.device(name)
    if device.type != "cuda" or not torch.cuda.is_available():
        return offline_facts()
    props = torch.cuda.get_device_properties(device)
    measured = _read_cache(_cache_path(props))
    return measured or _facts_from(props)


def architecture_of(props: Any) -> str:
    """Return the name of the nearest known architecture of a device."""
    if getattr(torch.version, "hip", None):
        return "gfx942"
    capability = props.major * 10 + props.minor
    known = sorted(int(a[3:]) for a in ARCHITECTURES if a.startswith("sm_"))
    return f"sm_{max((c for c in known if c <= capability), default=known[0])}"


def _facts_from(props: Any) -> DeviceFacts:
    arch = architecture_of(props)
    base = offline_facts(arch)
    sms = props.multi_processor_count
    ghz = getattr(props, "clock_rate", 0) / 1e6 or base.clock_hz / 1e9
    l2 = getattr(props, "L2_cache_size", 0) or base.l2_bytes
    width = getattr(props, "memory_bus_width", 0)
    khz = getattr(props, "memory_clock_rate", 0)
    # Two transfers a clock; the clock is in kHz, the width in bits.
    bytes_per_s = 2e3 * khz * width / 8 * _MEMORY_SHARE or base.bytes_per_s
    # Under load clocks stay below the highest one.
    busy_ghz = min(ghz, max(base.clock_hz / 1e9, 0.88 * ghz))
    rates = _rates(arch, sms, busy_ghz)
    return DeviceFacts(arch, sms, busy_ghz * 1e9, l2, bytes_per_s, rates)


# -- measuring -------------------------------------------------------------------------


def measure(device: torch.device | str = "cuda") -> DeviceFacts:
    """Measure bandwidth and matrix rate of a GPU (under 100 ms), and remember them.

    Without a GPU the facts are those of ``device_facts``.
    """
    target = torch.device(device)
    if target.type != "cuda" or not torch.cuda.is_available():
        return device_facts(device)
    props = torch.cuda.get_device_properties(target)
    facts = _facts_from(props)
    found = dataclasses.replace(
        facts,
        bytes_per_s=_copy_rate(target, facts),
        matrix_per_s=_matrix_rates(target, facts),
        is_measured=True,
    )
    _write_cache(_cache_path(props), found)
    _facts_of.cache_clear()
    return found


def _copy_rate(device: torch.device, facts: DeviceFacts) -> float:
    numel = 8 * facts.l2_bytes
    source = torch.empty(numel, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    ms = _best_ms(lambda: target.copy_(source), device)
    return 2 * numel / ms * 1e3


def _matrix_rates(device: torch.device, facts: DeviceFacts) -> dict[int, float]:
    size = 4096
    a, b = (
        torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2)
    )
    ms = _best_ms(lambda: torch.mm(a, b), device)
    scale = 2 * size**3 / ms * 1e3 / facts.matrix_rate(2)
    return {item: rate * scale for item, rate in facts.matrix_per_s.items()}


def _best_ms(run: Any, device: torch.device, repeats: int = 5) -> float:
    """Return the least time of a few runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        times.append(start.elapsed_time(end))
    return min(times)


# -- the cache -------------------------------------------------------------------------


def _cache_path(props: Any) -> Path:
    root = os.environ.get("HELION_CACHE_DIR")
    base = Path(root) if root else Path.home() / ".cache" / "helion"
    words = [architecture_of(props), props.multi_processor_count, props.total_memory]
    return base / "devices" / f"{'_'.join(map(str, words))}.json"


def _read_cache(path: Path) -> DeviceFacts | None:
    try:
        values = json.loads(path.read_text())
        rates = {int(k): float(v) for k, v in values.pop("matrix_per_s").items()}
        return DeviceFacts(**values, matrix_per_s=rates)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(path: Path, facts: DeviceFacts) -> None:
    """Replace the file at once, so that a reader sees all of it or the old one."""
    text = json.dumps(dataclasses.asdict(facts), indent=2)
    part = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
