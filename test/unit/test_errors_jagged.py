"""What is wrong with a use of ``hl.jagged_tile``, and what its author is told."""

from __future__ import annotations

import pytest
import torch

import helion.language as hl
from helion import exc
from test.unit import faults

N = "m = x[t].long()\n"
IN = f"{N}for j in hl.jagged_tile(m):"
WRONG = exc.InvalidJaggedTileUsage

CASES = [
    (exc.TileOfTile, "tile.begin", "for j in hl.jagged_tile(t):  #!\n    pass"),
    (WRONG, "the int 8", "for j in hl.jagged_tile(8):  #!\n    pass"),
    (WRONG, "host tensor", "for j in hl.jagged_tile(x):  #!\n    pass"),
    (WRONG, "float32", "for j in hl.jagged_tile(x[t]):  #!\n    pass"),
    (WRONG, "bool", "for j in hl.jagged_tile(x[t] > 0):  #!\n    pass"),
    (WRONG, "one number", f"{N}for j in hl.jagged_tile(m.sum()):  #!\n    pass"),
    (
        WRONG,
        "not that of a tile",
        f"{N}for j in hl.jagged_tile(m[:, None]):  #!\n    pass",
    ),
    (
        WRONG,
        "dim 1 of the parent",
        "for j in hl.jagged_tile(z[t, :].long()):  #!\n    pass",
    ),
    (WRONG, "one argument", f"{N}for j in hl.jagged_tile(m, 4):  #!\n    pass"),
    (WRONG, "one argument", "for j in hl.jagged_tile():  #!\n    pass"),
    (WRONG, "without the tile of its lengths", f"{IN}\n    out[j] = x[j]  #!"),
    (
        WRONG,
        "without the tile of its lengths",
        f"{IN}\n    hl.atomic_add(out, [j], x[j])  #!",
    ),
    (WRONG, "mean over a jagged tile", f"{IN}\n    out[t] = z[t, j].mean(1)  #!"),
    (WRONG, "mean over a jagged tile", f"{IN}\n    out[t] = z[t, j].var(1)  #!"),
    (WRONG, "no dims of its lengths", f"{IN}\n    out[t] = x[t] + y[j].sum()  #!"),
    (WRONG, "no dims of its lengths", f"{IN}\n    out[t] = y[j].amax(0)  #!"),
    (WRONG, "merges", f"{IN}\n    v = z[t, j].reshape(-1)  #!\n    out[t] = v.sum()"),
    (exc.LoopFunctionNotInFor, "hl.jagged_tile", f"{N}j = hl.jagged_tile(m)"),
    (exc.DeviceLoopElseBlock, "else", f"{IN}  #!\n    pass\nelse:\n    pass"),
]


@pytest.mark.parametrize("kind, words, lines", CASES, ids=[c[2] for c in CASES])
def test_misuse_is_told(kind: type[exc.Base], words: str, lines: str) -> None:
    error = faults.fault(faults.device_text(lines))
    assert type(error) is kind
    assert words in str(error)


def test_outermost_loop_is_refused() -> None:
    text = faults.host_text("for j in hl.jagged_tile(x):  #!\n    out[j] = 1")
    error = faults.fault(text)
    assert type(error) is WRONG
    assert "outermost" in str(error)


@pytest.mark.parametrize(
    "lines",
    [
        f"{IN}\n    out[t] = z[t, j].sum(0).sum()",
        f"{IN}\n    out[t] = (z[t, j] * y[j]).amax(1)",
        f"{IN}\n    out[t] = z[t, j].amax(0).amax(0)",
    ],
)
def test_sound_folds_are_taken(lines: str) -> None:
    assert "tl.load(z" in faults.compile_text(faults.device_text(lines))


def test_prompt_refuses_the_outermost_loop() -> None:
    with pytest.raises(WRONG, match="outermost"):
        hl.jagged_tile(torch.tensor([1]))
    with pytest.raises(exc.TileOfTile):
        for tile in hl.tile(4):
            hl.jagged_tile(tile)


@pytest.mark.parametrize("parent", [torch.tensor(3), torch.ones(2), 4], ids=str)
def test_prompt_refuses_what_is_no_length(parent: object) -> None:
    with pytest.raises(WRONG):
        for _ in hl.tile(4):
            hl.jagged_tile(parent)  # pyright: ignore[reportArgumentType] on purpose


def test_prompt_refuses_several_rows_at_once() -> None:
    lengths = torch.tensor([1, 3])
    loop = hl.jagged_tile
    with pytest.raises(WRONG, match="one row at a time"):
        for tile in hl.tile(2):
            list(loop(lengths[tile]))
