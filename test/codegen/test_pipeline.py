"""From a call to a launch: binding, host and device parts, caching, emitted modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import helion
import helion.language as hl
from examples.add import add
from helion import exc
from helion._compiler.compile_environment import CompileEnvironment
from test import kernels
from test.codegen.emitted import (
    KERNELS,
    bind,
    bind_case,
    case_code,
    host_text,
    kernel_texts,
    meta,
)
from test.harness import fake_cuda, run, with_settings

ROOT = Path(__file__).resolve().parents[2]
FACTOR = 3.0


def plain_text(kernel: helion.Kernel, *args: object, **config: object) -> str:
    """Return the module without comments that name lines of the source."""
    quiet = with_settings(kernel, frozenset({("output_origin_lines", False)}))
    return bind(quiet, *args).to_triton_code(config)


# ---- binding ----


def test_binding_a_terabyte_allocates_nothing() -> None:
    x = meta(2**19, 2**19)
    (kernel,) = kernel_texts(bind(add, x, x).to_triton_code({"block_sizes": [32, 32]}))
    assert "tl.int64" in kernel


def test_environment_holds_the_facts_of_a_compile() -> None:
    env = bind_case("add").env
    assert isinstance(env, CompileEnvironment)
    assert isinstance(env.fake_mode, torch._subclasses.FakeTensorMode)
    assert env.shape_env is env.fake_mode.shape_env
    assert env.errors == [] and len(env.block_sizes) == 2


def test_host_function_owns_source_closure_and_globals() -> None:
    shift = 2.0

    @helion.kernel
    def scaled(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        for tile in hl.tile(x.size(0)):
            out[tile] = x[tile] * FACTOR + shift
        return out

    bound = bind(scaled, meta(64))
    host = bound.program.host
    assert host.closure == {"shift": 2.0} and "def scaled" in host.source.text
    assert host.global_value("FACTOR") == 3.0
    assert re.search(
        r"\* 3.0(.|\n)*\+ 2.0", bound.to_triton_code({"block_sizes": [16]})
    )


def test_host_globals_are_read_from_their_module() -> None:
    @helion.kernel
    def filled(x: torch.Tensor) -> torch.Tensor:
        out = torch.full_like(x, FACTOR)
        for tile in hl.tile(x.size(0)):
            out[tile] += x[tile]
        return out

    code = bind(filled, meta(64)).to_triton_code()
    assert f"import {__name__} as _source_module" in code
    assert "torch.full_like(x, _source_module.FACTOR)" in host_text(code)


def test_host_analysis_is_done_once_for_all_configs() -> None:
    fresh = helion.kernel(add.fn)
    before = helion.metrics.counts.copy()
    bound = bind(fresh, meta(64, 64), meta(64, 64))
    host = bound.program.host
    texts = {
        bound.to_triton_code({"block_sizes": blocks}) for blocks in ([8, 16], [16, 8])
    }
    done = helion.metrics.counts - before
    assert bound.program.host is host and len(texts) == 2
    assert (done["stage1"], done["stage2"]) == (1, 2)


def test_calls_of_one_signature_compile_once() -> None:
    fresh = helion.kernel(add.fn, config=helion.Config(block_sizes=[8, 16]))
    before = helion.metrics.counts.copy()
    args = fake_cuda((meta(64, 64), meta(64, 64)))
    for _ in range(100):
        fresh.bind(args).compile_config(helion.Config(block_sizes=[8, 16]))
    fresh.bind(fake_cuda((meta(32, 64), meta(32, 64))))
    done = helion.metrics.counts - before
    assert (done["stage1"], done["stage2"], done["binds"]) == (2, 1, 2)


def test_first_config_takes_no_search() -> None:
    fresh = helion.kernel(add.fn)
    start = time.perf_counter()
    bound = bind(fresh, meta(4096, 4096), meta(4096, 4096))
    assert bound.program.default_config() == bound.config_spec.normalize(
        bound.program.default_config()
    )
    bound.compile_config()
    assert time.perf_counter() - start < 5


# ---- what is emitted ----


@pytest.mark.parametrize("name", KERNELS)
def test_text_is_a_module_with_kernels_and_a_wrapper(name: str) -> None:
    code = case_code(name)
    functions = [n for n in ast.parse(code).body if isinstance(n, ast.FunctionDef)]
    wrapper = KERNELS[name].kernel.name
    *jitted, last = [f.name for f in functions]
    launched = [name for name in jitted if "_combine_" not in name]
    assert last == wrapper
    assert launched[0].removesuffix("_partial") == f"_helion_{wrapper}"
    assert max(map(len, code.splitlines())) <= 88


def test_compiled_config_is_a_callable() -> None:
    function = bind_case("add").compile_config({"block_sizes": [8, 16]})
    launched: list[tuple[object, ...]] = []
    x = torch.ones(13, 37)
    function(x, x, _launcher=lambda *args, **options: launched.append(args))
    ((kernel, grid, *_),) = launched
    assert kernel.fn.__name__ == "_helion_add" and grid == (2 * 3,)


def test_wrapper_is_the_same_for_all_configs() -> None:
    spec = bind_case("matmul").config_spec
    import random

    texts = set()
    for seed in range(10):
        config = spec.random_config(random.Random(seed))
        text = host_text(bind_case("matmul").to_triton_code(config))
        lines = [line for line in text.splitlines() if "_BLOCK_SIZE_" not in line]
        texts.add("\n".join(lines))
    assert len(texts) == 1


def test_dependent_loops_are_two_launches() -> None:
    code = bind(kernels.dependent_phases, meta(64)).to_triton_code()
    first, second = kernel_texts(code)
    assert first.startswith("@triton.jit\ndef _helion_dependent_phases(x, y,")
    assert second.startswith("@triton.jit\ndef _helion_dependent_phases_1(y, z,")
    assert host_text(code).count("_launcher(_helion_dependent_phases") == 2


def test_host_control_flow_around_a_loop_stays_on_the_host() -> None:
    text = host_text(bind(kernels.host_loop, meta(64), 3, True).to_triton_code())
    assert "for _ in range(times):\n        " in text and "if double:" in text
    assert text.count("_launcher(_helion_host_loop") == 2


def test_host_part_is_any_python() -> None:
    text = host_text(bind(kernels.host_try, meta(64), ["a", "b"]).to_triton_code())
    assert "sizes = {name: len(name) for name in names}" in text
    assert "except TypeError:" in text


@helion.kernel
def wasteful(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Load what nothing needs, and the same thing twice."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        unused = y[tile] * 2  # noqa: F841 (this is the point)
        out[tile] = x[tile] * 5 + x[tile] * 5
    return out


def test_dead_and_repeated_work_is_gone() -> None:
    (kernel,) = kernel_texts(bind(wasteful, meta(64), meta(64)).to_triton_code())
    assert kernel.count("tl.load") == 1 and kernel.count("* 5") == 1
    assert "(x, out, " in kernel


def test_module_file_serves_the_next_process(tmp_path: Path) -> None:
    program = (
        "from test.codegen.emitted import bind_case\n"
        "bound = bind_case('add')\n"
        "bound.compile_config()\n"
        "print(bound.get_cached_path())"
    )
    environment = {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", program]
        path = Path(
            subprocess.check_output(command, env=environment, text=True).strip()
        )
        found.append((path, path.stat().st_mtime_ns, path.stat().st_ino))
    assert found[0] == found[1] and tmp_path in found[0][0].parents


# ---- names and comments ----


def test_names_follow_the_axes() -> None:
    (kernel,) = kernel_texts(case_code("matmul", block_sizes=[16, 16, 32]))
    for axis in range(3):
        for name in ("_BLOCK_SIZE", "offset", "indices", "mask"):
            assert re.search(rf"\b{name}_{axis}\b", kernel)
    persistent = case_code("softmax", block_sizes=[4], reduction_loops=[None])
    looped = case_code("softmax", block_sizes=[4], reduction_loops=[8])
    assert "_RDIM_SIZE_1" in persistent and "rindex_1 =" in persistent
    for name in ("_REDUCTION_BLOCK_1", "roffset_1", "rindex_1", "mask_1"):
        assert re.search(rf"\b{name}\b", looped)


def test_values_keep_their_names_and_others_are_counted() -> None:
    (kernel,) = kernel_texts(case_code("softmax_two_pass"))
    for name in ("values", "higher", "block", "scaled"):
        assert re.search(rf"\n +{name} = ", kernel)
    numbers = [int(n) for n in re.findall(r"\n +v_(\d+) = ", kernel)]
    assert numbers == list(range(len(numbers))) and len(numbers) > 5


@helion.kernel
def badly_named(x: torch.Tensor) -> torch.Tensor:
    """Name values like things that the compiler names."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        pid_0 = x[tile] + 1
        offset_0 = pid_0 * pid_0
        v_0 = offset_0 - x[tile]
        mask_0 = v_0 * offset_0 + pid_0
        out[tile] = mask_0 * (v_0 + 2)
    return out


