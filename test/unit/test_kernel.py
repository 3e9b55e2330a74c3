"""``@helion.kernel``: decoration, dispatch, eager calls, and what a bound kernel does.

The compiler is replaced by a stub that counts and emits modules without Triton.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
import types
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import helion
import helion._compiler
import helion.language as hl
from helion import exc
from helion.autotuner.config_spec import BlockSizeSpec, ConfigSpec

counters = helion.metrics.counts


def costs() -> dict[str, int]:
    """Return how often each costly step has run."""
    return {name: counters[name] for name in ("binds", "stage1", "stage2")}


def add(x: torch.Tensor, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """Return ``x + scale * y``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + scale * y[tile]
    return out


def tile_lengths(x: torch.Tensor) -> list[int]:
    found = []
    for tile in hl.tile(x.size(0)):
        found.append(tile.end - tile.begin)
    return found


def repeat(x: torch.Tensor, n: hl.constexpr) -> list[object]:
    for _ in hl.tile(x.size(0)):
        pass
    return [type(n), n]


@dataclass
class StubProgram:
    """Stage 1 of a kernel whose module returns its config and arguments."""

    name: str
    params: str
    arguments: tuple[Any, ...] = ()
    guards: str = ""
    guard_values: tuple[Any, ...] = ()
    closure: dict[str, object] = field(default_factory=dict)

    @property
    def env(self) -> Any:
        spec = ConfigSpec(block_sizes=[BlockSizeSpec(0, 1024)])
        return types.SimpleNamespace(config_spec=spec)

    def default_config(self) -> helion.Config:
        return self.env.config_spec.default_config()

    def written_places(self, fakes: tuple[torch.Tensor, ...]) -> frozenset[int]:
        return frozenset()

    def generate(self, config: helion.Config) -> str:
        closure = "_closure, " if self.closure else ""
        value = ", _closure" if self.closure else ""
        return (
            f"def {self.name}({self.params}, *, {closure}_launcher=None):\n"
            f"    return {config.block_sizes}, ({self.params},){value}\n"
        )


class StubPipeline(types.ModuleType):
    """Stands in for the compiler; ``change`` edits a program, or raises."""

    def compile_function(self, fn: Any, args: Any, settings: Any) -> StubProgram:
        program = StubProgram(
            fn.__name__, ", ".join(fn.__code__.co_varnames[: len(args)])
        )
        self.change(program, args)
        return program

    def change(self, program: StubProgram, args: tuple[Any, ...]) -> None:
        """Do nothing unless a test says otherwise."""


@pytest.fixture(autouse=True)
def pipeline(monkeypatch):
    stub = StubPipeline("helion._compiler.pipeline")
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    monkeypatch.setattr(helion._compiler, "pipeline", stub, raising=False)
    counters.clear()
    return stub


@pytest.fixture
def emitted(monkeypatch):
    """Make calls on CPU tensors run the emitted module."""
    # What reads the variable at import must not see it: other tests share the process.
    for name in ("triton", "torch._inductor.codecache"):
        importlib.import_module(name)
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def vector(size: int = 8) -> torch.Tensor:
    return torch.arange(float(size))


# ---- decoration ----


@pytest.mark.parametrize(
    "decorate",
    [
        helion.kernel,
        helion.kernel(),
        helion.jit(static_shapes=False),
        lambda fn: helion.kernel(fn, config=helion.Config(block_sizes=[4])),
        helion.kernel(config={"block_sizes": [4]}),
        helion.kernel(settings=helion.Settings(static_shapes=False)),
    ],
)
def test_forms_of_the_decorator(decorate):
    kernel = decorate(add)
    assert isinstance(kernel, helion.Kernel)
    torch.testing.assert_close(kernel(vector(), vector()), 2 * vector())


@pytest.mark.parametrize("name", ["config", "configs"])
def test_config_and_configs_take_lists(name):
    one, two = helion.Config(block_sizes=[4]), {"block_sizes": [8]}
    kernel = helion.kernel(add, **{name: [one, two]})
    assert kernel.configs == [one, helion.Config(block_sizes=[8])]


