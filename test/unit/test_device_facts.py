"""Facts of devices: by architecture, from properties, measured and remembered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helion.autotuner import device_facts as facts_module
from helion.autotuner.device_facts import (
    ARCHITECTURES,
    architecture_of,
    device_facts,
    measure,
    offline_facts,
)

GIB = 1 << 30


def properties(**changes: object) -> SimpleNamespace:
    """Return what torch tells of a GPU of capability 9.0."""
    known = {
        "major": 9,
        "minor": 0,
        "multi_processor_count": 132,
        "clock_rate": 1_980_000,
        "memory_clock_rate": 3_201_000,
        "memory_bus_width": 6144,
        "L2_cache_size": 60 << 20,
        "total_memory": 141 * GIB,
    }
    return SimpleNamespace(**{**known, **changes})


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_offline_chips_have_all_facts(arch: str) -> None:
    found = offline_facts(arch)
    assert found.limits is ARCHITECTURES[arch]
    assert found.matrix_rate(2) > found.matrix_rate(4) > 0
    assert found.limits.shared_per_block <= found.limits.shared_per_sm


def test_without_a_gpu_it_is_a_typical_chip() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert device_facts("cuda") == device_facts("cpu") == offline_facts("sm_90")
    assert measure("cuda") == offline_facts("sm_90")


@pytest.mark.parametrize(
    "capability, arch",
    [((8, 0), "sm_80"), ((8, 7), "sm_86"), ((9, 0), "sm_90"), ((10, 3), "sm_100")],
)
def test_the_nearest_older_architecture_counts(
    capability: tuple[int, int], arch: str
) -> None:
    major, minor = capability
    assert architecture_of(properties(major=major, minor=minor)) == arch


def test_bandwidth_is_memory_clock_times_bus_width() -> None:
    found = facts_module._facts_from(properties())
    # 2 * 3.201 GHz * 768 bytes is 4.9 TB/s, of which copies reach 0.89.
    assert found.bytes_per_s == pytest.approx(4.37e12, rel=0.01)
    assert found.sms == 132
    assert found.l2_bytes == 60 << 20


def test_twice_the_multiprocessors_twice_the_rate() -> None:
    one = facts_module._facts_from(properties())
    two = facts_module._facts_from(properties(multi_processor_count=264))
    assert two.matrix_rate(2) == pytest.approx(2 * one.matrix_rate(2))


def test_what_was_measured_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELION_CACHE_DIR", str(tmp_path))
    path = facts_module._cache_path(properties())
    assert facts_module._read_cache(path) is None
    facts_module._write_cache(path, offline_facts("sm_90"))
    assert facts_module._read_cache(path) == offline_facts("sm_90")
    path.write_text("{}")
    assert facts_module._read_cache(path) is None


@pytest.mark.gpu
def test_measured_rates_are_near_the_computed_ones() -> None:
    computed = facts_module._facts_from(torch.cuda.get_device_properties(0))
    found = measure("cuda")
    assert found.is_measured
    assert found.bytes_per_s == pytest.approx(computed.bytes_per_s, rel=0.25)
    assert found.matrix_rate(2) == pytest.approx(computed.matrix_rate(2), rel=0.35)
