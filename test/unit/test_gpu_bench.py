"""The GPU benchmark without a GPU: processes, timing in turns, reports, the page."""

from __future__ import annotations

import contextlib
import json
import os
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ahead, gpu, jobs, measure, record, targets
from benchmarks.crew import Crew, JobFailed
from benchmarks.suite import CASES, FAMILIES
from scripts import performance_gpu, performance_page, performance_plots
from test import interpreter_worker

TINY = "draw/softmax/6/37"
QUICK = jobs.Ways(is_compiled=False, budget_ms=1.0)
CEILINGS = {"bytes_per_s": 4e12, "bf16": 7e14, "fp8": 1.4e15, "tf32": 4e14}


# ---- processes ----


def test_crew_survives_errors_deaths_and_hangs() -> None:
    with Crew(1) as crew:
        # Nothing of this module or of torch, which each process would import.
        failing = crew.submit(int, "one")
        dying = crew.submit(os._exit, 3)
        hanging = crew.submit(time.sleep, 60, limit_s=0.1)
        after = crew.submit(int, "2")
        with pytest.raises(JobFailed, match="ValueError: invalid literal"):
            failing.result(60)
        with pytest.raises(JobFailed, match="died"):
            dying.result(60)
        with pytest.raises(JobFailed, match="no answer within"):
            hanging.result(60)
        assert after.result(60) == 2


# ---- timing ----


def test_samples_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def elapsed_ms(run: Any) -> float:
        run()
        return 6.0 if order[-1] == "slow" else 2.0

    monkeypatch.setattr(measure, "elapsed_ms", elapsed_ms)
    samples = {
        "fast": measure.Sample(lambda: order.append("fast"), 4, "graph", 2.0),
        "slow": measure.Sample(lambda: order.append("slow"), 1, "calls", 6.0),
    }
    found = measure.interleaved(samples, budget_ms=36.0)
    assert order.count("fast") == 18 and order.count("slow") == 6
    assert order[:3] == ["fast", "slow", "fast"] and order[3] == "fast"
    assert found["fast"]["ms"] == 0.5 and found["slow"]["ms"] == 6.0
    assert found["slow"]["by"] == "calls"


class FakeGraph:
    """What the benchmark uses of a CUDA graph."""

    log: list[str] = []

    def capture_begin(
        self, pool: Any = None, capture_error_mode: str = "global"
    ) -> None:
        self.log.append(f"begin {capture_error_mode}")

    def capture_end(self) -> None:
        self.log.append("end")

    def replay(self) -> None:
        self.log.append("replay")


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(measure, "capture_stream", lambda: None)
    monkeypatch.setattr(FakeGraph, "log", [])

    def elapsed_ms(run: Any) -> float:
        run()
        return 0.25

    monkeypatch.setattr(measure, "elapsed_ms", elapsed_ms)
    return FakeGraph.log


def test_sample_is_a_graph_of_calls_on_arguments_in_turns(fake_gpu: list[str]) -> None:
    x = torch.zeros(3)
    sets = [(x,), (x + 1,)]
    seen: list[float] = []
    sample = measure.prepared(lambda x: seen.append(x[0].item()), sets)
    assert (sample.by, sample.calls) == ("graph", 4)
    # One call to compile, three for a first guess of the time, four in the graph.
    assert seen == [0, 1, 1, 1, 0, 1, 0, 1]
    assert fake_gpu == ["begin thread_local", "end", "replay", "replay"]


def test_what_no_graph_can_hold_is_called(fake_gpu: list[str]) -> None:
    def waits(x: torch.Tensor) -> None:
        if fake_gpu[-1:] == ["begin thread_local"]:
            raise RuntimeError("operation not permitted when stream is capturing")

    assert measure.prepared(waits, [(torch.zeros(3),)]).by == "calls"
    assert fake_gpu == ["begin thread_local", "end"]
    assert measure.prepared(waits, [(torch.zeros(3),)], captures=False).by == "calls"


