"""How accesses are addressed in the emitted text, and why not otherwise."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import helion
from helion._compiler import indexing_block_ptr, indexing_tensor_descriptor
from test import indexing_mode_kernels as kernels
from test.codegen.emitted import KERNELS, bind, bind_case, host_text, kernel_texts, meta
from test.harness import offline

BLOCKS = {"block_sizes": [16, 32]}
DESCRIPTORS = {"indexing": "tensor_descriptor"}


def code(kernel: helion.Kernel, *args: Any, **config: Any) -> str:
    """Return the text of the kernel that a call launches."""
    text = bind(kernel, *args).to_triton_code({**BLOCKS, **config})
    return kernel_texts(text)[0]


def reasons(kernel: helion.Kernel, *args: Any, **config: Any) -> list[str | None]:
    """Return why operations have no descriptors, op by op."""
    found = bind(kernel, *args).indexing_report({**BLOCKS, **DESCRIPTORS, **config})
    return [choice.reason for choice in found]


def assembled(kernel: helion.Kernel, *args: Any, **config: Any) -> str:
    """Return the PTX of the only launch of a kernel with descriptors."""
    chosen = helion.Config(**{**BLOCKS, **DESCRIPTORS, **config})
    (launch,) = offline(kernel, *args, config=chosen)
    return launch.ptx_or_asm


# ---- text ----


MODES = {
    "pointer": (r"tl\.load\(x \+ offsets_0_1", r"tl\.store\(out \+ offsets_0_1"),
    "block_ptr": (
        r"tl\.load\(tl\.make_block_ptr\(x, \[64, 40\], \[40, 1\], "
        r"\[offset_0, offset_1\], \[_BLOCK_SIZE_0, _BLOCK_SIZE_1\], \[1, 0\]\), "
        r"boundary_check=\[1\], padding_option='zero'\)",
        r"tl\.store\(tl\.make_block_ptr\(out, .*, boundary_check=\[1\]\)",
    ),
    "tensor_descriptor": (
        r"x_desc = tl\.make_tensor_descriptor\(x, \[64, 40\], \[40, 1\], "
        r"\[_BLOCK_SIZE_0, _BLOCK_SIZE_1\]\)(.|\n)*x_desc\.load\(\[offset_0, offset_1",
        r"out_desc\.store\(\[offset_0, offset_1\], ",
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_its_text(mode: str) -> None:
    text = code(kernels.copy_block, meta(64, 40), indexing=mode)
    for pattern in MODES[mode]:
        assert re.search(pattern, text), text
    assert ("mask" in text) == (mode == "pointer"), text


def test_each_operation_has_a_mode_of_its_own() -> None:
    text = code(
        kernels.copy_block, meta(64, 40), indexing=["tensor_descriptor", "block_ptr"]
    )
    assert "out_desc.store" in text and "tl.load(tl.make_block_ptr(x" in text


def test_one_descriptor_serves_all_blocks_of_a_shape() -> None:
    config = {"block_sizes": [16, 16, 16], **DESCRIPTORS}
    text = code(KERNELS["matmul"].kernel, *[meta(64, 64)] * 2, **config)
    assert text.count("make_tensor_descriptor") == 3


def test_dims_of_stride_1_come_last() -> None:
    text = code(kernels.copy_block, meta(64, 40).t(), **DESCRIPTORS)
    assert "[64, 40], [40, 1], [_BLOCK_SIZE_1, _BLOCK_SIZE_0]" in text
    assert "tl.permute(x_desc.load([offset_1, offset_0]), [1, 0])" in text


def test_only_lanes_beyond_the_loop_are_masked() -> None:
    x = meta(64, 48)
    assert "tl.where" not in code(kernels.sums_up_to, x, 48, **DESCRIPTORS)
    assert "tl.where" in code(kernels.sums_up_to, x, 40, **DESCRIPTORS)


def test_wrapper_asks_whether_tensors_are_aligned() -> None:
    text = bind(kernels.copy_block, meta(64, 40)).to_triton_code(
        {**BLOCKS, **DESCRIPTORS}
    )
    assert "if _aligned(x, out):" in host_text(text)
    assert "tl.load" in kernel_texts(text)[1]


def test_wrapper_asks_for_strides_that_only_a_call_knows() -> None:
    bound = bind(kernels.copy_block, meta(64, 40), static_shapes=False)
    text = bound.to_triton_code({**BLOCKS, **DESCRIPTORS})
    assert "if _describable(x, 1) and _describable(out, 1):" in host_text(text)


def test_descriptors_can_be_made_by_the_host() -> None:
    bound = bind(kernels.copy_block, meta(64, 40))
    config = {**BLOCKS, **DESCRIPTORS, "host_tensor_descriptors": True}
    text = bound.to_triton_code(config)
    assert "_descriptor(x, (16, 32)), _descriptor(out, (16, 32))" in host_text(text)
    assert "make_tensor_descriptor" not in text
    plain = bound.config_spec.normalize({**BLOCKS, "host_tensor_descriptors": True})
    assert "host_tensor_descriptors" not in plain


# ---- refusals ----


def test_report_says_what_was_asked_for_and_what_is_done() -> None:
    bound = bind(kernels.copy_block, meta(64, 42))
    found = bound.indexing_report({**BLOCKS, **DESCRIPTORS})
    assert [(c.kind, c.op, c.tensor, c.wanted, c.used) for c in found] == [
        ("store", 0, "out", "tensor_descriptor", "pointer"),
        ("load", 1, "x", "tensor_descriptor", "pointer"),
    ]
    assert all("stride of dim 0 is 168 bytes" in (c.reason or "") for c in found)
    assert str(found[1]).startswith("line ") and "load 1 of x: pointer" in str(found[1])


def test_refusals_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "helion")
    reasons(kernels.copy_block, meta(64, 42))
    assert "not tensor_descriptor: the stride of dim 0" in caplog.text


REFUSALS: list[tuple[helion.Kernel, tuple[Any, ...], dict[str, Any], str]] = [
    (kernels.copy_block, (meta(64, 64)[:, ::2],), {}, "one dim of stride 1"),
    (kernels.copy_block, (meta(1, 64).expand(8, 64),), {}, "stride of dim 0 is 0"),
    (kernels.copy_block, (meta(64, 64, dtype=torch.bool),), {}, "torch.bool"),
    (kernels.copy_block, (meta(64, 64, dtype=torch.float64),), {}, "torch.float64"),
    (kernels.copy_block, (meta(0, 64),), {}, "empty"),
    (kernels.copy_block, (meta(64, 64),), {"block_sizes": [16, 2]}, "8 bytes along"),
    (kernels.copy_block, (meta(64, 512),), {"block_sizes": [2, 512]}, "over 256"),
    (kernels.copy_block, (meta(64, 64),), {"flatten_loops": [True]}, "flattened"),
    (kernels.copy_block, (meta(2**16, 2**16),), {}, "64-bit"),
    (kernels.double_in_place, (meta(64, 64),), {}, "this memory too"),
    (kernels.last_sums, (meta(64, 64),), {"block_sizes": [16]}, "each turn"),
    (kernels.head_of, (meta(64, 64), 40), {}, "before the tensor does"),
]


@pytest.mark.parametrize("kernel, args, config, part", REFUSALS)
def test_refusals_have_a_reason(
    kernel: helion.Kernel, args: tuple[Any, ...], config: dict[str, Any], part: str
) -> None:
    found = reasons(kernel, *args, **config)
    assert any(part in (reason or "") for reason in found), found


def test_a_search_draws_what_can_be() -> None:
    both, alone = ("pointer", "tensor_descriptor"), ("pointer",)
    good = bind(kernels.copy_block, meta(64, 40)).config_spec
    assert good.indexing_modes == [both, both]
    assert "host_tensor_descriptors" in {key for key, _, _ in good.knobs()}
    bad = bind(kernels.copy_block, meta(64, 42)).config_spec
    assert bad.indexing_modes == [alone, alone]
    assert "host_tensor_descriptors" not in {key for key, _, _ in bad.knobs()}
    bad.normalize({**BLOCKS, **DESCRIPTORS})


def test_older_gpus_have_block_pointers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    env = bind_case("add").env
    refusal = indexing_tensor_descriptor.device_refusal(env)
    assert refusal == "it needs compute capability 9.0, the GPU has 8.0"


def test_block_pointers_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(indexing_block_ptr, "has_block_pointers", lambda: False)
    text = code(kernels.copy_block, meta(64, 40), indexing="block_ptr")
    assert "tl.load(x + offsets_0_1" in text
    assert "no block pointers" in capsys.readouterr().err


# ---- machine code ----

BF16 = torch.bfloat16
FOURK = meta(4096, 4096, dtype=BF16)
HEADS = meta(4, 16, 4096, 128, dtype=BF16)
BIG_TILES = {"block_sizes": [128, 256, 64], "num_warps": 8, "num_stages": 3}
QUERIES = {"block_sizes": [1, 128, 64], "num_warps": 8, "num_stages": 2}


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize(
    "name, args, config",
    [("matmul", (FOURK, FOURK), BIG_TILES), ("attention", (HEADS,) * 3, QUERIES)],
)
def test_products_on_hopper(
    name: str, args: tuple[Any, ...], config: dict[str, Any], host: bool
) -> None:
    chosen = helion.Config(**config, **DESCRIPTORS, host_tensor_descriptors=host)
    (launch,) = offline(KERNELS[name].kernel, *args, config=chosen)
    assert "wgmma.mma_async" in launch.ptx_or_asm
    # Loads run ahead: they are begun before the loop and in it.
    loads = launch.ptx_or_asm.count("cp.async.bulk.tensor.")
    assert loads >= 5 and "cp.async.cg" not in launch.ptx_or_asm
    assert launch.spill_bytes == 0


def test_loops_keep_their_stages() -> None:
    config = {**BIG_TILES, **DESCRIPTORS, "num_stages": 1}
    kernel = KERNELS["matmul"].kernel
    few, many = (
        offline(
            kernel,
            FOURK,
            FOURK,
            config=helion.Config(**config, range_num_stages=[n, 0]),
        )[0].shared_bytes
        for n in (0, 3)
    )
    assert many > few


DTYPES = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.bfloat16,
    torch.float32,
    torch.int8,
    torch.int16,
    torch.int64,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_copies_of_every_type(dtype: torch.dtype) -> None:
    ptx = assembled(kernels.copy_block, meta(64, 64, dtype=dtype))
    assert len(re.findall(r"cp\.async\.bulk\.tensor\.2d", ptx)) == 2


@pytest.mark.parametrize(
    "kernel, args, config",
    [
        (kernels.copy_line, (meta(1000),), {"block_sizes": [64]}),
        (kernels.rows_below, (meta(64, 64),), {}),
        (kernels.filled, (meta(64, 64),), {}),
        (
            kernels.batched_product,
            (meta(4, 64, 64).transpose(1, 2), meta(4, 64, 64)),
            {"block_sizes": [1, 64, 64, 32]},
        ),
    ],
)
def test_other_blocks_assemble(
    kernel: helion.Kernel, args: tuple[Any, ...], config: dict[str, Any]
) -> None:
    ptx = assembled(kernel, *args, **config)
    assert "cp.async.bulk.tensor" in ptx and "ld.global" not in ptx


def test_updates_without_an_order() -> None:
    config = {"atomic_indexing": "tensor_descriptor"}
    ptx = assembled(kernels.added_tiles, meta(4, 64, 64), **config)
    assert "cp.reduce.async.bulk.tensor" in ptx