def test_names_of_values_do_not_clash_with_ours() -> None:
    x = torch.randn(37)
    config = helion.Config(block_sizes=[16])
    result = run(badly_named, x, way="interpreted", config=config)
    torch.testing.assert_close(result, badly_named.fn(x))


def test_comments_name_the_lines_of_the_source() -> None:
    code = bind(wasteful, meta(64), meta(64)).to_triton_code()
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text().splitlines(), 1)
        if "x[tile] * 5" in text
    )
    assert f"    # src: test_pipeline.py:{line}\n" in code
    assert code.count("# src:") == 1


def test_comments_can_be_left_out() -> None:
    assert "# src" not in bind_case("add", output_origin_lines=False).to_triton_code()


# ---- goldens ----


def test_golden_add(golden) -> None:
    golden(plain_text(add, meta(127, 63), meta(127, 63), block_sizes=[32, 32]))


def test_golden_matmul(golden) -> None:
    from examples.matmul import matmul

    x, y = meta(512, 256), meta(256, 384)
    golden(plain_text(matmul, x, y, block_sizes=[64, 64, 32], l2_groupings=[4]))


@pytest.mark.parametrize("chunk", [None, 64])
def test_golden_softmax(golden, chunk: int | None) -> None:
    from examples.softmax import softmax

    golden(plain_text(softmax, meta(64, 200), block_sizes=[2], reduction_loops=[chunk]))


