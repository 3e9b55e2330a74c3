"""Which launches go through Triton, and which go straight to the compiled kernel."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from triton import knobs
from triton.runtime import driver

from helion.runtime.launcher import DirectLauncher, default_launcher


class FakeLauncher:
    """Looks like Triton's CudaLauncher; ``order`` is that of some version's C call."""

    def __init__(self, launch, order):
        self.launch, self.order, self.seen = launch, order, []
        self.global_scratch_size = self.profile_scratch_size = 0
        self.launch_cooperative_grid = self.launch_pdl = False
        self.num_ctas = 1

    def __call__(self, x, y, z, stream, function, meta, *rest):
        self.seen.append((x, y, z, stream, function, meta, *rest))
        hooks, args = rest[:3], rest[3:]
        head = (x, y, z, stream, function, False, self.launch_pdl)
        if self.order == "3.6":
            self.launch(*head, None, None, meta, *hooks, *args)
        elif self.order == "3.7":
            self.launch(*head, meta, *hooks, None, None, "notes", b"signature", args)
        else:
            self.launch(function, *head[:4], meta, *args)


class FakeDriver:
    device = 0
    backend = "cuda"
    launcher_cls = FakeLauncher

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


class CStart:
    """Stands for the C function: no Python function, and takes down its arguments."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args):
        self.calls.append(args)


@pytest.fixture(params=["3.6", "3.7"])
def loaded(jit, request, monkeypatch):
    """A jit function whose kernels have Triton's launcher, for tensors on a GPU."""
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda self: True))
    jit.start = CStart()
    jit.launcher = FakeLauncher(jit.start, request.param)
    run = jit.run

    def run_and_load(*args, **options):
        kernel = run(*args, **options)
        kernel.run = jit.launcher
        return kernel

    jit.run = run_and_load
    return jit


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


def test_kernels_start_by_the_c_function_with_addresses(loaded):
    x, y = torch.zeros(8), torch.ones(8)
    kernel = launch(loaded, x)
    assert launch(loaded, y, n=48, grid=(3, 2)) is kernel
    (given,) = loaded.start.calls
    assert [args for args in loaded.launcher.seen if args[0] == 3] == []
    loaded.launcher(3, 2, 1, 70, 11, "meta", None, None, None, y.data_ptr(), 48, 64)
    assert given == loaded.start.calls[-1]


def test_overlapping_kernels_start_by_the_c_function_too(loaded):
    loaded.launcher.launch_pdl = True
    x = torch.zeros(8)
    for _ in range(2):
        launch(loaded, x)
    (given,) = loaded.start.calls
    assert given[6] is True


def python_start(*args):
    """Stands for a wrapper that prepares arguments for the C function."""


@pytest.mark.parametrize(
    "change",
    [
        {"global_scratch_size": 128},
        {"profile_scratch_size": 128},
        {"launch_cooperative_grid": True},
        {"num_ctas": 2},
        {"launch": python_start},
        {"order": "unknown"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_extraordinary_kernels_start_by_their_launcher(loaded, change):
    vars(loaded.launcher).update(change)
    x = torch.zeros(8)
    kernel = launch(loaded, x)
    assert launch(loaded, x) is kernel
    (given,) = [args for args in loaded.launcher.seen if args[0] == 2]
    assert given[:9] == (2, 1, 1, 70, 11, "meta", None, None, None)
    assert given[9] is x and given[10:] == (32, 64)


def test_other_launchers_get_the_tensors_themselves(loaded, fake_driver):
    fake_driver.launcher_cls = str
    x = torch.zeros(8)
    for _ in range(2):
        launch(loaded, x)
    (given,) = loaded.launcher.seen
    assert given[9] is x


def test_tensors_outside_the_gpu_are_for_the_launcher_to_refuse(loaded, monkeypatch):
    x = torch.zeros(8)
    launch(loaded, x)
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda self: False))
    for _ in range(2):
        launch(loaded, x)
    assert len(loaded.slow) == 2
    assert loaded.launcher.seen[-1][9] is x


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
    launch(jit, torch.zeros(8))
    for chain in (knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook):
        chain.add(print)
        try:
            launch(jit, torch.zeros(8))
        finally:
            chain.remove(print)
    jit.pre_run_hooks.append(print)
    launch(jit, torch.zeros(8))
    assert counts(jit) == (4, 0)


@pytest.mark.parametrize(
    "name", ["launch_enter_hook", "launch_exit_hook", "add_stages_inspection_hook"]
)
def test_replaced_hooks_see_each_launch(jit, monkeypatch, name):
    launch(jit, torch.zeros(8))
    with monkeypatch.context() as patch:
        patch.setitem(vars(knobs.runtime), name, print)
        launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 0)
    launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 1)


def test_debug_mode_has_its_own_kernels(jit, monkeypatch):
    launch(jit, torch.zeros(8))
    monkeypatch.setitem(vars(knobs.runtime), "debug", True)
    for _ in range(2):
        launch(jit, torch.zeros(8))
    assert counts(jit) == (2, 1)


def test_a_wrong_number_of_arguments_is_left_to_triton(jit):
    launch(jit, torch.zeros(8))
    for args in ((torch.zeros(8), 32), (torch.zeros(8), 32, 64, 64)):
        for _ in range(2):
            default_launcher(jit, (2,), *args, num_warps=4, num_stages=1)
    assert counts(jit) == (5, 0)


def test_torch_is_asked_for_the_device_without_a_detour(fake_driver, monkeypatch):
    def quick() -> int:
        return 5

    monkeypatch.setattr(torch._C, "_cuda_getDevice", quick, raising=False)
    assert DirectLauncher(FakeJit()).get_device() == 0
    fake_driver.get_current_device = torch.cuda.current_device
    assert DirectLauncher(FakeJit()).get_device is quick
    monkeypatch.delattr(torch._C, "_cuda_getDevice")
    assert DirectLauncher(FakeJit()).get_device is torch.cuda.current_device


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
