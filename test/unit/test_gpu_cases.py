"""The cases of the GPU benchmark: well-formed, right at small sizes, and reported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import helion
from benchmarks import gpu, gpu_cases, gpu_measure, gpu_sweep, record
from benchmarks.gpu_cases import CASES, GROUPS, GpuCase, chosen_cases
from examples.softmax import softmax_two_pass
from scripts import performance_page
from test.harness import run, to_float64

SMALL = {
    case.name: case
    for case in (
        gpu_cases.matmul_case(6, 5, 7),
        gpu_cases.attention_case(2, 6, 4),
        gpu_cases.add_case(37),
        gpu_cases.softmax_case("softmax", 6, 37),
        gpu_cases.softmax_case("softmax_two_pass", 6, 37, softmax_two_pass),
        gpu_cases.cross_entropy_case(7, 37),
        gpu_cases.layer_norm_case("layer_norm", 6, 37),
        gpu_cases.dx_case(6, 37),
        gpu_cases.dwdb_case(37, 6),
    )
}
small_cases = pytest.mark.parametrize("case", SMALL.values(), ids=list(SMALL))


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the arguments of cases on the CPU."""

    def randn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(shape).to(dtype)

    torch.manual_seed(0)
    monkeypatch.setattr(gpu_cases, "randn", randn)
    monkeypatch.setattr(gpu_cases, "randint", lambda n, m: torch.randint(n, (m,)))


def is_right(case: GpuCase, args: Any, found: Any) -> bool:
    return all(e["is_right"] for e in gpu_measure.errors_of(case, args, found))


# ---- the list ----


@pytest.mark.parametrize("name", CASES)
def test_default_config_is_emitted(name: str) -> None:
    assert "@triton.jit" in gpu_sweep.emitted(name)


@pytest.mark.parametrize("name", CASES)
def test_case_is_well_formed(name: str) -> None:
    case = CASES[name]
    args = case.fake_args()
    assert case.name == name and name in GROUPS[case.group]
    assert name.startswith(case.group) and re.fullmatch(r"[a-z0-9_]+", name)
    assert {args[i].size(0) for i in case.split} == {args[case.split[0]].size(0)}
    assert all(arg.is_contiguous() and arg.device.type == "cuda" for arg in args)
    assert case.floor_ms(1e12, 1e15) > 0


@pytest.mark.parametrize(
    "name, count",
    [
        ("softmax_131072", 2 * 2 * 4096 * 131072),
        ("cross_entropy_128256", 2 * 8192 * 128256 + 8 * 8192 + 4),
        ("layer_norm", 2 * 2 * 16384 * 5632 + 2 * 2 * 5632 + 2 * 4 * 16384),
        ("layer_norm_bwd_dx_1000", 3 * 2 * 16384 * 1000 + 2 * 1000 + 2 * 4 * 16384),
        ("layer_norm_bwd_dwdb_16", 2 * 2 * 1152000 * 16 + 2 * 4 * (1152000 + 16)),
    ],
)
def test_floor_counts_every_argument_and_result_once(name: str, count: int) -> None:
    assert CASES[name].bytes_moved() == count


def test_cases_are_chosen_by_group_name_and_pattern() -> None:
    assert chosen_cases(["*"]) == tuple(CASES)
    assert chosen_cases(["layer_norm", "add"]) == ("add", *GROUPS["layer_norm"])
    assert chosen_cases(["*_1000"]) == ("layer_norm_1000", "layer_norm_bwd_dx_1000")
    with pytest.raises(KeyError, match="layernorm"):
        chosen_cases(["layernorm"])


# ---- what is compared with what ----


@small_cases
@pytest.mark.usefixtures("on_cpu")
def test_kernel_and_eager_agree_with_the_reference(case: GpuCase) -> None:
    args = case.make_args()
    assert is_right(case, args, run(case.kernel, *args, way="eager"))
    assert is_right(case, args, case.eager(*args))


@pytest.mark.parametrize("name", [n for n, case in SMALL.items() if case.library])
@pytest.mark.usefixtures("on_cpu")
def test_library_computes_the_same(name: str) -> None:
    case = SMALL[name]
    # On a CPU PyTorch's layer norm has statistics of the dtype of x only.
    args = [to_float64(arg) for arg in case.make_args()]
    assert case.library is not None
    results = map(gpu_cases.as_tuple, (case.library(*args), case.reference(*args)))
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found.reshape(right.shape), right)


@small_cases
@pytest.mark.usefixtures("on_cpu")
def test_wrong_results_are_found(case: GpuCase) -> None:
    args = case.make_args()
    found = [t.clone() for t in gpu_cases.as_tuple(case.eager(*args))]
    for result in found:
        result.view(-1)[-1] *= 1.25
        assert not is_right(case, args, found)