def test_golden_attention(golden) -> None:
    from examples.attention import attention

    q = meta(4, 128, 64, dtype=torch.float16)
    golden(plain_text(attention, q, q, q, block_sizes=[1, 64, 32]))


# ---- errors ----


@helion.kernel
def opens_a_file(x: torch.Tensor) -> torch.Tensor:
    """Do on the device what only a host can."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        open("somewhere")
        out[tile] = x[tile]
    return out


def test_illegal_call_on_the_device_is_named_with_its_line() -> None:
    with pytest.raises(exc.Base, match=r"(?s)open.*opens_a_file.*open\("):
        bind(opens_a_file, meta(64))


@helion.kernel
def mismatched(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Add rows of two different lengths."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = x[tile, :] + y[tile, :]
    return out


def test_broadcast_mismatch_names_function_and_line() -> None:
    with pytest.raises(exc.Base, match=r"(?s)mismatched.*x\[tile, :\] \+ y\[tile, :\]"):
        bind(mismatched, meta(64, 8), meta(64, 9))


@helion.kernel
def two_faults(x: torch.Tensor) -> torch.Tensor:
    """Make two independent mistakes."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        first = x[tile, tile, tile]  # noqa: F841
        second = undefined_name + x[tile]  # noqa: F821, F841
        out[tile] = x[tile]
    return out


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(exc.Base) as caught:
        bind(two_faults, meta(64))
    assert len(caught.value.errors) == 2
    assert "undefined_name" in str(caught.value) and "x[tile, tile" in str(caught.value)


# ---- types ----


def test_type_dump_shows_dtypes_and_symbolic_shapes() -> None:
    x = meta(64, 64, dtype=torch.float16)
    dump = bind(add, x, x, static_shapes=False).program.type_dump()
    assert re.search(r"x\[tile\]: .*float16\[", dump), dump
    assert re.search(r"float16\[\w*s\d+, \w*s\d+\]", dump), dump
    assert "loop GRID" in dump