def test_kernel_has_the_attributes_of_its_function():
    kernel = helion.kernel(add)
    assert kernel.fn is add
    assert kernel.name == kernel.__name__ == "add"
    assert kernel.__doc__ == add.__doc__
    assert kernel.__code__ is add.__code__
    assert kernel.__globals__ is add.__globals__
    assert kernel.__defaults__ == (1.0,)
    assert list(kernel.signature.parameters) == ["x", "y", "scale"]
    assert kernel.kernel_source().startswith("def add(x: torch.Tensor")


def with_args(*args): ...


def with_kwargs(**kwargs): ...


def with_keyword(x, *, y): ...


@pytest.mark.parametrize(
    ("fn", "options", "text"),
    [
        (with_args, {}, r"\*args"),
        (with_kwargs, {}, r"\*\*kwargs"),
        (with_keyword, {}, "keyword-only parameter y"),
        (int, {}, "plain function, not a type"),
        (vector().size, {}, "plain function"),
        (add, {"static_shape": True}, "did you mean 'static_shapes'"),
        (add, {"config": {}, "configs": [{}]}, "exclude each other"),
        (add, {"config": 3}, "not 3"),
        (add, {"settings": helion.Settings(), "debug": True}, "beside it"),
    ],
)
def test_wrong_decoration_is_a_type_error(fn, options, text):
    with pytest.raises(TypeError, match=text):
        helion.kernel(fn, **options)


# ---- arguments ----


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, 2), {}),
        ((1, 2, 1.0), {}),
        ((1,), {"y": 2}),
        ((), {"scale": 1.0, "y": 2, "x": 1}),
    ],
)
def test_arguments_become_positional(args, kwargs):
    assert helion.kernel(add).normalize_args(*args, **kwargs) == (1, 2, 1.0)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((1, 2, 3, 4), {}, "too many positional"),
        ((1,), {}, "missing a required argument: 'y'"),
        ((1, 2), {"z": 3}, "unexpected keyword argument 'z'"),
        ((1, 2), {"x": 3}, "multiple values for argument 'x'"),
    ],
)
def test_wrong_arguments_are_a_type_error(args, kwargs, text):
    with pytest.raises(TypeError, match=text) as caught:
        helion.kernel(add)(*args, **kwargs)
    assert "add(x: " in str(caught.value)


def test_calls_that_mean_the_same_share_a_bound_kernel():
    kernel = helion.kernel(add)
    x = vector()
    first = kernel.bind((x, x))
    assert first is kernel.bind([x, x, 1.0])
    for result in (kernel(x, y=x), kernel(x, x, 1.0), first(x, x)):
        torch.testing.assert_close(result, 2 * x)
    assert counters["binds"] == counters["stage1"] == 1


def test_bind_refuses_a_bare_tensor():
    with pytest.raises(TypeError, match="tuple of arguments, not a Tensor"):
        helion.kernel(add).bind(vector())


def test_no_tensor_and_mixed_devices_are_errors():
    kernel = helion.kernel(add)
    with pytest.raises(exc.NoTensorArgs):
        kernel(1, 2)
    with pytest.raises(exc.MixedDevices, match="cpu, meta"):
        kernel(vector(), vector().to("meta"))


# ---- eager calls ----


def test_eager_call_does_without_stage_1():
    assert helion.kernel(tile_lengths)(vector()) == [8]
    assert counters["stage1"] == counters["stage2"] == 0


def test_eager_call_has_the_block_sizes_of_the_config():
    assert helion.kernel(tile_lengths, config={"block_sizes": [3]})(vector()) == [
        3,
        3,
        2,
    ]
    assert helion.kernel(tile_lengths, config={"block_size": 4})(vector()) == [4, 4]


def test_config_of_an_eager_call_is_checked_once_stage_1_is_there():
    kernel = helion.kernel(tile_lengths, config={"block_sizes": [3]})
    kernel.bind((vector(),))
    with pytest.raises(exc.InvalidConfig, match="block_sizes"):
        kernel(vector())


