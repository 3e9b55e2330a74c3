"""Subscripts in eager loops follow the language, not torch, where the two differ."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import helion.language as hl
from helion import exc

X = torch.arange(12.0).reshape(3, 4)


@pytest.fixture
def loop():
    """Keep an eager loop running around the test."""
    running = iter(hl.grid(1))
    next(running)
    yield
    running.close()


@pytest.fixture
def tile():
    """Give the last tile, [2, 3), of a loop over three rows, still running."""
    running = iter(hl.tile(3, block_size=2))
    next(running)
    yield next(running)
    running.close()


def ids(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_tile_selects_its_rows(tile):
    assert_close(X[tile], X[2:3])
    assert_close(X[tile, :], X[2:3])
    assert_close(X[:, tile], X[:, 2:3])
    assert_close(X[..., tile], X[:, 2:3])
    assert_close(X[tile.index], X[2:3])


def test_tile_plus_int_is_moved(tile):
    assert_close(X[:, tile + 1], X[:, 3:4])


def test_none_adds_a_dim(tile):
    assert X[tile, None].shape == (1, 1, 4)
    assert X[None, tile, 1].shape == (1, 1)


def test_one_element_tile_sequence_is_a_tile(tile):
    assert_close(X[(tile,)], X[2:3])
    assert_close(X[(tile,), :], X[2:3])
    assert_close(X[[tile]], X[2:3])


def test_list_is_read_as_a_tuple(loop):
    assert_close(X[[ids(1), ids(2)]], X[1:2, 2:3])


def test_vectors_form_a_grid(loop):
    rows, columns = ids(2, 0), ids(3, 1, 1)
    assert_close(X[rows, columns], X.index_select(0, rows).index_select(1, columns))


def test_matrices_broadcast_together(loop):
    rows, columns = ids(2, 0), ids(3, 1)
    assert_close(X[rows[:, None], columns[:, None]], torch.tensor([[11.0], [1.0]]))
    assert X[rows[:, None], columns[None, :]].shape == (2, 2)


def test_matrix_index_keeps_the_other_dims(loop):
    at = torch.tensor([[0, 1], [2, 0]])
    assert_close(X[at, :], X.index_select(0, at.reshape(-1)).reshape(2, 2, 4))
    assert X[ids(1), at].shape == (1, 2, 2)


def test_scalars_drop_the_dim(tile):
    assert_close(X[1, tile], torch.tensor([6.0]))
    assert_close(X[-1, tile], torch.tensor([10.0]))
    assert_close(X[torch.tensor(1), tile], torch.tensor([6.0]))
    assert X[torch.tensor(1), torch.tensor(2)].item() == 6


def test_slices_have_bounds_and_steps(tile):
    assert_close(X[tile, 1:-1], X[2:3].narrow(1, 1, 2))
    assert_close(X[tile, ::3], torch.tensor([[8.0, 11.0]]))


def test_size_one_dim_is_broadcast():
    bias = torch.tensor([[1.0], [2.0]])
    for i, j in hl.tile([2, 4], block_size=3):
        assert_close(bias[i, j], bias.expand(2, 4).narrow(1, j.begin, j.end - j.begin))


def test_positions_outside_are_clamped_on_load(loop):
    assert X[ids(-5, 9), 0].tolist() == [0, 8]


def test_positions_outside_are_skipped_on_store(loop):
    out = torch.zeros(3)
    out[ids(-1, 1, 3)] = torch.tensor([1.0, 2.0, 3.0])
    assert out.tolist() == [0, 2, 0]


def test_load_of_an_empty_tensor_is_empty(loop):
    assert torch.zeros(0, 4)[ids(), :].shape == (0, 4)


@pytest.mark.parametrize("index", [slice(0, 2), 0, None, Ellipsis, (slice(None), 1)])
def test_load_never_aliases(loop, index):
    x = torch.zeros(3, 4)
    value = x[index]
    value += 1
    assert not x.any()


def test_loaded_tile_never_aliases(tile):
    x = torch.zeros(3)
    value = x[tile]
    value += 1
    assert not x.any()


def test_augmented_store_updates_the_tensor(tile):
    x = torch.zeros(3)
    x[tile] += 2
    assert x.tolist() == [0, 0, 2]


def test_store_casts_and_broadcasts(tile):
    out = torch.zeros(3, 4, dtype=torch.int32)
    out[tile, :] = torch.full([1, 1], 2.7)
    out[0, :] = 1.5
    assert out.tolist() == [[1] * 4, [0] * 4, [2] * 4]


def test_store_drops_leading_ones(loop):
    out = torch.zeros(4)
    out[:] = torch.ones(1, 1, 4)
    assert out.all()


def test_store_of_another_rank_or_shape_is_an_error(tile):
    with pytest.raises(exc.RankMismatch):
        X[tile, :] = torch.zeros(4)
    with pytest.raises(exc.ShapeMismatch):
        X[tile, :] = torch.zeros(1, 3)
    with pytest.raises(exc.NonTensorSubscriptAssign):
        X[tile, :] = "a"


def test_store_into_a_loaded_value_is_an_error(tile):
    value = X[tile]
    with pytest.raises(exc.DeviceTensorSubscriptAssignmentNotAllowed):
        value[0] = 1


@pytest.mark.parametrize(
    ("make_index", "error"),
    [
        (lambda t: (t, t, t), exc.RankMismatch),
        (lambda t: "a", exc.InvalidIndexingType),
        (lambda t: (t, 1.5), exc.InvalidIndexingType),
        (lambda t: ([t, t], t), exc.OverpackedTile),
        (lambda t: slice(None, None, -1), exc.InvalidSliceStep),
        (lambda t: slice(torch.tensor(1), None), exc.TensorSliceBound),
        (lambda t: X > 3, exc.DataDependentOutputShapeNotSupported),
    ],
)
def test_bad_index_is_a_typed_error(tile, make_index, error):
    with pytest.raises(error):
        X[make_index(tile)]


def test_load_needs_every_dim(tile):
    with pytest.raises(exc.RankMismatch):
        hl.load(X, [tile])
    with pytest.raises(exc.InvalidIndexingType):
        hl.load(X, [tile, ...])
    assert hl.load(torch.tensor(3.0), []).item() == 3


def test_load_mask_broadcasts_and_gives_zero(tile):
    value = hl.load(X, [tile, slice(None)], extra_mask=ids(1, 0, 0, 1)[None, :] > 0)
    assert value.tolist() == [[8, 0, 0, 11]]


def test_store_mask_keeps_other_lanes(tile):
    out = torch.zeros(3, 4)
    hl.store(out, [tile, slice(None)], 5, extra_mask=ids(1, 0, 0, 1)[None, :] > 0)
    assert out[2].tolist() == [5, 0, 0, 5]


def test_masked_store_of_duplicates_is_an_error(loop):
    mask = torch.ones(2, dtype=torch.bool)
    with pytest.raises(exc.DuplicateStoreIndicesError):
        hl.store(torch.zeros(4), [ids(1, 1)], 5, extra_mask=mask)


def test_subscript_takes_only_new_and_whole_dims():
    assert hl.subscript(X, (slice(None), None)).shape == (3, 1, 4)
    with pytest.raises(exc.InvalidIndexingType):
        hl.subscript(X, (0,))


def test_subscripts_outside_loops_are_plain_torch():
    assert X[ids(0, 1), ids(1, 2)].tolist() == [1, 6]
