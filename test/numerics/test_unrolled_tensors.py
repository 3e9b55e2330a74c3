"""Host values in device code are those of the run: in lists, loops, rebound names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helion import exc
from test import host_name_kernels as kernels
from test.harness import fake_cuda, map_tensors, randn, run, tensors_in

CONTAINERS, REBOUND = kernels.containers(), kernels.rebound()


def results(kernel: Any, args: tuple[Any, ...], way: str) -> list[torch.Tensor]:
    """Return what a kernel returns, or the last tensors of its arguments."""
    own = map_tensors(lambda tensor: tensor.clone(), args)
    result = run(kernel, *own, way=way)
    return tensors_in(own if result is None else result)


@pytest.mark.parametrize("name", CONTAINERS)
def test_tensors_of_containers(name: str, way: str) -> None:
    if way == "compiled" and name in ("of_globals", "of_closure"):
        pytest.skip("tensors of the module are on the CPU")
    kernel, args, expected = CONTAINERS[name]
    found = results(kernel, args, way)[-len(expected) :]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", REBOUND)
def test_names_that_are_rebound(name: str, way: str) -> None:
    kernel, args, expected = REBOUND[name]
    found = results(kernel, args, way)[-len(expected) :]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


def host_code(kernel: Any, args: tuple[Any, ...]) -> str:
    bound = kernel.bind(fake_cuda(args))
    text = bound.to_triton_code(bound.config_spec.default_config())
    return text[text.index(f"\ndef {kernel.fn.__name__}(") :]


def test_a_tensor_of_a_list_is_spelled_with_its_place() -> None:
    kernel, args, _ = CONTAINERS["scatter"]
    text = host_code(kernel, args)
    assert all(f"outs[{i}]" in text for i in range(3)) and "outs[i]" not in text


def test_a_name_is_kept_only_if_it_is_bound_again() -> None:
    kernel, args, _ = REBOUND["old_number"]
    assert "n_kept = n\n" in host_code(kernel, args)
    kernel, args, _ = REBOUND["told_apart"]
    assert "_kept" not in host_code(kernel, args)


def test_turns_of_a_host_loop_that_differ_are_unrolled(way: str) -> None:
    x = randn(8)
    torch.testing.assert_close(run(kernels.halved, x, way=way), x[:2])
    assert not run(kernels.other_word, x, way=way).any()


@pytest.mark.parametrize(
    ("kernel", "kind", "words"),
    [
        (kernels.one_path, exc.CantReadOnDevice, "on one path only"),
        (kernels.other_strides, exc.CantReadOnDevice, "on another path"),
    ],
)
def test_what_one_launch_cannot_know_is_refused(
    kernel: Any, kind: type[exc.Base], words: str
) -> None:
    x = torch.ones(8, 4) if kernel is kernels.other_strides else torch.ones(8)
    with pytest.raises(kind, match=words):
        kernel.bind(fake_cuda((x,)))
