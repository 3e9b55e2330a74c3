"""Products of block-scaled factors in every format, against float64."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness
from test.unit import faults

MAGNITUDES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
CODES = torch.tensor([*MAGNITUDES, *(-m for m in MAGNITUDES)], dtype=torch.float64)
DTYPES = {
    "e4m3": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
FORMATS = ["e2m1", *DTYPES]
PAIRS = [f"{a}-{b}" for a in FORMATS for b in FORMATS if a == b or "e2m1" in (a, b)]
PAIRS += ["e4m3-e5m2", "bf16-e4m3", "e5m2-fp16"]


@helion.kernel
def whole_rows(
    x: torch.Tensor,
    xs: torch.Tensor,
    x_format: hl.constexpr,
    y: torch.Tensor,
    ys: torch.Tensor,
    y_format: hl.constexpr,
) -> torch.Tensor:
    m, n = x.size(0), y.size(1)
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for i, j in hl.tile([m, n]):
        out[i, j] = hl.dot_scaled(
            x[i, :], xs[i, :], x_format, y[:, j], ys[j, :], y_format
        )
    return out


@helion.kernel
def tiles_of_k(
    x: torch.Tensor,
    xs: torch.Tensor,
    y: torch.Tensor,
    ys: torch.Tensor,
    dtype: hl.constexpr,
) -> torch.Tensor:
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=dtype, device=x.device)
    for i, j in hl.tile([m, n]):
        acc = hl.zeros([i, j], dtype=dtype)
        for t in hl.tile(k):
            group = t.begin // 32 + hl.arange(helion.cdiv(t.block_size, 32))
            inside = (group < xs.size(1))[None, :]
            left = hl.load(xs, [i, group], extra_mask=inside)
            right = hl.load(ys, [j, group], extra_mask=inside)
            acc = hl.dot_scaled(x[i, t], left, "e5m2", y[t, j], right, "e5m2", acc=acc)
        out[i, j] = acc
    return out


@helion.kernel
def packed_and_plain(
    x: torch.Tensor, xs: torch.Tensor, y: torch.Tensor, ys: torch.Tensor
) -> torch.Tensor:
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for i, j in hl.tile([m, n]):
        acc = hl.zeros([i, j])
        for t in hl.tile(k):
            at = t.begin * 2 + hl.arange(t.block_size * 2)
            group = t.begin // 16 + hl.arange(t.block_size // 16)
            acc = hl.dot_scaled(
                x[i, t], xs[i, group], "e2m1", y[at, j], ys[j, group], "bf16", acc
            )
        out[i, j] = acc
    return out


@helion.kernel
def without_scales(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0), y.size(1)], dtype=torch.float16, device=x.device)
    for i, j in hl.tile(out.size()):
        out[i, j] = hl.dot_scaled(
            x[i, :], None, "e4m3", y[:, j], None, "bf16", out_dtype=torch.float16
        )
    return out


def factor(rows: int, k: int, name: str) -> torch.Tensor:
    """Return ``[rows, k]`` in a format; two numbers in a byte for e2m1."""
    if name == "e2m1":
        return torch.randint(0, 256, (rows, k // 2), dtype=torch.uint8)
    return torch.randn(rows, k).to(DTYPES[name])


def scales(rows: int, k: int) -> torch.Tensor:
    return torch.randint(123, 131, (rows, -(-k // 32)), dtype=torch.uint8)


def numbers(value: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """Return a factor ``[rows, k]`` in float64, with its scales."""
    if value.dtype == torch.uint8:
        codes = value.to(torch.int64)
        result = torch.stack([CODES[codes & 15], CODES[codes >> 4]], -1).flatten(1)
    else:
        result = value.double()
    if scale is None:
        return result
    factors = 2.0 ** (scale.double() - 127)
    return result * factors.repeat_interleave(32, 1)[:, : result.shape[1]]


def compare(found: torch.Tensor, expected: torch.Tensor, rtol: float = 1e-4) -> None:
    limit = expected.abs().max().item()
    torch.testing.assert_close(
        found.double().cpu(), expected, rtol=rtol, atol=rtol * limit
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_of_formats(way: str, pair: str) -> None:
    left, right = pair.split("-")
    x, y = factor(19, 64, left), factor(21, 64, right)
    xs, ys = scales(19, 64), scales(21, 64)
    args = (x, xs, left, y.t().contiguous(), ys, right)
    config = helion.Config(block_sizes=[16, 16])
    found = harness.run(whole_rows, *args, way=way, config=config)
    # A float16 factor makes Triton compute in float16, where scales are rounded.
    rtol = 1e-2 if way == "compiled" else 1e-4
    compare(found, numbers(x, xs) @ numbers(y, ys).t(), rtol)


@pytest.mark.parametrize("k", [32, 96, 40, 7])
def test_k_that_is_no_power_of_two(way: str, k: int) -> None:
    x, y = factor(17, k, "e4m3"), factor(16, k, "e4m3")
    xs, ys = scales(17, k), scales(16, k)
    args = (x, xs, "e4m3", y.t().contiguous(), ys, "e4m3")
    found = harness.run(whole_rows, *args, way=way)
    compare(found, numbers(x, xs) @ numbers(y, ys).t())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("k", [128, 72])
def test_a_loop_over_k_keeps_the_type_of_acc(
    way: str, k: int, dtype: torch.dtype
) -> None:
    x, y = factor(17, k, "e5m2"), factor(18, k, "e5m2")
    xs, ys = scales(17, k), scales(18, k)
    args = (x, xs, y.t().contiguous(), ys, dtype)
    rtol = 1e-4 if dtype == torch.float32 else 1e-2
    for config in (None, helion.Config(block_sizes=[16, 32, 32])):
        found = harness.run(tiles_of_k, *args, way=way, config=config)
        assert found.dtype == dtype
        compare(found, numbers(x, xs) @ numbers(y, ys).t(), rtol)


def test_a_packed_factor_meets_a_plain_one(way: str) -> None:
    x, y = factor(16, 128, "e2m1"), factor(33, 128, "bf16")
    xs, ys = scales(16, 128), scales(33, 128)
    args = (x, xs, y.t().contiguous(), ys)
    for config in (None, helion.Config(block_sizes=[16, 32, 16])):
        found = harness.run(packed_and_plain, *args, way=way, config=config)
        compare(found, numbers(x, xs) @ numbers(y, ys).t())


def test_factors_without_scales(way: str) -> None:
    x, y = factor(16, 64, "e4m3"), factor(16, 64, "bf16")
    found = harness.run(without_scales, x, y.t().contiguous(), way=way)
    assert found.dtype == torch.float16
    compare(found, numbers(x, None) @ numbers(y, None).t(), 1e-2)


def test_torch_dtypes_of_packed_floats_and_scales(way: str) -> None:
    x, y = factor(16, 64, "e2m1"), factor(16, 64, "e2m1")
    xs, ys = scales(16, 64), scales(16, 64)
    kind = torch.float8_e8m0fnu
    args = (
        x.view(torch.float4_e2m1fn_x2), xs.view(kind), "e2m1",
        y.t().contiguous().view(torch.float4_e2m1fn_x2), ys.view(kind), "e2m1",
    )  # fmt: skip
    found = harness.run(whole_rows, *args, way=way)
    compare(found, numbers(x, xs) @ numbers(y, ys).t())


def test_a_scale_of_255_is_nan() -> None:
    x, scale = torch.ones(1, 32).bfloat16(), torch.tensor([[255]], dtype=torch.uint8)
    y = torch.ones(32, 1).bfloat16()
    assert hl.dot_scaled(x, scale, "bf16", y, None, "bf16").isnan().all()
    tiny = torch.tensor([[0]], dtype=torch.uint8)
    found = hl.dot_scaled(x, tiny, "bf16", y, None, "bf16")
    assert found.item() == 32 * 2.0**-127


@pytest.mark.parametrize("arch", ["sm_90", "sm_100"])
@pytest.mark.parametrize("pair", ["e2m1-e2m1", "e4m3-e5m2", "e2m1-bf16", "fp16-e4m3"])
def test_products_assemble(arch: str, pair: str) -> None:
    left, right = pair.split("-")
    x, y = factor(64, 128, left), factor(64, 128, right)
    args = (x, scales(64, 128), left, y.t().contiguous(), scales(64, 128), right)
    config = helion.Config(block_sizes=[64, 64])
    assert harness.offline(whole_rows, *args, config=config, arch=arch)


def test_blocks_of_k_are_at_least_32() -> None:
    x, y = factor(17, 128, "e5m2"), factor(18, 128, "e5m2")
    args = (x, scales(17, 128), y.t().contiguous(), scales(18, 128), torch.float32)
    bound = tiles_of_k.bind(harness.fake_cuda(args))
    assert [s.min_size for s in bound.config_spec.block_sizes] == [16, 16, 32]


RIGHT = 'b[:, t], s[t, :], "e4m3"'
MISUSES = [
    ("the format is 'fp8'", f'a[t, :], s[t, :], "fp8", {RIGHT}'),
    ("not torch.float32", f'x[t, :], s[t, :], "e4m3", {RIGHT}'),
    ("must be 2-D", f'a[t, 0], s[t, :], "e4m3", {RIGHT}'),
    ("scales are of", f'a[t, :], x[t, :], "e4m3", {RIGHT}'),
    ("numbers along K", f'a[t, 0:16], s[t, :], "e4m3", {RIGHT}'),
    ("a scale has a dim", f'a[t, :], s[t, 0:1], "e4m3", {RIGHT}'),
    ("acc is of", f'a[t, :], s[t, :], "e4m3", {RIGHT}, hl.zeros([t, t], torch.int32)'),
    ("out_dtype is", f'a[t, :], s[t, :], "e4m3", {RIGHT}, None, torch.int32'),
    ("acc has shape", f'a[t, :], s[t, :], "e4m3", {RIGHT}, hl.zeros([t])'),
]


@pytest.mark.parametrize("text, call", MISUSES, ids=[m[0] for m in MISUSES])
def test_misuse_is_refused(text: str, call: str) -> None:
    x, a, b = torch.ones(64, 64), factor(64, 64, "e4m3"), factor(64, 64, "e4m3")
    args = (x, a, b.t().contiguous(), scales(64, 64))
    body = f"v = hl.dot_scaled({call})  #!\nout[t, :] = v.sum()"
    source = faults.device_text(body, "x, a, b, s").replace("out[t] = x[t]", "")
    found = faults.fault(source, *args)
    assert type(found) is exc.InvalidAPIUsage
    assert text in str(found)
