"""Undecorated kernels run tile by tile, under any block sizes, and equal torch."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack
from torch.testing import assert_close

import helion.language as hl
from helion import exc
from helion.language._eager import eager_block_sizes, eager_device, loop_depth

CONFIGS = [[], [1, 1, 1], [4, 2, 3], [16, 16, 16], [64, 7, 128]]
SIZES = [(0, 3), (1, 1), (5, 7), (16, 33)]

block_sizes = pytest.mark.parametrize("block_sizes", CONFIGS, ids=str)
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(out.size()):
        out[tile] = x[tile] + y[tile]
    return out


def matmul(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    m, k = x.size()
    _, n = y.size()
    out = torch.empty([m, n], dtype=x.dtype)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = acc.to(x.dtype)
    return out


def softmax_two_pass(x: torch.Tensor) -> torch.Tensor:
    m, n = x.size()
    out = torch.empty_like(x)
    for tile_m in hl.tile(m):
        peak = hl.full([tile_m], float("-inf"))
        total = hl.zeros([tile_m])
        for tile_n in hl.tile(n):
            values = x[tile_m, tile_n]
            higher = torch.maximum(peak, values.amax(dim=1))
            total = total * torch.exp(peak - higher)
            total = total + torch.exp(values - higher[:, None]).sum(dim=1)
            peak = higher
        for tile_n in hl.tile(n):
            values = x[tile_m, tile_n]
            out[tile_m, tile_n] = torch.exp(values - peak[:, None]) / total[:, None]
    return out


def row_sum(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile, :].sum(-1)
    return out


def histogram(ids: torch.Tensor, bins: int) -> torch.Tensor:
    counts = torch.zeros([bins], dtype=torch.int32)
    for tile in hl.tile(ids.size(0)):
        hl.atomic_add(counts, [ids[tile]], 1)
    return counts


def embedding(ids: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    out = torch.empty([ids.size(0), weight.size(1)], dtype=weight.dtype)
    for tile_b, tile_e in hl.tile(out.size()):
        out[tile_b, tile_e] = weight[ids[tile_b], tile_e]
    return out


def concat(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0), x.size(1) + y.size(1)], dtype=x.dtype)
    for tile_m, tile_n in hl.tile(out.size()):
        is_x = (tile_n.index < x.size(1))[None, :]
        left = hl.load(x, [tile_m, tile_n], extra_mask=is_x)
        moved = tile_n.index - x.size(1)
        right = hl.load(y, [tile_m, moved], extra_mask=(moved >= 0)[None, :])
        out[tile_m, tile_n] = torch.where(is_x, left, right)
    return out


@block_sizes
@sizes
def test_add_equals_torch(size, block_sizes):
    x, y = torch.randn(size), torch.randn(size)
    with eager_block_sizes(block_sizes):
        assert_close(add(x, y), x + y)


@block_sizes
@sizes
def test_matmul_equals_torch(size, block_sizes):
    x, y = torch.randn(size), torch.randn(size[::-1])
    with eager_block_sizes(block_sizes):
        assert_close(matmul(x, y), x @ y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@block_sizes
def test_addmm_of_half_operands_accumulates_in_float32(dtype, block_sizes):
    x, y = torch.randn(5, 33).to(dtype), torch.randn(33, 6).to(dtype)
    with eager_block_sizes(block_sizes):
        assert_close(matmul(x, y), (x.float() @ y.float()).to(dtype))


@block_sizes
@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_two_pass_softmax_equals_torch(size, block_sizes):
    x = torch.randn(size)
    with eager_block_sizes(block_sizes):
        assert_close(softmax_two_pass(x), x.softmax(-1))


@block_sizes
@sizes
def test_sum_over_a_full_slice_equals_torch(size, block_sizes):
    x = torch.randn(size)
    with eager_block_sizes(block_sizes):
        assert_close(row_sum(x), x.sum(-1))


@block_sizes
@pytest.mark.parametrize("count", [0, 1, 50])
def test_atomic_add_counts_every_duplicate(count, block_sizes):
    ids = torch.randint(0, 4, [count])
    with eager_block_sizes(block_sizes):
        counts = histogram(ids, 4)
    assert counts.tolist() == torch.bincount(ids, minlength=4).tolist()


@block_sizes
def test_gather_by_ids_equals_torch(block_sizes):
    ids, weight = torch.randint(0, 9, [13]), torch.randn(9, 5)
    with eager_block_sizes(block_sizes):
        assert_close(embedding(ids, weight), weight[ids])


@block_sizes
def test_concat_by_masks_equals_torch(block_sizes):
    x, y = torch.randn(5, 7), torch.randn(5, 4)
    with eager_block_sizes(block_sizes):
        assert_close(concat(x, y), torch.cat([x, y], dim=1))


def test_tile_without_choice_covers_the_range():
    seen = [(t.begin, t.end, t.block_size, t.id, t.count) for t in hl.tile(3, 10)]
    assert seen == [(3, 10, 7, 0, 1)]


def test_explicit_block_size_gives_a_short_last_tile():
    facts = [(t.begin, t.end, t.id, t.count) for t in hl.tile(10, block_size=4)]
    assert facts == [(0, 4, 0, 3), (4, 8, 1, 3), (8, 10, 2, 3)]


def test_tile_index_is_int32_of_the_actual_length():
    indices = [t.index for t in hl.tile(5, block_size=3)]
    assert [i.tolist() for i in indices] == [[0, 1, 2], [3, 4]]
    assert indices[0].dtype == torch.int32


def test_several_dims_run_the_first_outermost():
    loop = hl.tile([0, 1], [2, 3], block_size=[None, 1])
    assert [(i.begin, j.begin) for i, j in loop] == [(0, 1), (0, 2)]


def test_grid_yields_ints_and_tuples():
    assert list(hl.grid(1, 7, step=3)) == [1, 4]
    assert list(hl.grid([2, 2])) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_static_range_honours_its_step():
    assert list(hl.static_range(5, step=2)) == [0, 2, 4]


def test_config_entries_go_to_loops_without_a_block_size():
    def kernel():
        seen = []
        for i, j in hl.tile([4, 4], block_size=[None, 2]):
            seen.append((i.block_size, j.block_size))
            for k in hl.tile(4):
                seen.append(k.block_size)
        return seen

    with eager_block_sizes([4, 2]):
        assert kernel() == [(4, 2), 2, 2, (4, 2), 2, 2]


def test_registered_block_size_takes_an_entry():
    def kernel():
        size = hl.register_block_size(16, 256)
        return size, [t.block_size for t in hl.tile(64, block_size=size)]

    assert kernel() == (256, [256])
    with eager_block_sizes([32]):
        assert kernel() == (32, [32, 32])


def test_outermost_range_may_not_end_before_it_begins():
    with pytest.raises(exc.InvalidTileRange):
        hl.tile(8, 4)


def test_inner_range_that_ends_before_it_begins_is_empty():
    starts, ends = torch.tensor([3, 1]), torch.tensor([1, 3])
    lengths = [
        [inner.end - inner.begin for inner in hl.tile(starts[g], ends[g])]
        for g in hl.grid(2)
    ]
    assert lengths == [[], [2]]


def test_bounds_must_agree_and_be_no_tiles():
    with pytest.raises(exc.IncorrectTileUsage):
        hl.tile([0, 0], [4])
    for tile in hl.tile(4):
        with pytest.raises(exc.TileOfTile):
            hl.tile(tile)


def _modes() -> int:
    return len(_get_current_function_mode_stack())


def test_break_and_errors_leave_no_eager_state():
    def fail():
        for _ in hl.tile(4, block_size=2):
            for _ in hl.tile(4, block_size=2):
                raise KeyError

    for _ in hl.tile(4, block_size=2):
        assert (loop_depth(), _modes()) == (1, 1)
        break
    with pytest.raises(KeyError):
        fail()
    assert (loop_depth(), _modes()) == (0, 0)


def test_threads_do_not_share_eager_state():
    found = []

    def other():
        found.append((loop_depth(), _modes()))
        for tile in hl.tile(4):
            found.append(tile.block_size)

    with eager_block_sizes([2]):
        for _ in hl.tile(2):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    assert found == [(0, 0), 4]


def test_factories_use_the_device_of_the_kernel():
    with eager_device("meta"):
        assert torch.zeros(2).device.type == "meta"
        assert hl.zeros([2]).device.type == "meta"
    assert hl.zeros([2]).device.type == "cpu"


def test_tile_is_its_actual_length_as_a_size():
    x = torch.arange(10.0)
    for tile in hl.tile(10, block_size=4):
        n = tile.end - tile.begin
        values = x[tile].reshape(tile, -1)
        made = [hl.zeros([tile]), hl.full(tile, 1), hl.arange(tile)]
        made += [torch.zeros([tile]), x.new_zeros(tile), values]
        assert [len(m) for m in made] == [n] * 6


def test_atomic_add_returns_old_values_lane_by_lane():
    target, at = torch.tensor([10.0, 20.0]), torch.tensor([0, 1, 0, 0])
    old = hl.atomic_add(target, [at], torch.tensor([1, 2, 3, 4]))
    assert old.tolist() == [10, 20, 11, 14]
    assert target.tolist() == [18, 22]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (hl.atomic_and, [4, 8]),
        (hl.atomic_or, [14, 13]),
        (hl.atomic_xor, [10, 5]),
        (hl.atomic_max, [12, 13]),
        (hl.atomic_min, [6, 8]),
        (hl.atomic_xchg, [6, 13]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_other_atomics_update_their_target(op, expected):
    target = torch.tensor([12, 8])
    assert op(target, [slice(None)], torch.tensor([6, 13])).tolist() == [12, 8]
    assert target.tolist() == expected


def test_atomic_cas_replaces_only_what_it_expects():
    target = torch.tensor([1, 2])
    assert hl.atomic_cas(target, [slice(None)], 1, 9).tolist() == [1, 2]
    assert target.tolist() == [9, 2]


def test_atomic_updates_a_tensor_without_dims():
    target = torch.tensor(1.0)
    assert hl.atomic_add(target, [], 2).item() == 1
    assert target.item() == 3


def test_atomics_check_their_arguments():
    with pytest.raises(ValueError, match="sem"):
        hl.atomic_add(torch.zeros(1), [0], 1, sem="bad")
    with pytest.raises(exc.InvalidIndexingType):
        hl.atomic_add(torch.zeros(1), 0, 1)
    for tile in hl.tile(4):
        with pytest.raises(exc.AtomicOnDeviceTensor):
            hl.atomic_add(torch.zeros(4)[tile], [tile], 1)


def test_mm_of_half_operands_keeps_their_dtype():
    x = torch.randn(3, 40).bfloat16()
    for _ in hl.grid(1):
        assert (x @ x.T).dtype == torch.bfloat16
        assert_close(torch.mm(x, x.T), (x.float() @ x.T.float()).bfloat16())
        mixed = torch.addmm(torch.zeros(3, 3), x, x.T.half())
    assert_close(mixed, x.float() @ x.T.float())


def noise(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = hl.rand([tile_m, tile_n], seed=7)
    return out


@block_sizes
def test_rand_does_not_depend_on_block_sizes(block_sizes):
    with eager_block_sizes(block_sizes):
        assert torch.equal(noise(torch.empty(9, 20)), hl.rand([9, 20], 7))


def test_rand_is_philox():
    # From Triton's interpreter: tl.rand(42, [0, 1]) and tl.randint(42, [0, 1]).
    assert hl.rand([2], 42).tolist() == [0.7740801572799683, 0.024562695994973183]
    expected = [word % 1000 - 10 for word in (1662324653, 52747993)]
    assert hl.randint([2], -10, 990, torch.tensor(42)).tolist() == expected
    assert torch.equal(hl.rand4x(42, torch.arange(2))[0], hl.rand([2], 42))


def test_randint_needs_a_range():
    with pytest.raises(ValueError, match="low"):
        hl.randint([2], 3, 3, 0)
