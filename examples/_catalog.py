"""Every example kernel with arguments, a float64 reference and Configs to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

import helion
from examples import (
    add,
    attention,
    branch,
    concat,
    cross_entropy,
    embedding,
    jagged_row_sum,
    layer_norm,
    matmul,
    pointwise,
    rms_norm,
    softmax,
    two_phase,
)
from examples import sum as row_reductions

Tolerance = Mapping[torch.dtype, tuple[float, float]]

# (rtol, atol) by the least precise floating dtype that a kernel reads or writes.
ELEMENTWISE: Tolerance = {
    torch.float64: (1e-5, 1e-5),
    torch.float32: (1e-4, 1e-4),
    torch.float16: (4e-3, 4e-3),
    torch.bfloat16: (2e-2, 2e-2),
}
# Products of float32 run in TF32 on a GPU by default.
PRODUCT: Tolerance = {
    torch.float32: (1e-2, 1e-2),
    torch.float16: (1e-2, 5e-2),
    torch.bfloat16: (2e-2, 1e-1),
}
# Sums of many terms: the error grows with the number of terms.
LONG_SUM: Tolerance = {
    torch.float32: (1e-3, 2e-3),
    torch.float16: (1e-2, 5e-2),
    torch.bfloat16: (4e-2, 4e-1),
}


@dataclass(frozen=True)
class Case:
    """One kernel call: ``reference(*args)`` is right for arguments in any dtype."""

    name: str
    kernel: helion.Kernel
    make_args: Callable[[str, bool], tuple[object, ...]]
    reference: Callable[..., object]
    tolerance: Tolerance = field(default_factory=lambda: ELEMENTWISE)
    configs: tuple[helion.Config, ...] = ()


class Data:
    """Seeded random arguments on one device: small float32, or real-size float16."""

    def __init__(self, device: str, small: bool) -> None:
        self.device = device
        self.small = small
        self.dtype = torch.float32 if small else torch.float16
        self._generator = torch.Generator(device).manual_seed(0)

    def pick(self, small: int, real: int) -> int:
        """Return the size that fits this kind of run."""
        return small if self.small else real

    def randn(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return normal values."""
        value = torch.randn(shape, device=self.device, generator=self._generator)
        return value.to(dtype or self.dtype)

    def randint(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Return integers in ``[low, high)``."""
        return torch.randint(
            low, high, shape, device=self.device, generator=self._generator
        )

    def matrix(self) -> torch.Tensor:
        """Return a matrix with odd sizes in a small run."""
        return self.randn(self.pick(13, 4096), self.pick(37, 5632))


def _args(
    build: Callable[[Data], tuple[object, ...]],
) -> Callable[[str, bool], tuple[object, ...]]:
    return lambda device, small: build(Data(device, small))


def _configs(*options: dict[str, object]) -> tuple[helion.Config, ...]:
    return tuple(helion.Config(**option) for option in options)


def _clamp_where_ref(
    x: torch.Tensor, low: float, high: float, mask: torch.Tensor
) -> torch.Tensor:
    return torch.where(mask, x.clamp(low, high), -x)


def _quantize_ref(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.round(x / scale).clamp(-128, 127).to(torch.int8)


def _matmul_ref(
    x: torch.Tensor,
    y: torch.Tensor,
    epilogue: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    product = x @ y
    everything = (slice(None), slice(None))
    return product if epilogue is None else epilogue(product, everything)


def _rms_norm_ref(
    x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6
) -> torch.Tensor:
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + eps) * weight


def _layer_norm_ref(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    out = torch.nn.functional.layer_norm(x, [x.size(1)], weight, bias)
    return out, x.mean(1), torch.rsqrt(x.var(1, correction=0) + 1e-5)


def _layer_norm_bwd_ref(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    normal = (x - mean[:, None]) * rstd[:, None]
    grad = grad_out * weight
    along = (grad * normal).mean(1, keepdim=True)
    dx = (grad - normal * along - grad.mean(1, keepdim=True)) * rstd[:, None]
    return dx, (grad_out * normal).sum(0), grad_out.sum(0)


def _row_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.float()
    return x.mean(1), torch.rsqrt(x.var(1, correction=0) + 1e-5)


def _layer_norm_bwd_args(data: Data) -> tuple[torch.Tensor, ...]:
    x = data.matrix()
    grad_out, weight = data.matrix(), data.randn(x.size(1))
    return grad_out, x, weight, *_row_statistics(x)


def _dwdb_args(data: Data) -> tuple[torch.Tensor, ...]:
    grad_out, x, _, mean, rstd = _layer_norm_bwd_args(data)
    return grad_out, x, mean, rstd


def _long_dwdb_args(data: Data) -> tuple[torch.Tensor, ...]:
    shape = data.pick(1003, 1_152_000), 16
    grad_out, x = (data.randn(*shape, dtype=torch.float32) for _ in range(2))
    return grad_out, x, *_row_statistics(x)


def _dwdb_ref(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    compute_bias_grad: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    normal = (x - mean[:, None]) * rstd[:, None]
    dbias = grad_out.sum(0) if compute_bias_grad else None
    return (grad_out * normal).sum(0), dbias


def _attention_args(data: Data) -> tuple[torch.Tensor, ...]:
    heads, length, head = data.pick(2, 64), data.pick(37, 1024), data.pick(16, 64)
    q, k, v = (data.randn(1, heads, length, head) for _ in range(3))
    return q, k, v


def _attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False
) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    if causal:
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return torch.softmax(scores, dim=-1) @ v


def _jagged_args(data: Data) -> tuple[torch.Tensor, ...]:
    longest = data.pick(19, 5000)
    lengths = torch.tensor([0, 1, longest, 7, 0, longest // 2])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = data.randn(int(offsets[-1]), data.pick(9, 257))
    return values, offsets.to(data.device)


def _jagged_ref(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    ends = offsets.tolist()
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return torch.stack([values[begin:end].sum(0) for begin, end in pairs])


def _prefix_ref(x: torch.Tensor, cut: int, scale: float) -> torch.Tensor:
    return torch.cat([x[:cut] * scale, x[cut:]])


def _activate_ref(x: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
    return torch.where(mode[:, None] > 0, torch.relu(x), torch.tanh(x))


def _product_args(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    m, k, n = data.pick(33, 1024), data.pick(70, 2048), data.pick(17, 512)
    return data.randn(m, k), data.randn(k, n)


GRID_2D = _configs(
    {"block_sizes": [8, 16]},
    {"block_sizes": [16, 4], "loop_orders": [[1, 0]], "num_warps": 2},
    {"block_sizes": [8, 32], "pid_type": "persistent_interleaved"},
)
ROWS = _configs(
    {"block_sizes": [4]},
    {"block_sizes": [2], "reduction_loops": [16]},
    {"block_sizes": [1], "reduction_loops": [8], "pid_type": "persistent_blocked"},
)

CASES: list[Case] = [
    Case(
        "add",
        add.add,
        _args(lambda data: (data.matrix(), data.matrix())),
        torch.add,
        configs=(
            *GRID_2D,
            helion.Config(block_sizes=[16, 16], flatten_loops=[True]),
        ),
    ),
    Case(
        "add_broadcast",
        add.add,
        _args(lambda data: (data.randn(33, 1), data.randn(17, dtype=torch.float16))),
        torch.add,
        configs=GRID_2D,
    ),
    Case(
        "gelu",
        pointwise.gelu,
        _args(lambda data: (data.matrix(),)),
        torch.nn.functional.gelu,
        configs=GRID_2D,
    ),
    Case(
        "silu_mul",
        pointwise.silu_mul,
        _args(lambda data: (data.matrix(), data.matrix())),
        lambda gate, up: torch.nn.functional.silu(gate) * up,
        configs=GRID_2D,
    ),
    Case(
        "clamp_where",
        pointwise.clamp_where,
        _args(lambda data: (data.matrix(), -0.5, 0.25, data.matrix() > 0)),
        _clamp_where_ref,
        configs=GRID_2D,
    ),
    Case(
        "quantize",
        pointwise.quantize,
        _args(lambda data: (data.matrix(), 0.015625)),
        _quantize_ref,
        configs=GRID_2D,
    ),
    Case(
        "matmul",
        matmul.matmul,
        _args(_product_args),
        _matmul_ref,
        PRODUCT,
        _configs(
            {"block_sizes": [16, 16, 16]},
            {"block_sizes": [32, 16, 32], "l2_groupings": [2]},
            {"block_sizes": [16, 32, 16], "loop_orders": [[1, 0]]},
        ),
    ),
    Case(
        "matmul_bias_relu",
        matmul.matmul,
        _args(
            lambda data: (
                *_product_args(data),
                matmul.bias_relu(data.randn(data.pick(17, 512))),
            )
        ),
        _matmul_ref,
        PRODUCT,
        _configs({"block_sizes": [16, 16, 16]}),
    ),
    Case(
        "bmm",
        matmul.bmm,
        _args(
            lambda data: (
                data.randn(3, data.pick(18, 512), data.pick(21, 768)),
                data.randn(3, data.pick(21, 768), data.pick(19, 256)),
            )
        ),
        torch.bmm,
        PRODUCT,
        _configs({"block_sizes": [1, 16, 16, 16]}),
    ),
    Case(
        "matmul_split_k",
        matmul.matmul_split_k,
        _args(_product_args),
        _matmul_ref,
        PRODUCT,
        _configs({"block_sizes": [32, 16, 16, 16]}, {"block_sizes": [128, 32, 32, 32]}),
    ),
    Case(
        "softmax",
        softmax.softmax,
        _args(lambda data: (data.matrix(),)),
        lambda x: torch.softmax(x, dim=1),
        configs=ROWS,
    ),
    Case(
        "softmax_parts",
        softmax.softmax_parts,
        _args(lambda data: (data.matrix(),)),
        lambda x: torch.softmax(x, dim=1),
        configs=ROWS,
    ),
    Case(
        "softmax_two_pass",
        softmax.softmax_two_pass,
        _args(lambda data: (data.matrix(),)),
        lambda x: torch.softmax(x, dim=1),
        configs=_configs({"block_sizes": [4, 16, 8]}, {"block_sizes": [1, 8, 64]}),
    ),
    Case(
        "rms_norm",
        rms_norm.rms_norm,
        _args(lambda data: (x := data.matrix(), data.randn(x.size(1)))),
        _rms_norm_ref,
        configs=ROWS,
    ),
    Case(
        "layer_norm",
        layer_norm.layer_norm,
        _args(
            lambda data: (
                x := data.matrix(),
                data.randn(x.size(1)),
                data.randn(x.size(1)),
            )
        ),
        _layer_norm_ref,
        configs=ROWS,
    ),
    Case(
        "layer_norm_no_bias",
        layer_norm.layer_norm,
        _args(lambda data: (x := data.matrix(), data.randn(x.size(1)))),
        _layer_norm_ref,
        configs=ROWS,
    ),
    Case(
        "layer_norm_bwd_dx",
        layer_norm.layer_norm_bwd_dx,
        _args(_layer_norm_bwd_args),
        lambda *args: _layer_norm_bwd_ref(*args)[0],
        LONG_SUM,
        ROWS,
    ),
    Case(
        "layer_norm_bwd_dwdb",
        layer_norm.layer_norm_bwd_dwdb,
        _args(_dwdb_args),
        _dwdb_ref,
        LONG_SUM,
        _configs({"block_sizes": [16]}, {"block_sizes": [4], "reduction_loops": [8]}),
    ),
    Case(
        "layer_norm_bwd_dwdb_no_bias",
        layer_norm.layer_norm_bwd_dwdb,
        _args(lambda data: (*_dwdb_args(data), False)),
        _dwdb_ref,
        LONG_SUM,
        _configs({"block_sizes": [16]}, {"block_sizes": [4], "reduction_loops": [8]}),
    ),
    Case(
        "layer_norm_bwd_dwdb_long",
        layer_norm.layer_norm_bwd_dwdb,
        _args(_long_dwdb_args),
        _dwdb_ref,
        LONG_SUM,
        _configs({"block_sizes": [16], "reduction_loops": [128]}),
    ),
    Case(
        "layer_norm_bwd",
        layer_norm.layer_norm_bwd,
        _args(_layer_norm_bwd_args),
        _layer_norm_bwd_ref,
        LONG_SUM,
        _configs({"block_sizes": [8, 4]}, {"block_sizes": [16, 1]}),
    ),
    Case(
        "row_sum",
        row_reductions.row_sum,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.sum(-1),
        LONG_SUM,
        ROWS,
    ),
    Case(
        "row_sum_tiled",
        row_reductions.row_sum_tiled,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.sum(-1),
        LONG_SUM,
        _configs({"block_sizes": [4, 16]}, {"block_sizes": [8, 4]}),
    ),
    Case(
        "row_mean",
        row_reductions.row_mean,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.mean(-1),
        configs=ROWS,
    ),
    Case(
        "row_amax",
        row_reductions.row_amax,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.amax(-1),
        configs=ROWS,
    ),
    Case(
        "row_argmax",
        row_reductions.row_argmax,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.argmax(-1),
        configs=ROWS,
    ),
    Case(
        "row_var",
        row_reductions.row_var,
        _args(lambda data: (data.matrix(),)),
        lambda x: x.var(-1, correction=0),
        LONG_SUM,
        ROWS,
    ),
    Case(
        "cross_entropy",
        cross_entropy.cross_entropy,
        _args(lambda data: (x := data.matrix(), data.randint(0, x.size(1), len(x)))),
        torch.nn.functional.cross_entropy,
        configs=ROWS,
    ),
    Case(
        "embedding",
        embedding.embedding,
        _args(lambda data: (data.randint(0, 29, 7, 5), data.randn(29, 37))),
        torch.nn.functional.embedding,
        configs=GRID_2D,
    ),
    Case(
        "attention",
        attention.attention,
        _args(_attention_args),
        _attention_ref,
        PRODUCT,
        _configs({"block_sizes": [1, 16, 16]}, {"block_sizes": [1, 32, 16]}),
    ),
    Case(
        "causal_attention",
        attention.causal_attention,
        _args(_attention_args),
        lambda q, k, v: _attention_ref(q, k, v, causal=True),
        PRODUCT,
        _configs({"block_sizes": [1, 16, 16]}, {"block_sizes": [1, 16, 32]}),
    ),
    Case(
        "concat",
        concat.concat,
        _args(lambda data: (data.randn(13, 37), data.randn(13, 50))),
        lambda x, y: torch.cat([x, y], dim=1),
        configs=GRID_2D,
    ),
    Case(
        "jagged_row_sum",
        jagged_row_sum.jagged_row_sum,
        _args(_jagged_args),
        _jagged_ref,
        LONG_SUM,
        _configs({"block_sizes": [4, 8]}, {"block_sizes": [16, 1]}),
    ),
    Case(
        "center_columns",
        two_phase.center_columns,
        _args(lambda data: (data.matrix(),)),
        lambda x: x - x.mean(0),
        configs=_configs({"block_sizes": [8, 4, 16]}, {"block_sizes": [1, 16, 4]}),
    ),
    Case(
        "scale_prefix",
        branch.scale_prefix,
        _args(lambda data: (data.randn(data.pick(101, 100003)), 47, 2.5)),
        _prefix_ref,
        configs=_configs({"block_sizes": [16]}, {"block_sizes": [8], "num_warps": 1}),
    ),
    Case(
        "activate_rows",
        branch.activate_rows,
        _args(lambda data: (x := data.matrix(), data.randint(-1, 2, len(x)))),
        _activate_ref,
        configs=_configs({"block_sizes": [16]}, {"block_sizes": [64]}),
    ),
]
