"""Hard kernels agree with plain Python under the default and under random Configs."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import helion
from test import harness
from test.hard_kernels import CASES

TOLERANCE = {torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 3e-2}
LOOSE = ("mm_relu", "bmm_grid")


def assert_same(found: Any, wanted: Any, name: str) -> None:
    """Compare results of any structure."""
    mine, theirs = harness.tensors_in((found,)), harness.tensors_in((wanted,))
    for left, right in zip(mine, theirs, strict=True):
        tolerance = 2e-2 if name in LOOSE else TOLERANCE.get(right.dtype, 0.0)
        torch.testing.assert_close(
            left.cpu(), right.cpu(), rtol=tolerance, atol=tolerance, equal_nan=True
        )


@pytest.mark.parametrize("static_shapes", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_plain_python(way: str, name: str, static_shapes: bool) -> None:
    kernel, make_args = CASES[name]
    kernel = helion.kernel(kernel.fn, static_shapes=static_shapes)
    args = make_args()
    wanted = kernel.fn(*harness.map_tensors(lambda t: harness.copy_to(t, "cpu"), args))
    spec = kernel.bind(args).config_spec
    configs = [None, *(spec.random_config(random.Random(seed)) for seed in range(2))]
    for config in configs if way in ("interpreted", "compiled") else [None]:
        mine = harness.map_tensors(lambda t: harness.copy_to(t, "cpu"), args)
        settings = {"static_shapes": static_shapes}
        found = harness.run(kernel, *mine, way=way, config=config, **settings)
        assert_same(found, wanted, name)