def test_arguments_are_copied_until_no_cache_holds_them(fake_gpu: list[str]) -> None:
    sets = measure.argument_sets((torch.zeros(32 << 20, dtype=torch.int8), 7))
    assert len(sets) == 8 and all(rest == 7 for _, rest in sets)
    assert len({x.data_ptr() for x, _ in sets}) == 8
    tiny = measure.argument_sets((torch.zeros(1),))
    assert len(tiny) == measure.MOST_SETS


def test_spread_is_median_and_quantiles() -> None:
    found = measure.spread([5.0, 1.0, 3.0, 2.0, 4.0, 6.0])
    assert found == {"ms": 3.5, "low": 2.0, "high": 5.0}


def test_case_is_checked_and_timed() -> None:
    found = interpreter_worker.call(jobs.time_case, (TINY, QUICK))[0]
    assert found["problems"] == {} and found["errors"][0]["is_right"]
    assert found["times"].keys() == {"helion", "eager"}
    assert found["config"]["block_sizes"] and found["bytes"] == 2 * 2 * 6 * 37


def test_configs_are_checked_and_timed() -> None:
    configs = [{"block_sizes": [2]}, {"block_sizes": [3]}]
    rows = interpreter_worker.call(jobs.time_configs, (TINY, configs))[0]
    assert rows[0]["ms"] > 0 and rows[0]["config"] == {"block_sizes": [2]}
    assert "InvalidConfig" in rows[1]["error"]


def test_wrong_kernels_get_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> Any:
        raise ArithmeticError("wrong result: [...]")

    monkeypatch.setattr(jobs, "right_function", wrong)
    found = jobs.time_case(TINY, QUICK)
    assert "helion" not in found["times"] and "eager" in found["times"]
    assert found["problems"] == {"helion": "ArithmeticError: wrong result: [...]"}


def test_compiling_ahead_launches_and_chooses_nothing() -> None:
    ahead.share_caches()
    with ahead.without_launches(), ahead.without_choosing():
        from torch._inductor.runtime import triton_heuristics
        from torch._inductor.select_algorithm import AlgorithmSelectorCache as Cache

        assert triton_heuristics.CachingAutotuner.run(None) is None
        assert Cache.benchmark(None, ["a", "b"], 1, 2) == {"a": 1.0, "b": 2.0}
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"].endswith("_made_up")
    assert not os.environ["TORCHINDUCTOR_CACHE_DIR"].endswith("_made_up")


# ---- the command ----


