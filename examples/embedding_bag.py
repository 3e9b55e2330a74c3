"""Embedding bags: sums of table rows, and the gradient of a table by atomics."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def embedding_bag(
    ids: torch.Tensor, offsets: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    """Return ``sum(table[ids[offsets[b] : offsets[b + 1]]])`` for each bag ``b``.

    Rows are gathered a block at a time and added in float32; an empty bag gives 0.
    """
    bags, width = offsets.size(0) - 1, table.size(1)
    out = torch.empty([bags, width], dtype=table.dtype, device=table.device)
    for b, tile_w in hl.tile([bags, width], block_size=[1, None]):
        acc = hl.zeros([tile_w], dtype=torch.float32)
        for tile_k in hl.tile(offsets[b.begin], offsets[b.begin + 1]):
            rows = table[ids[tile_k], tile_w].to(torch.float32)
            acc = acc + torch.sum(rows, dim=0)
        out[b.begin, tile_w] = acc.to(table.dtype)
    return out


@helion.kernel
def embedding_bwd(grad: torch.Tensor, ids: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the gradient of the table: rows of ``grad`` added where their ids say."""
    count, width = grad.size()
    dtable = torch.zeros([rows, width], dtype=torch.float32, device=grad.device)
    for tile_i, tile_w in hl.tile([count, width]):
        values = grad[tile_i, tile_w].to(torch.float32)
        hl.atomic_add(dtable, [ids[tile_i], tile_w], values)
    return dtable


def embedding_bag_ref(
    ids: torch.Tensor, offsets: torch.Tensor, table: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.embedding_bag(
        ids, table, offsets, mode="sum", include_last_offset=True
    )


def embedding_bwd_ref(grad: torch.Tensor, ids: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.ops.aten.embedding_dense_backward(grad, ids, rows, -1, False)


def bag_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    bags, rows = data.pick(7, 4096), data.pick(29, 100_000)
    lengths = data.randint(0, data.pick(9, 200), bags)
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    ids = data.randint(0, rows, int(offsets[-1]))
    return ids, offsets, data.randn(rows, data.pick(37, 256))


def grad_args(data: _testing.Data) -> tuple[object, ...]:
    rows, count = data.pick(11, 32000), data.pick(53, 16384)
    return data.randn(count, data.pick(37, 1024)), data.randint(0, rows, count), rows


CASES = [
    _testing.Case(
        "embedding_bag",
        embedding_bag,
        _testing.arguments(bag_args),
        embedding_bag_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [16, 4]}),
    ),
    _testing.Case(
        "embedding_bwd",
        embedding_bwd,
        _testing.arguments(grad_args),
        embedding_bwd_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [8, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
