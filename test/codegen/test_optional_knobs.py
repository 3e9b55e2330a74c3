"""Knobs that a Config has only where it asks for something, each value of each."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import helion
from helion import exc
from helion.autotuner.config_fragment import EnumFragment
from helion.autotuner.config_knobs import KNOBS, PERSISTENT_PID_TYPES
from test import interpreter_worker, knob_kernels
from test.codegen.emitted import (
    KERNELS,
    bind,
    bind_case,
    case_code,
    kernel_texts,
    meta,
)
from test.codegen.test_knobs import KNOBS as ROWS
from test.codegen.test_knobs import assert_right
from test.harness import check, offline, randn

ADD = {"block_sizes": [8, 16]}
MATMUL = {"block_sizes": [16, 32, 16]}
LOADS = r"tl.load\(x [^\n]*cache_modifier='{0}'\)"
VALUES: list[tuple[str, dict[str, Any], str, Any, str]] = [
    *(
        ("add", ADD, "load_cache_modifiers", [value, ""], LOADS.format(value))
        for value in (".ca", ".cg", ".cv")
    ),
    *(
        ("add", ADD, "store_cache_modifiers", [value], rf"cache_modifier='{value}'\)")
        for value in (".wb", ".cg", ".cs", ".wt")
    ),
    ("matmul_bias_relu", MATMUL, "epilogue_subtile", 2, r"half_0, half_1 = tl.split"),
    ("matmul_bias_relu", MATMUL, "epilogue_subtile", 4, r"half_0_2, half_1_2 ="),
    ("add", ADD, "launch_pdl", True, r"\):\n    gdc_wait\(\)\n(.|\n)*launch_pdl=True"),
]


@pytest.mark.parametrize("name, plain, knob, value, shown", VALUES)
def test_value_changes_the_text_and_not_the_result(
    name: str, plain: dict[str, Any], knob: str, value: Any, shown: str
) -> None:
    config = {**plain, knob: value}
    before, after = case_code(name, **plain), case_code(name, **config)
    assert re.search(shown, after), after
    assert not re.search(shown, before), before
    assert_right(KERNELS[name], helion.Config(**config))


@pytest.mark.parametrize("name, plain, knob, value, shown", VALUES)
def test_value_assembles(
    name: str, plain: dict[str, Any], knob: str, value: Any, shown: str
) -> None:
    case, config = KERNELS[name], helion.Config(**plain, **{knob: value})
    (launch,) = offline(case.kernel, *case.make_args("cpu", True), config=config)
    assert launch.cubin


def test_a_config_that_asks_for_nothing_has_none_of_them() -> None:
    idle = {knob.name: knob.default for knob in KNOBS.values() if knob.is_optional}
    spec = bind_case("matmul").config_spec
    full = spec.normalize({"block_sizes": [16, 16, 16], **idle})
    assert not set(idle) & set(full)


# Tests of their own, in which the knob's name stands.
ELSEWHERE = {
    "indexing": "numerics/test_indexing_modes.py",
    "atomic_indexing": "numerics/test_indexing_modes.py",
    "host_tensor_descriptors": "numerics/test_indexing_modes.py",
    "loop_splits": "numerics/test_loop_splits.py",
    "split_mode": "numerics/test_loop_splits.py",
    "range_warp_specializes": "numerics/test_knobs.py",
    "static_ranges": "numerics/test_knobs.py",
    "reduction_fusion": "codegen/test_optional_knobs.py",
    "cross_loop_pipeline": "codegen/test_optional_knobs.py",
    "advanced_controls_file": "codegen/test_optional_knobs.py",
    "xcd_remap": "codegen/test_optional_knobs.py",
    "waves_per_eu": "codegen/test_optional_knobs.py",
    "matrix_instr_nonkdim": "codegen/test_optional_knobs.py",
}


def test_every_knob_is_tested() -> None:
    rows = {row[2] for row in (*ROWS, *VALUES)}
    assert not rows & set(ELSEWHERE)
    assert rows | set(ELSEWHERE) == set(KNOBS)
    tests = Path(__file__).parents[1]
    for knob, name in ELSEWHERE.items():
        assert knob in (tests / name).read_text(), f"{knob} is not tested in {name}"


# ---- cache hints ----


def test_modifiers_keep_their_loads_and_stores_when_rolled() -> None:
    hints = {"load_cache_modifiers": [".ca", "", ".cg"], "store_cache_modifiers": ".cs"}
    for chunk in (None, 8):
        config = {"block_sizes": [4], "reduction_loops": [chunk], **hints}
        code = case_code("layer_norm", **config)
        (text,) = kernel_texts(code)
        found = re.findall(r"tl\.load\((\w+) .*cache_modifier='(\.\w+)'", text)
        assert set(found) == {("x", ".ca"), ("bias", ".cg")}
        stores = re.findall(r"tl\.store\(.*", text)
        assert stores and all("cache_modifier='.cs'" in line for line in stores)


def test_load_has_a_policy_or_a_modifier() -> None:
    both = {"load_eviction_policies": ["first"], "load_cache_modifiers": ["", ".cg"]}
    case_code("add", **ADD, **both)
    both["load_cache_modifiers"] = [".cg"]
    with pytest.raises(exc.InvalidConfig, match=r"load_cache_modifiers\[0\] = '.cg'"):
        case_code("add", **ADD, **both)


# ---- epilogues ----

SEARCHED = ("epilogue_subtile", "range_warp_specializes")


@pytest.mark.parametrize("blocks", [[16, 32, 16], [32, 16, 32], [64, 64, 64]])
@pytest.mark.parametrize("pieces", [2, 4])
def test_epilogue_with_rows_columns_and_indices(pieces: int, blocks: list[int]) -> None:
    args = randn(37, 20), randn(20, 53), randn(53), randn(37)
    check(
        knob_kernels.long_epilogue,
        *args,
        way="interpreted",
        reference=knob_kernels.long_epilogue_reference,
        configs=[helion.Config(block_sizes=blocks, epilogue_subtile=pieces)],
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


def test_epilogue_of_an_update_reads_before_it_writes() -> None:
    args = randn(37, 20), randn(20, 53), randn(37, 53)
    config = helion.Config(block_sizes=[16, 32, 16], epilogue_subtile=2)
    code = bind(knob_kernels.adds_in_place, *args).to_triton_code(config)
    assert code.count("tl.load(out") == 1 and code.count("tl.atomic_add(") == 2
    check(
        knob_kernels.adds_in_place,
        *args,
        way="interpreted",
        reference=lambda x, y, out: 2 * (x @ y),
        configs=[config],
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


def test_epilogue_of_which_nothing_can_be_split_stays_whole() -> None:
    config = {"block_sizes": [16, 16], "num_warps": 4}
    whole = case_code("add", **config)
    assert case_code("add", **config, epilogue_subtile=4) == whole


@pytest.mark.parametrize("length, pieces", [(512, None), (1024, 2), (16384, 4)])
def test_pieces_are_searched_where_products_are_long(
    length: int, pieces: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "helion._compiler.restrict_knobs.gpu_capability"
    monkeypatch.setattr(asked, lambda device: (10, 0))
    fresh = helion.kernel(KERNELS["matmul"].kernel.fn)
    spec = bind(fresh, meta(256, length), meta(length, 256)).config_spec
    found = {key: values for key, _, values in spec.knobs() if key in SEARCHED}
    assert found["range_warp_specializes"] == EnumFragment((None, False, True))
    choices = {None: None, 2: (None, 2), 4: (None, 2, 4)}[pieces]
    assert found.get("epilogue_subtile") == (choices and EnumFragment(choices))


def test_epilogue_in_pieces_needs_a_tile() -> None:
    with pytest.raises(exc.InvalidConfig, match="cannot be used with flatten_loops"):
        case_code("add", **ADD, flatten_loops=[True], epilogue_subtile=2)


# ---- launches ----


def test_overlapping_launches_wait_before_any_access() -> None:
    for ends_early in (True, False):
        bound = bind(knob_kernels.overlapping, randn(33, 20), ends_early)
        code = bound.to_triton_code({"block_sizes": [16, 16] * 2})
        kernels = kernel_texts(code)
        assert len(kernels) == 2 == code.count("launch_pdl=True")
        for text in kernels:
            lines = [line.strip() for line in text.splitlines()]
            body = lines[lines.index("gdc_wait()") - 1 :]
            assert body[0].endswith(":") and "tl.load" not in body[0]
            assert body[2 if ends_early else -1] == "gdc_launch_dependents()"


def test_overlapping_launches_assemble() -> None:
    for launch in offline(knob_kernels.overlapping, randn(33, 20), True):
        assert "griddepcontrol.wait" in launch.ptx_or_asm
        assert "griddepcontrol.launch_dependents" in launch.ptx_or_asm


def test_file_of_controls_goes_to_the_assembler(tmp_path: Path) -> None:
    path = tmp_path / "fast.acf"
    config = {**ADD, "advanced_controls_file": str(path)}
    with pytest.raises(exc.InvalidConfig, match="there is no such file"):
        case_code("add", **config)
    path.write_text("")
    assert f"--apply-controls {path}" in case_code("add", **config).replace("'\n", "")
    spaced = tmp_path / "a b.acf"
    spaced.write_text("")
    with pytest.raises(exc.InvalidConfig, match="no spaces"):
        case_code("add", **{**config, "advanced_controls_file": str(spaced)})


def test_files_of_controls_are_searched_where_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "fast.acf"
    path.write_text("")
    named = helion.kernel(KERNELS["add"].kernel.fn, autotune_search_acf=[str(path)])
    spec = bind(named, *KERNELS["add"].make_args("cpu", True)).config_spec
    rng = random.Random(0)
    drawn = {spec.random_config(rng).advanced_controls_file for _ in range(20)}
    assert drawn == {"", str(path)}
    assert spec.default_config().advanced_controls_file == ""


# ---- other makers' GPUs ----

AMD = [("xcd_remap", True), ("waves_per_eu", 2), ("matrix_instr_nonkdim", 16)]


@pytest.mark.parametrize("knob, value", AMD)
def test_knob_of_another_maker_is_refused(knob: str, value: Any) -> None:
    with pytest.raises(exc.InvalidConfig, match=f"{knob}.*only AMD GPUs have it"):
        case_code("add", **ADD, **{knob: value})


@pytest.mark.parametrize("knob, value", AMD)
def test_knob_of_an_amd_gpu(
    knob: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    case = KERNELS["matmul"]
    args = case.make_args("cpu", True)
    fresh = helion.kernel(case.kernel.fn)
    config = helion.Config(**MATMUL, **{knob: value})
    text = bind(fresh, *args).to_triton_code(config)
    assert ("own_pid" if knob == "xcd_remap" else f"{knob}={value}") in text
    (launch,) = offline(fresh, *args, config=config, arch="gfx942")
    assert launch.cubin
    with pytest.raises(exc.InvalidConfig, match="only NVIDIA GPUs have it"):
        bind(fresh, *args).to_triton_code({**MATMUL, "launch_pdl": True})


def add_on_an_amd_gpu(config: dict[str, Any]) -> bool:
    """Tell whether ``add`` is right where kernels are emitted for AMD's GPUs."""
    x, y = randn(37, 53), randn(37, 53)
    torch.version.hip = "6.4"
    try:
        fresh = helion.kernel(KERNELS["add"].kernel.fn, config=helion.Config(**config))
        return torch.equal(fresh.bind((x, y)).compile_config(config)(x, y), x + y)
    finally:
        torch.version.hip = None


@pytest.mark.parametrize("pid_type", ["flat", *PERSISTENT_PID_TYPES])
def test_every_tile_has_a_program_on_each_die(pid_type: str) -> None:
    config = {"block_sizes": [2, 4], "xcd_remap": True, "pid_type": pid_type}
    assert interpreter_worker.call(add_on_an_amd_gpu, (config,))[0]


# ---- knobs with one meaning ----


def test_reductions_are_always_fused() -> None:
    plain = {"block_sizes": [4], "reduction_loops": [8]}
    fused = case_code("layer_norm", **plain, reduction_fusion=True)
    assert fused == case_code("layer_norm", **plain, reduction_fusion=False)


@pytest.mark.parametrize("value", ["static", "dynamic"])
def test_loops_always_wait_for_the_loops_before(value: str) -> None:
    case_code("add", **ADD, cross_loop_pipeline="barrier")
    with pytest.raises(exc.InvalidConfig, match="must be 'barrier'"):
        case_code("add", **ADD, cross_loop_pipeline=value)