class CannedCrew:
    """Answers as processes with a GPU would."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> CannedCrew:
        return self

    def __exit__(self, *_: object) -> None: ...

    def end(self) -> None: ...

    def submit(self, fn: Any, *args: Any, limit_s: float = 0) -> Future[Any]:
        future: Future[Any] = Future()
        answer = getattr(self, fn.__name__)(*args)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def machine(self) -> Any:
        return {"gpu": "Test 1", "arch": "sm_90", "ceilings": CEILINGS}

    def assemble(self, name: str, config: Any, arch: str) -> Any:
        if config == {"bad": 1}:
            return JobFailed("PTXASError: no")
        return {"config": config or {"num_warps": 4}, "launches": [{"registers": 32}]}

    def warm_rival(self, name: str, is_autotuned: bool) -> Any:
        return JobFailed("the process died")

    def random_configs(self, name: str, count: int) -> Any:
        return [{"num_warps": 2**i} for i in range(3, 3 + count)]

    def time_case(self, name: str, ways: Any) -> Any:
        if "matmul" in name:
            return JobFailed("the process died")
        row = {"low": 0.4, "high": 0.6, "by": "graph", "calls": 1}
        times = {"helion": {"ms": 0.5, **row}, "eager": {"ms": 2.0, **row}}
        about = {"family": CASES[name].family, "title": name, "problems": {}}
        bytes_moved = CASES[name].bytes_moved()
        return {**about, "times": times, "flops": 0, "bytes": bytes_moved}

    def time_configs(self, name: str, configs: Any) -> Any:
        return [{"config": config, "ms": config["num_warps"] / 8} for config in configs]


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(gpu, "Crew", CannedCrew)
    monkeypatch.setattr(ahead, "share_caches", lambda: None)
    return tmp_path


def test_run_writes_floors_shares_and_ratios(out: Path) -> None:
    words = ["--cases", "add_134217728_float32,matmul_1x8192x8192", "--name", "x"]
    assert gpu.run_all(gpu.parse_options(words)) == 1
    cases = json.loads((out / "gpu_test_1_x.json").read_text())["cases"]
    found = cases["add_134217728_float32"]
    floor_ms = 1e3 * 3 * 4 * 2**27 / 4e12
    assert found["floor_ms"] == pytest.approx(floor_ms)
    assert found["share_of_floor"] == pytest.approx(floor_ms / 0.5)
    assert found["ratio"] == 4.0 and found["best"] == "eager"
    assert found["launches"] == [{"registers": 32}]
    lost = cases["matmul_1x8192x8192"]
    assert lost["problems"] == {"process": "the process died"} and not lost["ratio"]


def test_sweep_writes_a_record_a_config(out: Path) -> None:
    named = out / "configs.json"
    named.write_text(json.dumps({"add_*": [{"bad": 1}, {"num_warps": 1}]}))
    words = ["--cases", "add_134217728_float32", "--sweep", str(named), "--random=15"]
    assert gpu.run_all(gpu.parse_options(words)) == 0
    file = out / "gpu_test_1_some_sweep.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 18
    assert {row["case"] for row in rows} == {"add_134217728_float32"}
    bad = next(row for row in rows if row["config"] == {"bad": 1})
    assert "PTXASError" in bad["error"] and bad["ms"] is None
    default = [row for row in rows if row.get("is_default")]
    assert [row["config"] for row in default] == [{"num_warps": 4}]
    assert default[0]["ms"] == 0.5 and default[0]["launches"] == [{"registers": 32}]


def test_time_that_runs_out_keeps_what_is_known(out: Path) -> None:
    words = ["--families", "rms_norm", "--limit-s", "1"]
    assert gpu.run_all(gpu.parse_options(words)) == len(FAMILIES["rms_norm"])
    found = json.loads((out / "gpu_test_1_rms_norm.json").read_text())
    assert found["cases"] == {} and found["machine"]["gpu"] == "Test 1"


def test_configs_go_to_families_names_and_patterns() -> None:
    named = {"softmax": [{"a": 1}], "*_131072": [], "softmax_4096*": [{"a": 2}]}
    named.pop("*_131072")
    found = gpu.configs_by_case(named, ["softmax_4096x131072", "add_16777216_float32"])
    assert found["softmax_4096x131072"] == [{"a": 1}, {"a": 2}]
    assert found["add_16777216_float32"] == []
    with pytest.raises(KeyError, match="nothing"):
        gpu.configs_by_case({"nothing": []}, [])


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.parse_options(["--cases", "add_*,nonsense"])
    assert "no such case: nonsense" in capsys.readouterr().err


def test_draw_leaves_the_compiler_out_unless_asked() -> None:
    options = gpu.parse_options(["--draw", "3", "--draw-families", "add,bmm"])
    assert len(options.cases) == 6 and options.seed == 20261121
    assert options.name == "draw" and not options.ways.is_compiled
    assert gpu.parse_options(["--draw", "1", "--with-compile"]).ways.is_compiled


# ---- ratios and targets ----


def test_best_rival_is_none_of_those_only_shown() -> None:
    times = {"helion": {"ms": 3.0}, "eager": {"ms": 2.0}, "fast": {"ms": 1.0}}
    assert record.best_rival(times, {"fast"}) == "eager"
    assert record.best_rival({"helion": {"ms": 1.0}}) is None


def test_families_have_geometric_means() -> None:
    cases = {
        "a": {"family": "x", "ratio": 0.5},
        "b": {"family": "x", "ratio": 2.0},
        "c": {"family": "y", "ratio": None},
    }
    assert record.by_family(cases) == {"x": (pytest.approx(1.0), 0.5)}
    assert [row[3] for row in targets.draw_rows({"x": (1.0, 0.5)})] == ["missed"]


def test_targets_say_what_misses() -> None:
    good = {name: {"ratio": 1.0} for name in FAMILIES["matmul"]}
    slow = {**good, "matmul_8192x8192x8192": {"ratio": 0.9}}
    rows = {row[0]: row for row in targets.rows(slow, is_partial=True)}
    assert rows["matmul bf16, plain"][2:] == [
        "0.90",
        "1 of 2",
        "missed",
        "matmul_8192x8192x8192 0.90",
    ]
    assert rows["matmul, thin, long and batched"][3:5] == ["1 of 1", "met"]
    assert "matmul fp8" not in rows
    assert dict((r[0], r[4]) for r in targets.rows(good))["matmul fp8"] == "missed"


# ---- the page ----


def run_file(**changes: Any) -> dict[str, Any]:
    row = {"ms": 0.5, "low": 0.4, "high": 0.6, "by": "graph"}
    times = {"helion": row, "eager": {**row, "ms": 2.0, "by": "calls"}}
    times |= {"compile": {**row, "ms": 0.75}, "cudnn": {**row, "ms": 1.0}}
    outcome = {
        "title": "new",
        "family": "matmul",
        "times": times,
        "problems": {"autotune": "no"},
        "ratio": 1.5,
        "best": "compile",
        "share_of_floor": 0.6,
        "floor_ms": 0.3,
        "flops": 10**9,
        "bytes": 10**6,
    }
    machine = {"gpu": "Test 1", "ceilings": CEILINGS}
    about = {"commit": "c", "versions": {}, "machine": machine, "date": "2026-01-02"}
    return {**about, "cases": {"matmul_4096x4096x4096": outcome}, **changes}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(performance_page, "RESULTS", tmp_path)
    return tmp_path


def test_page_shows_the_last_run_of_each_case(results: Path) -> None:
    old = {"matmul_4096x4096x4096": {"title": "old", "family": "matmul"}}
    old["other"] = {**old["matmul_4096x4096x4096"], "title": "other"}
    old["earlier"] = {"title": "of an earlier suite"}
    (results / "gpu_1.json").write_text(json.dumps(run_file(cases=old)))
    later = run_file(time="2026-01-02T10:00:00Z")
    (results / "gpu_2.json").write_text(json.dumps(later))
    page = performance_gpu.gpu_table()
    row = "| new | 0.5000 | 40.0% | 2.0000* | 0.7500 | failed | 1.0000 (cudnn) |"
    assert f"{row} 0.3000 | 60% | compile | 1.50 |" in page
    assert "| other |" in page and "old" not in page and "earlier" not in page
    assert "bf16 700 TFLOP/s" in page and "copy 4.00 TB/s" in page
    assert (
        "| matmul bf16, plain | ratio 0.95 | 1.50 |" in performance_gpu.targets_table()
    )


def test_page_shows_the_draw(results: Path) -> None:
    found = run_file(seed=7)
    (results / "gpu_draw.json").write_text(json.dumps(found))
    page = performance_gpu.draw_table()
    assert "1 shapes, seed 7" in page and "| matmul | 1.50 | 1.50 | met |" in page
    assert performance_gpu.gpu_table() == "not measured yet\n"


def test_plots_are_the_same_each_time(results: Path) -> None:
    pytest.importorskip("matplotlib")
    (results / "gpu_1.json").write_text(json.dumps(run_file()))
    first = [path.read_bytes() for path in performance_plots.draw(results / "a")]
    again = [path.read_bytes() for path in performance_plots.draw(results / "b")]
    assert first == again and len(first) == 3
    assert all(b"<svg" in image for image in first)


def test_page_names_only_plots_that_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(performance_plots, "IMAGES", tmp_path)
    assert performance_plots.links() == "none yet\n"
    (tmp_path / "ratios.svg").write_text("<svg/>")
    assert performance_plots.links() == "![ratios](images/ratios.svg)"


def test_no_gpu_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["gpu_bench", "--cases", "add_*"])
        assert gpu.main() == 2
    assert "--dry-run" in capsys.readouterr().out
