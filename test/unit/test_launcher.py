"""Which launches go through Triton, and which go straight to the compiled kernel."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from triton.runtime import driver

from helion.runtime.launcher import default_launcher


class FakeDriver:
    device = 0
    backend = "cuda"

    def get_current_device(self):
        return self.device

    def get_current_stream(self, device):
        return 70 + device

    def get_current_target(self):
        return SimpleNamespace(backend=self.backend)


class FakeJit:
    """Looks like a triton.jit function of (x, n, BLOCK: constexpr)."""

    def __init__(self):
        self.params = [SimpleNamespace(is_constexpr=c) for c in (False, False, True)]
        self.pre_run_hooks = []
        self.used_global_vals = {}
        self.slow, self.fast = [], []

    def run(self, *args, grid, warmup, **options):
        assert not warmup
        self.slow.append((args, grid, options))
        return SimpleNamespace(
            run=lambda *a: self.fast.append(a), function=11, packed_metadata="meta"
        )


@pytest.fixture
def fake_driver(monkeypatch):
    fake = FakeDriver()
    monkeypatch.setattr(driver, "_active", fake)
    return fake


@pytest.fixture
def jit(fake_driver):
    return FakeJit()


def launch(jit, x, n=32, block=64, grid=(2,), num_warps=4, num_stages=1, **options):
    options.update(num_warps=num_warps, num_stages=num_stages)
    return default_launcher(jit, grid, x, n, block, **options)


def counts(jit):
    return len(jit.slow), len(jit.fast)


def misaligned(size=8) -> Tensor:
    return torch.zeros(size + 1)[1:]


def test_second_launch_calls_the_kernel_itself(jit):
    x, y = torch.zeros(8), torch.ones(8)
    first, second = launch(jit, x), launch(jit, y, n=48, grid=(3, 2))
    assert first is second
    assert jit.slow == [((x, 32, 64), (2,), {"num_warps": 4, "num_stages": 1})]
    ((*where, arg, n, block),) = jit.fast
    assert where == [3, 2, 1, 70, 11, "meta", None, None, None]
    assert (arg is y, n, block) == (True, 48, 64)


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.zeros(8, dtype=torch.int32)},
        {"x": misaligned()},
        {"n": 1},
        {"n": 33},
        {"n": 2**31},
        {"n": 2**63},
        {"n": True},
        {"n": 32.0},
        {"n": None},
        {"block": 128},
        {"block": 64.0},
        {"block": True},
        {"num_warps": 8},
        {"num_stages": 2},
        {"maxnreg": 128},
    ],
    ids=str,
)
def test_other_facts_go_through_triton_once(jit, change):
    launch(jit, torch.zeros(8))
    arguments = {"x": torch.zeros(8), **change}
    launch(jit, **arguments)
    assert counts(jit) == (2, 0)
    launch(jit, **arguments)
    launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 2)


def test_values_that_look_equal_are_told_apart(jit):
    for block in (1, True, 1.0, 0.0, -0.0):
        launch(jit, torch.zeros(8), block=block)
    assert counts(jit) == (5, 0)


def test_each_device_has_its_own_kernels(jit, fake_driver):
    launch(jit, torch.zeros(8))
    fake_driver.device = 1
    launch(jit, torch.zeros(8))
    launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 1)
    assert jit.fast[0][3] == 71


def test_empty_grid_launches_nothing(jit):
    assert launch(jit, torch.zeros(0), grid=(4, 0)) is None
    assert counts(jit) == (0, 0)


class OddTensor(Tensor):
    pass


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.zeros(8).as_subclass(OddTensor)},
        {"x": "text"},
        {"n": (1, 2)},
        {"block": torch.float32},
        {"extern_libs": {"a": "b"}},
    ],
    ids=str,
)
def test_unknown_values_always_go_through_triton(jit, change):
    for _ in range(3):
        launch(jit, **{"x": torch.zeros(8), **change})
    assert counts(jit) == (3, 0)


def test_globals_read_by_the_kernel_are_left_to_triton(jit):
    jit.used_global_vals = {("BLOCK", 1): (3, {})}
    for _ in range(2):
        launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 0)


def test_hooks_see_each_launch(jit):
    from triton import knobs

    launch(jit, torch.zeros(8))
    hook = print
    knobs.runtime.launch_enter_hook.add(hook)
    try:
        launch(jit, torch.zeros(8))
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    jit.pre_run_hooks.append(hook)
    launch(jit, torch.zeros(8))
    assert counts(jit) == (3, 0)


def test_other_targets_go_through_triton(jit, fake_driver):
    fake_driver.backend = "hip"
    for _ in range(2):
        launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 0)


def test_unloadable_results_go_through_triton(jit):
    jit.run = lambda *args, grid, warmup, **options: jit.slow.append(args)
    for _ in range(2):
        assert launch(jit, torch.zeros(8)) is None
    assert counts(jit) == (2, 0)


def test_unknown_functions_are_called_as_triton_does():
    calls = []

    class Interpreted:
        def __getitem__(self, grid):
            return lambda *args, **options: calls.append((grid, args, options))

    default_launcher(Interpreted(), (2,), 5, num_warps=4, num_stages=3)
    assert calls == [((2,), (5,), {"num_warps": 4, "num_stages": 3})]
