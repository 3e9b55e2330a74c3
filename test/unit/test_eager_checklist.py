"""The checklist of eager mode; where ours is the superset, what it does instead."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import helion
import helion.language as hl
from helion import exc
from helion.language._eager import eager_block_sizes, loop_depth
from test import interpreter_worker
from test.harness import run_emitted

EAGER = helion.RefMode.EAGER


@helion.kernel
def scale_rows(x: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for row, column in hl.tile(x.size()):
        out[row, column] = x[row, column] * factor
    return out


def fails(x: torch.Tensor) -> torch.Tensor:
    for tile in hl.tile(x.size(0)):
        x[tile] = {}["nothing"]
    return x


@helion.kernel
def noises(x: torch.Tensor, seed: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for row, column in hl.tile(x.size()):
        out[row, column] = hl.rand([row, column], seed)
    return out


scale, noise = scale_rows.fn, noises.fn


def tiles(size: int = 10, block_size: int | None = 4) -> list[hl.Tile]:
    return list(hl.tile(size, block_size=block_size))


# -- 1: switching on -------------------------------------------------------------------


def test_the_variable_counts_at_decoration(monkeypatch):
    monkeypatch.setenv("HELION_INTERPRET", "1")
    made = helion.kernel(scale)
    monkeypatch.delenv("HELION_INTERPRET")
    assert made.settings.ref_mode is EAGER
    assert helion.kernel(scale).settings.ref_mode is helion.RefMode.OFF
    assert_close(made(torch.ones(3, 2), 2.0), torch.full((3, 2), 2.0))


def test_both_variables_conflict(monkeypatch):
    monkeypatch.setenv("HELION_INTERPRET", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(exc.IncompatibleInterpretModes, match="hint: "):
        helion.kernel(scale)


def test_there_is_no_code_to_print():
    with pytest.raises(exc.RefEagerModeCodePrintError, match="hint: "):
        helion.kernel(scale, ref_mode=EAGER, print_output_code=True)


# -- 2 to 4: tiles ---------------------------------------------------------------------


def test_without_a_block_size_one_tile_is_all():
    (tile,) = tiles(block_size=None)
    assert (tile.begin, tile.end, tile.id, tile.block_size) == (0, 10, 0, 10)


def test_a_block_size_gives_tiles_and_a_short_last_one():
    assert [len(t.index) for t in tiles()] == [4, 4, 2]
    assert [t.id for t in tiles()] == [0, 1, 2]
    assert [t.end for t in tiles()] == [4, 8, 10]


def test_the_index_is_int32():
    assert all(t.index.dtype == torch.int32 for t in tiles())


def test_the_count_is_that_of_the_loop():
    """The spec counts the tiles of one tile."""
    assert [t.count for t in tiles()] == [3, 3, 3]


def test_a_tile_is_of_the_class():
    """In the spec it is not."""
    assert all(isinstance(t, hl.Tile) for t in tiles())


def test_a_short_tile_is_its_length_as_a_size_of_anything():
    """In the spec torch's factories take the block size, so results are trimmed."""
    x = torch.ones(10)
    for tile in hl.tile(10, block_size=4):
        length = tile.end - tile.begin
        made = hl.zeros([tile]), torch.zeros([tile]), x.new_zeros([tile])
        assert [len(m) for m in made] == [length] * 3


# -- 5: operands -----------------------------------------------------------------------


def test_operands_of_two_lengths_are_an_error_as_when_compiled():
    """In the spec the longer one is trimmed, which hides mistakes."""
    with pytest.raises(RuntimeError, match="size"):
        for _ in hl.tile(4):
            _ = torch.ones(4) + torch.ones(2)


# -- 6 to 8: memory --------------------------------------------------------------------


def test_two_vectors_as_index_are_their_outer_product():
    x = torch.arange(12.0).reshape(3, 4)
    rows, columns = torch.tensor([2, 0]), torch.tensor([1, 3, 3])
    wanted = x[[2, 0]][:, [1, 3, 3]]
    for _ in hl.tile(1):
        assert torch.equal(x[rows, columns], wanted)