def test_ref_mode_binds_without_stage_1_and_runs_it_when_asked():
    kernel = helion.kernel(tile_lengths, ref_mode=helion.RefMode.EAGER)
    bound = kernel.bind((vector(),))
    assert bound(vector()) == [8]
    assert counters["stage1"] == 0
    assert "def tile_lengths" in bound.to_triton_code()
    assert counters["stage1"] == 1


@pytest.mark.parametrize("value", [3, hl.constexpr(3)])
def test_constants_reach_the_body_unwrapped(value):
    kernel = helion.kernel(repeat)
    assert kernel(vector(), value) == [int, 3]
    assert kernel.bind((vector(), value))(vector(), value) == [int, 3]
    assert counters["binds"] == 1


def test_error_in_the_body_is_raised_as_it_is():
    @helion.kernel
    def picky(x, good):
        assert good, "not good"
        return x

    x = vector()
    with pytest.raises(AssertionError, match="not good"):
        picky(x, False)
    assert picky(x, True) is x


# ---- compiled calls ----


def test_first_call_uses_the_default_config(emitted):
    kernel = helion.kernel(add)
    x = vector()
    for _ in range(100):
        assert kernel(x, x) == ([32], (x, x, 1.0))
    assert costs() == {"binds": 1, "stage1": 1, "stage2": 1}


def test_other_numbers_share_and_other_shapes_bind(emitted):
    kernel = helion.kernel(add)
    for scale in (1.0, 2.0, 3.0):
        assert kernel(vector(), vector(), scale)[1][2] == scale
    assert counters["binds"] == 1
    for size in (8, 9, 8, 9):
        kernel(vector(size), vector(size))
    assert counters["binds"] == 2


def test_dynamic_shapes_share_a_bound_kernel(emitted):
    kernel = helion.kernel(add, static_shapes=False)
    for size in (7, 8, 1000):
        kernel(vector(size), vector(size))
    assert counters["binds"] == 1
    kernel(vector(1), vector(1))
    assert counters["binds"] == 2


def test_other_guard_outcome_binds_a_variant(emitted, pipeline):
    def change(program, args):
        program.guards = "lambda x, y, scale: (scale > 2.0,)"
        program.guard_values = (args[2] > 2.0,)

    pipeline.change = change
    kernel = helion.kernel(add)
    x = vector()
    for scale in (1.0, 3.0, 2.0, 4.0):
        kernel(x, x, scale)
    assert counters["binds"] == 2
    assert kernel.bind((x, x, 5.0)) is not kernel.bind((x, x, 0.0))
    assert counters["binds"] == 2


def test_closure_is_handed_to_the_host_function(emitted, pipeline):
    def change(program, args):
        program.closure = {"width": 3}

    pipeline.change = change
    assert helion.kernel(tile_lengths)(vector())[2] == {"width": 3}


def test_user_key_splits_bound_kernels():
    kernel = helion.kernel(add, key=lambda x, y, scale=1.0: scale)
    x = vector()
    assert kernel.bind((x, x)) is kernel.bind((x, x, 1.0))
    assert kernel.bind((x, x)) is not kernel.bind((x, x, 2.0))


def test_error_in_stage_1_leaves_nothing_behind(emitted, pipeline):
    def change(program, args):
        if args[0].size(0) == 3:
            raise exc.RankMismatch(tensor="x", expected=2, got=1)

    pipeline.change = change
    kernel = helion.kernel(add)
    for _ in range(2):
        with pytest.raises(exc.RankMismatch):
            kernel(vector(3), vector(3))
    assert counters["stage1"] == 2
    assert kernel(vector(), vector())[0] == [32]
    assert counters["binds"] == 1


