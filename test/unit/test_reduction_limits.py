"""The cap on elements of a block: its setting, its error, its remarks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import helion
from helion import exc
from helion.runtime.launcher import default_launcher
from test.codegen.emitted import bind, meta
from test.long_kernels import stuck_sum, weight_grads

M, N, CAP = 1_152_000, 16, 1_048_576
BIND = """
import helion
from test.codegen.emitted import bind, meta
from test.long_kernels import weight_grads
bound = bind(weight_grads, meta({m}, 16), meta({m}, 16), meta({m}), meta({m}))
bound.to_triton_code()
print(helion.metrics()["iota_rewrites"])
"""


@pytest.fixture(scope="module")
def bound():
    return bind(weight_grads, meta(M, N), meta(M, N), meta(M), meta(M))


def run_python(program: str, **variables: str) -> tuple[str, str]:
    """Return what a program prints to stdout and to stderr."""
    names = ("HELION_", "TORCH_LOGS")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **clean,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip(), result.stderr


def test_the_usual_cap_is_that_of_triton():
    from triton._utils import TRITON_MAX_TENSOR_NUMEL

    assert helion.Settings().max_triton_tensor_numel == CAP == TRITON_MAX_TENSOR_NUMEL


@pytest.mark.parametrize("shape", [(CAP,), (1024, 1024), (1, CAP), (), (0, 2**30)])
def test_a_block_at_the_cap_passes(bound, shape):
    bound.env.ensure_tensor_within_triton_limit(shape)


@pytest.mark.parametrize("shape", [(CAP + 1,), (2048, 1024), [2**21], (2, CAP)])
def test_a_block_above_the_cap_is_refused(bound, shape):
    with pytest.raises(exc.HelionReductionTooLarge, match=str(CAP)):
        bound.env.ensure_tensor_within_triton_limit(shape)


@pytest.mark.parametrize(
    "config, size",
    [
        ({"block_sizes": [16], "reduction_loops": [2**21]}, 2**21),
        ({"block_sizes": [16], "reduction_loops": [2**20]}, 2**24),
        ({"block_sizes": [1], "reduction_loops": [None]}, 2**21),
        ({"block_sizes": [16], "reduction_loops": [2**17]}, 2**21),
    ],
    ids=str,
)
def test_the_error_names_axis_size_cap_and_two_fixes(bound, config, size):
    with pytest.raises(exc.HelionReductionTooLarge) as caught:
        bound.to_triton_code(config)
    text = str(caught.value)
    for part in ("reduction_loops[0] (block id 1)", str(size), str(CAP)):
        assert part in text
    assert "lower reduction_loops or block_sizes" in text
    assert "raise settings.max_triton_tensor_numel" in text


def test_an_axis_that_cannot_be_walked_says_so():
    with pytest.raises(exc.HelionReductionTooLarge, match="cannot be walked in chunks"):
        bind(stuck_sum, meta(3, 2**21)).config_spec.default_config()


def test_emission_checks_blocks_that_the_spec_does_not_know(bound):
    spec = bound.config_spec
    known, spec.tensor_shapes = spec.tensor_shapes, []
    try:
        with pytest.raises(exc.HelionReductionTooLarge) as caught:
            bound.to_triton_code({"block_sizes": [16], "reduction_loops": [2**17]})
    finally:
        spec.tensor_shapes = known
    assert "(block id 1)" in str(caught.value) and str(2**21) in str(caught.value)
    assert "weight_grads" in str(caught.value)


class TooLarge:
    """A jit function whose compiler refuses a block, as Triton does."""

    __name__ = "kernel"

    def __getitem__(self, grid):
        return self.run

    def run(self, *args, **options):
        raise ValueError(
            "numel (2097152) exceeds triton maximum tensor numel (1048576)"
        )


def test_what_triton_refuses_at_a_call_is_a_clear_error():
    with pytest.raises(exc.HelionReductionTooLarge, match="2097152 elements") as caught:
        default_launcher(TooLarge(), (1,), num_warps=4, num_stages=1)
    assert isinstance(caught.value.__cause__, ValueError)


# -- remarks --------------------------------------------------------------------------


def test_debug_counts_and_names_the_ranges_that_became_an_index():
    count, remarks = run_python(BIND.format(m=M), HELION_DEBUG="1")
    assert int(count) == 1
    assert remarks.splitlines() == [
        "[helion] ranges that became the index of a loop: arange along axis 1"
    ]


def test_nothing_is_printed_or_counted_without_debug():
    assert run_python(BIND.format(m=M)) == ("0", "")
