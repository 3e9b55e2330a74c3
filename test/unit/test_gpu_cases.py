"""The cases of the GPU benchmark: well-formed, right at small sizes, and drawn."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from benchmarks import (
    ahead,
    case,
    cases_attention,
    cases_jagged,
    cases_matmul,
    cases_other,
    cases_pointwise,
    cases_rows,
    draw,
    errors,
    targets,
)
from benchmarks.case import BenchCase, tensors_in
from benchmarks.suite import CASES, FAMILIES, case_of, chosen_cases
from examples.softmax import softmax_two_pass
from helion.runtime.tensor_trees import map_tensors
from test.harness import run, to_float64

SMALL = {
    one.name: one
    for one in (
        cases_pointwise.add_case(37),
        cases_pointwise.add_case(5, 7, dtype=torch.bfloat16),
        cases_pointwise.swiglu_case(5, 7),
        cases_pointwise.swiglu_bwd_case(5, 7),
        cases_pointwise.bias_gelu_case(5, 7),
        cases_pointwise.gelu_case(5, 7),
        cases_pointwise.silu_mul_case(5, 7),
        cases_pointwise.clamp_where_case(5, 7),
        cases_pointwise.quantize_case(5, 7),
        cases_rows.softmax_case(6, 37),
        cases_rows.softmax_case(6, 37, softmax_two_pass),
        cases_rows.softmax_bwd_case(6, 37),
        cases_rows.rms_norm_case(6, 37),
        cases_rows.add_rms_norm_case(6, 37),
        cases_rows.layer_norm_case(6, 37),
        cases_rows.dx_case(6, 37),
        cases_rows.dwdb_case(37, 6),
        cases_rows.cross_entropy_case(7, 37),
        cases_rows.row_sum_case(6, 37),
        cases_rows.row_amax_case(6, 37),
        cases_rows.row_var_case(6, 37),
        cases_rows.row_argmax_case(6, 37),
        cases_matmul.matmul_case(6, 5, 7),
        cases_matmul.matmul_case(6, 5, 7, torch.float32),
        *(cases_matmul.epilogue_case(6, 5, 7, a) for a in cases_matmul.ACTIVATIONS),
        cases_matmul.bmm_case(2, 6, 5, 7),
        cases_matmul.split_k_case(6, 50, 7),
        cases_matmul.fp8_tensor_case(16, 32, 16),
        cases_matmul.fp8_rows_case(16, 32, 16),
        cases_matmul.int8_case(6, 8, 7),
        cases_matmul.int4_case(6, 32, 7, 16),
        cases_matmul.grouped_case(((5, 6, 7), (3, 4, 2))),
        cases_matmul.moe_case(60, 3, 8, 8),
        cases_matmul.conv2d_case(2, 5, 3, 4),
        cases_attention.attention_case(2, 6, 4, False),
        cases_attention.attention_case(2, 6, 4, True),
        cases_attention.gqa_case(1, 4, 2, 6),
        cases_attention.decode_case(2, 4, 2, 6),
        cases_jagged.sum_case(5, 9, 7),
        cases_jagged.mean_case(5, 9, 7),
        cases_jagged.softmax_case(5, 9, 7),
        cases_jagged.attention_case(5, 19, 2, 8),
        cases_other.histogram_case(99, 8),
        cases_other.embedding_case(9, 7, 20),
        cases_other.cumsum_case(6, 37),
        cases_other.center_columns_case(6, 7),
        cases_other.rope_case(2, 5, 3, 8),
        cases_other.segment_sum_case(20, 4, 6),
        cases_other.topk_case(5, 16, 3),
        cases_other.linear_loss_case(5, 6, 33),
    )
}
small_cases = pytest.mark.parametrize("one", SMALL.values(), ids=list(SMALL))
# Libraries that only a GPU has.
CUDA_ONLY = {"cudnn", "flash"}


def is_right(one: BenchCase, args: Any, found: Any) -> bool:
    return all(error["is_right"] for error in errors.errors_of(one, args, found))


# ---- the list ----


def test_dry_run_binds_every_case_and_emits_every_kernel() -> None:
    seen = set()
    for name, one in CASES.items():
        assert ahead.bind_offline(name).config_spec is not None
        if one.kernel.name not in seen:
            assert ahead.emit(name)["lines"] > 10, name
            seen.add(one.kernel.name)


@pytest.mark.parametrize("name", CASES)
def test_case_is_well_formed(name: str) -> None:
    one = CASES[name]
    args = one.host_args()
    assert one.name == name and name in FAMILIES[one.family]
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert len({args[i].size(0) for i in one.split}) <= 1
    assert all(t.device.type == "cuda" for t in tensors_in(one.fake_args()))
    assert one.floor_ms({"bytes_per_s": 1e12, **dict.fromkeys(case.RATES, 1e15)}) > 0


def test_every_kernel_of_the_suite_is_tried_small() -> None:
    small = {one.kernel.name for one in SMALL.values()}
    assert {one.kernel.name for one in CASES.values()} == small


@pytest.mark.parametrize(
    "name, count",
    [
        ("add_134217728_float32", 3 * 4 * 2**27),
        ("softmax_4096x131072", 2 * 2 * 4096 * 131072),
        ("cross_entropy_8192x128256", 2 * 8192 * 128256 + 8 * 8192 + 4),
        ("layer_norm_16384x5632", 2 * 2 * 16384 * 5632 + 4 * 5632 + 8 * 16384),
        ("layer_norm_dx_16384x1000", 6 * 16384 * 1000 + 2 * 1000 + 8 * 16384),
        ("layer_norm_dwdb_1152000x16", 4 * 1152000 * 16 + 8 * (1152000 + 16)),
        ("matmul_gelu_4096x4096x4096", 3 * 2 * 4096**2 + 2 * 4096),
        ("fp8_rows_4096x4096x4096", 4 * 4096**2 + 2 * 4 * 4096),
        ("attention_causal_16x16384x64", 4 * 2 * 16 * 16384 * 64),
        ("decode_8x32x8x16384x128", 4 * 8 * 128 * (8 * 16384 + 32) + 8 * 8),
    ],
)
def test_floor_counts_every_argument_and_result_once(name: str, count: int) -> None:
    assert CASES[name].bytes_moved() == count


@pytest.mark.parametrize(
    "name, count",
    [
        ("matmul_16x8192x8192", 2 * 16 * 8192**2),
        ("bmm_64x1024x1024x1024", 2 * 64 * 1024**3),
        ("attention_full_32x8192x128", 4 * 32 * 8192**2 * 128),
        ("attention_causal_32x8192x128", 2 * 32 * 8192**2 * 128),
        ("softmax_16384x4096", 0),
    ],
)
def test_operations_are_counted(name: str, count: int) -> None:
    assert CASES[name].flops == count


def test_floor_is_the_longer_of_memory_and_products() -> None:
    rates = {"bytes_per_s": 4e12, "bf16": 7e14, "fp8": 1.4e15, "tf32": 3e14}
    product, thin = CASES["fp8_8192x8192x8192"], CASES["matmul_1x8192x8192"]
    assert product.floor_ms(rates) == pytest.approx(2e3 * 8192**3 / 1.4e15)
    assert thin.floor_ms(rates) == pytest.approx(1e3 * thin.bytes_moved() / 4e12)


def test_rows_of_the_suite_are_128_mb_and_more() -> None:
    for m, n in cases_rows.SHAPES[1:]:
        assert m * n * 2 >= 128e6


def test_every_target_has_cases_and_every_case_a_target() -> None:
    for target in targets.TARGETS:
        assert target.names(), target.title
    widths = {name.split("x")[-1] for name in targets.TARGETS[1].names()}
    assert widths == {"1000", "2048", "4096", "5632", "8192", "16384"}
    counts = {target.title: len(target.names()) for target in targets.TARGETS}
    assert counts["attention, head 64"] == counts["attention, head 128"] == 6
    assert counts["every case of the suite"] == len(CASES)


def test_cases_are_chosen_by_family_name_and_pattern() -> None:
    assert chosen_cases(["*"]) == tuple(CASES)
    assert chosen_cases(["layer_norm", "softmax_4096x131072"]) == (
        "softmax_4096x131072",
        *FAMILIES["layer_norm"],
    )
    assert set(chosen_cases(["*_8192x8192x8192"])) >= set(
        name for name in FAMILIES["matmul_epilogue"] if "8192" in name
    )
    with pytest.raises(KeyError, match="layernorm"):
        chosen_cases(["layernorm"])


# ---- what is compared with what ----


@small_cases
def test_kernel_and_eager_agree_with_the_reference(one: BenchCase) -> None:
    torch.manual_seed(0)
    args = one.make_args("cpu")
    found = run(one.kernel, *one.call_args(args), way="eager")
    assert is_right(one, args, found)
    assert errors.agrees(found, one.eager(*args), 3e-2)


@pytest.mark.parametrize("name", [n for n, one in SMALL.items() if one.library])
def test_libraries_compute_the_same(name: str) -> None:
    one = SMALL[name]
    torch.manual_seed(0)
    args = one.make_args("cpu")
    if one.rate != "fp8" and "moe" not in name and "histogram" not in name:
        args = map_tensors(to_float64, args)
    wanted = (one.reference or one.eager)(*map_tensors(to_float64, args))
    for label, call in {**one.library, **one.shown}.items():
        if label in CUDA_ONLY:
            continue
        try:
            found = call(*args)
        except RuntimeError as error:
            # PyTorch 2.11 has no scales by row on a CPU.
            assert "for CPU backend" in str(error)
            continue
        assert errors.agrees(found, wanted, 1e-2), label


@small_cases
def test_wrong_results_are_found(one: BenchCase) -> None:
    torch.manual_seed(0)
    args = one.make_args("cpu")
    found = [t.clone() for t in tensors_in(one.eager(*args))]
    for result in found:
        flat = result.view(-1)
        flat[flat.double().abs().argmax()] *= 1.25 if flat.is_floating_point() else -2
        assert not is_right(one, args, found)


@small_cases
def test_unwritten_results_are_found(one: BenchCase) -> None:
    args = one.make_args("cpu")
    for result in (found := [t.clone() for t in tensors_in(one.eager(*args))]):
        if result.is_floating_point():
            result.view(-1)[0] = float("nan")
            assert not is_right(one, args, found)


@pytest.mark.parametrize("name", [n for n, one in SMALL.items() if one.split])
def test_reference_in_chunks_is_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = SMALL[name]
    args = one.make_args("cpu")
    whole = list(one.expected(args))
    monkeypatch.setattr(case, "CHUNK_NUMEL", max(1, one.numel // 3))
    parts = list(one.expected(args))
    is_single = one.is_sum or args[one.split[0]].size(0) == 1
    assert (len(parts) == 1) == is_single
    for part, values in parts:
        for value, right in zip(values, whole[0][1], strict=True):
            torch.testing.assert_close(value, right[part])


def test_copies_have_values_strides_and_memory_of_their_own() -> None:
    x, y, scale, one = SMALL["fp8_16x32x16"].make_args("cpu")
    args = case.copied((x, y, [scale], one))
    assert args[1].stride() == y.stride() and args[1].data_ptr() != y.data_ptr()
    assert torch.equal(args[1].view(torch.uint8), y.view(torch.uint8))
    assert torch.equal(args[2][0], scale)


# ---- random shapes ----


def test_draw_is_seeded_by_family() -> None:
    names = draw.drawn_names(["softmax", "matmul"], 30, 7)
    assert names[-30:] == draw.drawn_names(["matmul"], 30, 7)
    assert names != draw.drawn_names(["softmax", "matmul"], 30, 8)
    assert len(set(names)) == 60


@pytest.mark.parametrize("family", draw.DRAWS)
def test_drawn_cases_are_well_formed(family: str) -> None:
    names = draw.drawn_names([family], 30, 20261121)
    sizes = [int(word) for name in names for word in name.split("/")[2:]]
    assert family == "fp8_matmul" or any(size % 2 for size in sizes)
    for name in names[:6]:
        one = case_of(name)
        assert one.family == family and one.name == name
        assert one.bytes_moved() < 8 << 30


def test_drawn_names_are_no_other_names() -> None:
    with pytest.raises(KeyError):
        case_of("softmax/3/4")