@small_cases
@pytest.mark.usefixtures("on_cpu")
def test_reference_in_chunks_is_the_whole(
    case: GpuCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = case.make_args()
    whole = list(case.expected(args))
    monkeypatch.setattr(gpu_cases, "CHUNK_NUMEL", max(1, case.numel // 3))
    parts = list(case.expected(args))
    assert (len(parts) == 1) == case.is_sum
    for part, values in parts:
        for value, right in zip(values, whole[0][1], strict=True):
            torch.testing.assert_close(value, right[part])


# ---- the command ----


def test_configs_are_named_by_case_or_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "configs.json"
    file.write_text(json.dumps({"softmax": [{"a": 1}], "softmax_131072": [{"a": 2}]}))
    monkeypatch.setenv("HELION_BENCH_CONFIGS", str(file))
    options, is_offline = gpu.parse_options(["--cases", "softmax,add", "--sweep-only"])
    assert options.extra["softmax_131072"] == [{"a": 2}, {"a": 1}]
    assert list(map(str, gpu.jobs_of(options))) == [
        "machine",
        "sweep softmax",
        "sweep softmax_131072",
    ]
    assert not is_offline


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.parse_options(["--cases", "add,nonsense"])
    assert "no such case: nonsense" in capsys.readouterr().err


def test_candidates_are_for_known_cases() -> None:
    named = json.loads((record.ROOT / "benchmarks" / "candidates.json").read_text())
    extra = gpu.extra_configs(named)
    for name in ("softmax", "softmax_131072", "layer_norm_1000"):
        for config in extra[name]:
            assert gpu_sweep.emitted(name, helion.Config(**config))


def test_result_file_is_named_for_its_cases() -> None:
    assert gpu.slug_of("NVIDIA H200", tuple(CASES)) == "gpu_nvidia_h200"
    chosen = (*GROUPS["layer_norm"], "softmax_131072")
    assert gpu.slug_of("A", chosen) == "gpu_a_layer_norm_softmax_131072"


CEILINGS = {"bytes_per_s": 4e12, "flops_per_s": 7e14}


def canned(job: gpu.Job) -> dict[str, Any]:
    """Return an answer as a GPU would give it."""
    if job.kind == "machine":
        return {"gpu": "Test 1", "ceilings": CEILINGS}
    row = {"ms": 0.5, "low": 0.4, "high": 0.6}
    if job.kind == "sweep":
        return {"default": {**row, "config": {}}, "best": [{**row, "config": {}}]}
    times = {"helion": row, "eager": {"ms": 2.0}, "library": {"ms": 1.0}}
    return {"title": job.case, "times": {**times, "compile": {"ms": 0.75}}}


def test_run_writes_shares_and_ratios(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(
        gpu, "answers", lambda jobs, options: ((job, canned(job)) for job in jobs)
    )
    options = gpu.Options(("add",), sweep=1, limit_s=1, extra={})
    gpu.run_all(options, Console(quiet=True))
    found = json.loads((tmp_path / "gpu_test_1_add.json").read_text())["cases"]["add"]
    swept = json.loads((tmp_path / "gpu_test_1_add_sweep.json").read_text())
    floor_ms = 1e3 * 3 * 4 * 2**27 / 4e12
    assert found["share_of_floor"] == pytest.approx(floor_ms / 0.5)
    assert found["ratios"] == {"eager": 2.0, "compile": 1.5}
    best = swept["cases"]["add"]["best"][0]
    assert best["share_of_floor"] == pytest.approx(floor_ms / 0.5)


# ---- the page ----


def test_page_shows_the_last_run_of_each_case(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    about = {"commit": "c", "versions": {}, "machine": {"gpu": "Test 1"}}
    old = {"date": "2026-01-02", "cases": {"add": {}, "softmax": {"title": "old"}}}
    new = {
        "date": "2026-01-02",
        "time": "2026-01-02T10:00:00Z",
        "cases": {"softmax": {"title": "new", **canned(gpu.Job("case"))}},
    }
    new["cases"]["softmax"]["title"] = "new"
    (tmp_path / "gpu_1.json").write_text(json.dumps({**about, **new}))
    (tmp_path / "gpu_2.json").write_text(json.dumps({**about, **old}))
    monkeypatch.setattr(performance_page, "RESULTS", tmp_path)
    page = performance_page.gpu_table()
    assert "| new | 0.500 | 2.000 | 0.750 | 1.000 |  |  |  | 2.00 | 1.50 |" in page
    assert "| add |" in page and "old" not in page
