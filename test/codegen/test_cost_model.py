"""The cost model's resources beside assembled kernels, and what it makes of facts."""

from __future__ import annotations

import pytest
import torch

import helion
from helion.autotuner.cost_model import estimate, resource_estimates
from helion.autotuner.device_facts import offline_facts
from helion.autotuner.resource_model import register_class
from helion.runtime.bound_kernel import BoundKernel
from test.codegen.emitted import KERNELS, bind, bind_case
from test.harness import offline

# Examples that stand for what moves through shared memory: nothing, folds, operands in
# buffers and without, other layouts, splits.
CASES = [
    "add",
    "add_broadcast",
    "swiglu",
    "layer_norm",
    "layer_norm_bwd_dwdb_long",
    "softmax",
    "matmul",
    "bmm",
    "matmul_int8_weight",
    "attention",
    "attention_biased",
    "conv2d",
]


def assert_resources(name: str, arch: str, config: helion.Config | None = None) -> None:
    """Hold the model to what the assembler says of every launch of an example."""
    case, bound = KERNELS[name], bind_case(name)
    chosen = bound.normalized(config)
    args = case.make_args("cpu", True)
    found = offline(case.kernel, *args, config=chosen, arch=arch)
    needs = resource_estimates(bound.facts, offline_facts(arch), chosen)
    assert len(found) == len(needs)
    for kernel, need in zip(found, needs):
        slack = max(0.05 * kernel.shared_bytes, 1024)
        assert abs(need.shared_bytes - kernel.shared_bytes) <= slack
        assert need.spills == bool(kernel.spill_bytes)


@pytest.mark.parametrize("name", CASES)
def test_shared_memory_is_as_assembled(name: str) -> None:
    assert_resources(name, "sm_90")


@pytest.mark.parametrize("arch", ["sm_80", "sm_100"])
@pytest.mark.parametrize("name", ["matmul", "layer_norm_bwd_dwdb_long"])
def test_shared_memory_follows_the_chip(name: str, arch: str) -> None:
    assert_resources(name, arch)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_stages": 1},
        {"num_stages": 5, "num_warps": 8},
        {"block_sizes": [16, 32, 16], "num_stages": 3},
        {"range_unroll_factors": [2, 0], "num_stages": 3},
    ],
    ids=str,
)
def test_shared_memory_follows_the_config(changes: dict) -> None:
    config = {**bind_case("matmul").config_spec.default_config(), **changes}
    assert_resources("matmul", "sm_90", helion.Config(**config))


@pytest.mark.parametrize("name", ["add", "layer_norm", "matmul", "attention"])
def test_registers_are_of_the_class(name: str) -> None:
    case, bound = KERNELS[name], bind_case(name)
    config = bound.normalized(None)
    args = case.make_args("cpu", True)
    (kernel,) = offline(case.kernel, *args, config=config)
    (need,) = resource_estimates(bound.facts, offline_facts(), config)
    # One class apart is what the sum of live values can promise.
    classes = [64, 128, 168, 255]
    assert kernel.registers is not None
    own, model = register_class(kernel.registers), need.register_class
    assert abs(classes.index(own) - classes.index(model)) <= 1


# ---- what is counted -----------------------------------------------------------------


def large_matmul() -> BoundKernel:
    """Return a product of 4096 x 4096 matrices of bf16, bound without memory."""
    x = torch.empty(4096, 4096, dtype=torch.bfloat16, device="meta")
    return bind(KERNELS["matmul"].kernel, x, x)


def test_floor_is_bytes_or_operations() -> None:
    bound, device = large_matmul(), offline_facts("sm_90")
    found = estimate(bound.facts, device, bound.normalized(None))
    assert found.operations == 2 * 4096**3
    assert found.bytes == 3 * 4096 * 4096 * 2
    assert found.floor_us == pytest.approx(
        1e6 * found.operations / device.matrix_rate(2)
    )
    assert found.time_us > found.floor_us


def test_too_much_shared_memory_is_a_reason() -> None:
    bound = large_matmul()
    config = bound.normalized({"block_sizes": [256, 256, 128], "num_stages": 5})
    found = estimate(bound.facts, offline_facts("sm_90"), config)
    assert not found.legal
    assert found.reason is not None
    assert "shared memory" in found.reason


def test_smaller_tiles_move_more_through_the_cache() -> None:
    bound, device = large_matmul(), offline_facts("sm_90")

    def cache_us(blocks: list[int]) -> float:
        config = bound.normalized({"block_sizes": blocks, "num_warps": 4})
        (launch,) = estimate(bound.facts, device, config).launches
        return launch.parts_us["cache"]

    assert cache_us([64, 64, 64]) > 1.8 * cache_us([128, 128, 64])


def test_no_product_no_operations() -> None:
    bound = bind_case("softmax")
    found = estimate(bound.facts, offline_facts(), bound.normalized(None))
    assert found.operations == 0
    assert found.bytes > 0


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_example_can_be_estimated(name: str) -> None:
    bound = bind_case(name)
    config = bound.normalized(None)
    for arch in ("sm_80", "sm_90", "sm_100", "gfx942"):
        found = estimate(bound.facts, offline_facts(arch), config)
        assert found.time_us >= found.floor_us >= 0
        assert found.legal or arch != "sm_90"