def test_threads_bind_and_compile_once(emitted, pipeline):
    pipeline.change = lambda program, args: time.sleep(0.05)
    kernel = helion.kernel(add)
    x, found = vector(), []
    threads = [
        threading.Thread(target=lambda: found.append(kernel(x, x))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert costs() == {"binds": 1, "stage1": 1, "stage2": 1}


def test_reset_forgets_bound_kernels():
    kernel = helion.kernel(add)
    args = (vector(), vector())
    before = kernel.bind(args)
    kernel.reset()
    assert kernel.bind(args) is not before


def test_specialization_key_is_that_of_equal_arguments():
    kernel = helion.kernel(add)
    x = vector()
    assert kernel.specialization_key((x, x)) == kernel.specialization_key((x, x, 2.0))


# ---- bound kernels ----


def fake_cuda(size: int = 8) -> torch.Tensor:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(size, device="cuda")


def test_compile_config_is_cached_by_normalized_config():
    bound = helion.kernel(add).bind((vector(), vector()))
    function = bound.compile_config({"block_sizes": [64]})
    assert (
        bound.compile_config(helion.Config(block_sizes=[64], num_warps=4)) is function
    )
    assert bound.compile_config({"block_sizes": [16]}) is not function
    assert counters["stage1"] == 1
    assert counters["stage2"] == 2


def test_cached_path_is_the_file_of_the_code():
    bound = helion.kernel(add).bind((fake_cuda(), fake_cuda()))
    config = helion.Config(block_sizes=[64])
    assert bound.get_cached_path(config) is None
    bound.compile_config(config)
    with open(bound.get_cached_path(config)) as file:
        assert file.read().strip() == bound.to_triton_code(config).strip()


def test_set_config_makes_calls_go_straight_to_the_function():
    bound = helion.kernel(add).bind((fake_cuda(), fake_cuda()))
    config = helion.Config(block_sizes=[64])
    bound.set_config(config)
    assert bound._run is bound.compile_config(config)
    assert bound(1, 2, 3) == ([64], (1, 2, 3))


def test_set_config_reaches_calls_of_the_kernel(emitted):
    kernel = helion.kernel(add)
    x = vector()
    assert kernel(x, x)[0] == [32]
    kernel.bind((x, x)).set_config({"block_sizes": [64]})
    assert kernel(x, x)[0] == [64]


def test_set_config_reaches_eager_calls():
    kernel = helion.kernel(tile_lengths)
    bound = kernel.bind((vector(),))
    bound.set_config({"block_sizes": [4]})
    assert bound(vector()) == kernel(vector()) == [4, 4]
    assert bound.run_ref(vector()) == [4, 4]


def test_fake_tensors_are_bound_but_not_run():
    kernel = helion.kernel(add)
    with pytest.raises(exc.KernelArgumentError, match="fake or meta"):
        kernel(fake_cuda(), fake_cuda())
    assert "def add" in kernel.bind((fake_cuda(), fake_cuda())).to_code()


def test_first_of_several_configs_is_used_eagerly_with_one_warning(capsys):
    configs = [{"block_sizes": [4]}, {"block_sizes": [2]}]
    kernel = helion.kernel(tile_lengths, configs=configs)
    for _ in range(3):
        assert kernel(vector()) == [4, 4]
    assert capsys.readouterr().err.count("has 2 configs") == 1


def test_several_sets_of_arguments_cannot_be_tuned_for():
    kernel = helion.kernel(add, config={"block_sizes": [16]})
    with pytest.raises(exc.AutotuneError, match="config="):
        kernel.autotune_multi([(vector(), vector())])


def test_output_code_is_printed_once_per_config(capsys):
    kernel = helion.kernel(add, print_output_code=True)
    bound = kernel.bind((vector(), vector()))
    for _ in range(2):
        bound.compile_config({"block_sizes": [16]})
    bound.compile_config({"block_sizes": [8]}, allow_print=False)
    assert capsys.readouterr().err.count("def add(") == 1


def test_decorator_text_makes_the_kernel_again():
    kernel = helion.kernel(add, static_shapes=False, fast_math=True)
    bound = kernel.bind((vector(), vector()))
    text = bound.format_kernel_decorator({"block_sizes": [16]}, bound.settings)
    made = eval(text.removeprefix("@"))(add)
    assert made.configs == [helion.Config(block_sizes=[16])]
    assert (made.settings.static_shapes, made.settings.fast_math) == (False, True)