def test_positions_outside_are_clamped_when_read_and_skipped_when_written():
    x, out = torch.arange(4.0), torch.zeros(4)
    at = torch.tensor([-7, 1, 9])
    for _ in hl.tile(1):
        assert x[at].tolist() == [0, 1, 3]
        out[at] = torch.tensor([5.0, 6.0, 7.0])
    assert out.tolist() == [0, 6, 0, 0]


def test_a_masked_store_may_not_write_twice():
    every = torch.ones(2, dtype=torch.bool)
    with pytest.raises(exc.DuplicateStoreIndicesError):
        hl.store(torch.zeros(4), [torch.tensor([1, 1])], 1.0, extra_mask=every)


def test_atomics_chain_over_lanes_of_one_place():
    """In the spec only atomic_add does."""
    out = torch.zeros(3, dtype=torch.int32)
    at, value = torch.tensor([1, 1, 1]), torch.tensor([5, 2, 9], dtype=torch.int32)
    assert hl.atomic_add(out, [at], value).tolist() == [0, 5, 7]
    assert out.tolist() == [0, 16, 0]
    assert hl.atomic_xchg(out, [at], value).tolist() == [16, 5, 2]


# -- 9: random numbers -----------------------------------------------------------------


@pytest.mark.parametrize("block_sizes", [[2, 4], [16, 1], [1, 8]], ids=str)
def test_random_numbers_do_not_depend_on_tiles_or_modes(block_sizes):
    config = helion.Config(block_sizes=block_sizes)
    request = (noises, (torch.empty(5, 7), 11), config, frozenset())
    compiled, _ = interpreter_worker.call(run_emitted, request)
    with eager_block_sizes(block_sizes):
        assert torch.equal(noise(torch.empty(5, 7), 11), compiled)
    assert torch.equal(noise(torch.empty(5, 7), 11), compiled)


# -- 10 and 13: errors -----------------------------------------------------------------


def test_an_error_of_python_comes_as_it_is():
    made = helion.kernel(fails, ref_mode=EAGER)
    with pytest.raises(KeyError, match="nothing") as caught:
        made(torch.ones(4))
    assert not isinstance(caught.value, exc.Base)


def test_an_error_leaves_no_context():
    with pytest.raises(KeyError):
        helion.kernel(fails, ref_mode=EAGER)(torch.ones(4))
    assert loop_depth() == 0
    assert torch.overrides._get_current_function_mode_stack() == []
    x = torch.randn(5, 3)
    assert_close(helion.kernel(scale, ref_mode=EAGER)(x, 3.0), x * 3)


# -- 11 and 12: agreement --------------------------------------------------------------


def test_run_ref_equals_the_compiled_call():
    x = torch.randn(5, 7)
    request = (scale_rows, (x, 3.0), None, frozenset())
    compiled, _ = interpreter_worker.call(run_emitted, request)
    assert torch.equal(scale_rows.bind((x, 3.0)).run_ref(x, 3.0), compiled)


@pytest.mark.parametrize(
    "options",
    [
        {"block_sizes": [1, 8]},
        {"block_sizes": [4, 2], "pid_type": "persistent_blocked"},
        {"block_sizes": [16, 16], "loop_orders": [[1, 0]]},
    ],
    ids=str,
)
def test_a_config_never_changes_the_result(options):
    x = torch.randn(5, 7)
    made = helion.kernel(scale, config=helion.Config(**options), ref_mode=EAGER)
    assert torch.equal(made(x, 3.0), x * 3)


def test_constexpr_arguments_are_unwrapped():
    x = torch.randn(5, 7)
    made = helion.kernel(scale, ref_mode=EAGER)
    assert torch.equal(made(x, hl.constexpr(3.0)), x * 3)


def test_in_place_results_are_cast_when_they_are_stored():
    """``out[tile] += value`` is a load, a sum and a store, for any two dtypes."""
    out = torch.tensor([1, 2, 3])
    for tile in hl.tile(3):
        out[tile] += torch.tensor([0.5, 1.0, 2.75])[tile]
    assert out.tolist() == [1, 3, 5]
