"""Loops, branches and tunables that do not fit, and what each is told."""

from __future__ import annotations

import pytest
import torch

from helion import exc
from helion.autotuner import EnumFragment, IntegerFragment
from test.unit import faults

NAMES = {"Ints": IntegerFragment, "Choice": EnumFragment}

LOOPS = [
    (exc.LoopFunctionNotInFor, "hl.tile", "t2 = hl.tile(4)"),
    (exc.LoopFunctionNotInFor, "hl.tile", "v = [x[t] for a in hl.tile(4)]"),
    (exc.FailedToUnpackTile, "one tile", "for a, b in hl.tile(n):  #!\n    pass"),
    (exc.FailedToUnpackTile, "one tile", "a, b = t"),
    (
        exc.FailedToUnpackTupleAssign,
        "3 into 2",
        "for a, b in hl.tile([4, 4, 4]):  #!\n    out[a] = 1",
    ),
    (exc.InvalidDeviceForLoop, "tensor [t]", "for s in x[t]:  #!\n    pass"),
    (exc.InvalidDeviceForLoop, "a tile", "for s in t:  #!\n    pass"),
    (exc.InvalidDeviceForLoop, "the int 5", "for s in 5:  #!\n    pass"),
    (exc.InvalidDeviceForLoop, "run-time int n", "for s in n:  #!\n    pass"),
    (
        exc.DeviceLoopElseBlock,
        "else",
        "for s in hl.tile(8):  #!\n    pass\nelse:\n    pass",
    ),
    (exc.BarrierOnlyAllowedAtTopLevel, "between two", "hl.barrier()"),
    (exc.SpecializeOnDevice, "before the loop", "m = hl.specialize(3)"),
    (
        exc.TypeInferenceError,
        "known when compiling",
        "for i in hl.static_range(n):  #!\n    pass",
    ),
    (
        exc.TypeInferenceError,
        "the step is 0",
        "for i in hl.static_range(0, 4, 0):  #!\n    pass",
    ),
]

BOUNDS = [
    (exc.InvalidTileRange, "begins at 8", "8, 4"),
    (exc.InvalidTileRange, "its end -3", "-3"),
    (exc.TileOfTile, "tile.begin", "t"),
    (exc.TileOfTile, "tile.begin", "0, t"),
    (exc.IncorrectTileUsage, "1 dimensions", "x[t]"),
    (exc.IncorrectTileUsage, "float32 tensor []", "x[t].sum()"),
    (exc.IncorrectTileUsage, "'a'", "'a'"),
    (exc.IncorrectTileUsage, "the float 2.5", "2.5"),
    (exc.IncorrectTileUsage, "None", "None"),
    (exc.IncorrectTileUsage, "is True", "0, True"),
    (exc.IncorrectTileUsage, "takes an end", ""),
    (exc.IncorrectTileUsage, "takes an end", "1, 2, 3, 4"),
    (exc.IncorrectTileUsage, "takes an end", "8, size=4"),
    (exc.IncorrectTileUsage, "is empty", "[]"),
    (exc.IncorrectTileUsage, "one length", "[n], block_size=4"),
    (exc.IncorrectTileUsage, "one length", "[0], [n, n]"),
    (exc.IncorrectTileUsage, "not 'a'", "8, block_size='a'"),
    (exc.IncorrectTileUsage, "the float 2.5", "8, block_size=2.5"),
    (exc.IncorrectTileUsage, "block_size is 0", "8, block_size=0"),
    (exc.IncorrectTileUsage, "block_size is -4", "8, block_size=-4"),
    (exc.InvalidConfig, "power of two", "8, block_size=3"),
]

STEPS = ["hl.grid(4, step=0)", "hl.grid(0, 4, -1)", "range(4, 0, -1)", "range(0, 4, 0)"]

CONTROL_FLOW = [
    (
        exc.ControlFlowTensorMismatch,
        "tensor v",
        "v = x[t]\nif n > 3:  #!\n    v = v.half()\nout[t] = v",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "float32[t] on one path, float16[t]",
        "v = x[t]\nfor i in range(n):  #!\n    v = v.half()\nout[t] = v",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "float32[t, 1]",
        "v = x[t]\nfor i in range(n):  #!\n    v = v[:, None]\nout[t] = 1",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "float16[t]",
        "v = x[t]\nwhile n > 3:  #!\n    v = v.half()\nout[t] = 1",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "float32[t, 48]",
        "v = x[t]\nif n > 3:  #!\n    v = z[t, :]\nout[t] = 1",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "float32[]",
        "if n > 3:  #!\n    a = 1\nelse:\n    a = 2.5\nout[t] = a",
    ),
    (
        exc.CantCombineTypesInControlFlow,
        "v is 'a' on one path",
        "v = x[t]\nif n > 3:  #!\n    v = 'a'\nout[t] = 1",
    ),
    (
        exc.CantCombineTypesInControlFlow,
        "v is None on one path",
        "v = x[t]\nif n > 3:  #!\n    v = None\nout[t] = v",
    ),
    (
        exc.CantCombineTypesInControlFlow,
        "lst is a list of 1",
        "lst = [x[t]]\nfor i in range(n):  #!\n    lst = [y[t]]\nout[t] = lst[0]",
    ),
    (
        exc.CantCombineTypesInControlFlow,
        "lst is a list of 2",
        "lst = [x[t]]\nif n > 3:  #!\n    lst = [y[t], 1]\nout[t] = lst[0]",
    ),
    (
        exc.CantCombineTypesInControlFlow,
        "v is None",
        "v = None\nfor i in range(n):  #!\n    v = x[t]\nout[t] = 1",
    ),
    (exc.CrossRootDeviceValue, "w is used", "if n > 3:\n    w = x[t]\nout[t] = w  #!"),
    (
        exc.CrossRootDeviceValue,
        "w is used",
        "for i in range(3):\n    w = x[t]\nout[t] = w  #!",
    ),
]

ON_HOST = [
    (
        exc.InvalidTileRange,
        "begins at 8",
        "for s in hl.tile(8, 4):  #!\n    out[s] = 1",
    ),
    (
        exc.DeviceLoopElseBlock,
        "a tile loop",
        "for s in hl.tile(8):  #!\n    out[s] = 1\nelse:\n    pass",
    ),
    (
        exc.IncorrectTileUsage,
        "1 dimensions",
        "for s in hl.tile(y):  #!\n    out[s] = 1",
    ),
    (
        exc.BackendUnsupported,
        "read from a tensor",
        "for s in hl.tile(x.sum().to(torch.int32)):  #!\n    out[s] = 1",
    ),
    (
        exc.CannotReadDeviceVariableOnHost,
        "reads v",
        "for s in hl.tile(8):\n    v = x[s]\nw = v + 1  #!",
    ),
    (
        exc.CrossRootDeviceValue,
        "v is used",
        "for s in hl.tile(8):\n    v = x[s]\nfor s in hl.tile(8):\n    out[s] = v  #!",
    ),
    (
        exc.EmptyDeviceLoopAfterDCE,
        "stores nothing",
        "for s in hl.tile(8):  #!\n    x[s] + 1",
    ),
    (
        exc.EmptyDeviceLoopAfterDCE,
        "stores nothing",
        "for s in hl.tile(8):  #!\n    pass",
    ),
    (exc.InvalidConfig, "power of two, not 12", "b = hl.register_block_size(12, 16)"),
    (exc.InvalidConfig, "less than", "b = hl.register_block_size(64, 16)"),
    (exc.IncorrectTileUsage, "not 'a'", "b = hl.register_block_size('a')"),
    (exc.InvalidAPIUsage, "missing a required", "b = hl.register_block_size()"),
    (
        exc.TunableNameConflict,
        "num_warps",
        "v = hl.register_tunable('num_warps', Ints(1, 4))",
    ),
    (
        exc.TunableTypeNotSupported,
        "str",
        "v = hl.register_tunable('k', Choice(('a', 'b')))",
    ),
    (exc.RegisterTunableArgTypes, "int", "v = hl.register_tunable('k', 3)"),
    (exc.ConfigSpecFragmentWithSymInt, "n", "v = hl.register_tunable('k', Ints(1, n))"),
]


@pytest.mark.parametrize(("error", "words", "lines"), [*LOOPS, *CONTROL_FLOW])
def test_the_author_is_told(error, words, lines):
    found = faults.fault(faults.device_text(lines))
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(("error", "words", "bounds"), BOUNDS)
def test_bounds_and_block_sizes_are_checked(error, words, bounds):
    found = faults.fault(
        faults.device_text(f"for s in hl.tile({bounds}):  #!\n    out[s] = 1")
    )
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize("loop", STEPS)
def test_a_step_must_be_positive(loop):
    found = faults.fault(faults.device_text(f"for i in {loop}:  #!\n    out[i] = 1"))
    assert type(found) is exc.IncorrectTileUsage
    assert "but must be positive" in str(found)


@pytest.mark.parametrize(("error", "words", "lines"), ON_HOST)
def test_the_author_of_host_code_is_told(error, words, lines):
    found = faults.fault(faults.host_text(lines), names=NAMES)
    assert type(found) is error
    assert words in str(found)


def test_a_kernel_needs_a_device_loop():
    found = faults.fault("def k(x):  #!\n    return x + 1\n", torch.ones(4))
    assert type(found) is exc.NoDeviceLoopsInKernel


def test_a_returned_device_value_is_refused():
    text = faults.device_text("v = x[t]  #").replace("return out", "return out, v  #!")
    found = faults.fault(text.replace("  #!\n        out", "\n        out"))
    assert type(found) is exc.CannotReadDeviceVariableOnHost


def test_a_loop_under_a_host_branch_is_no_error():
    """The spec refuses it (NestedGridLoop); here it stays host code."""
    lines = "if n > 3:\n    for s in hl.tile(8):\n        out[s] = 1"
    assert "if n > 3:" in faults.compile_text(faults.host_text(lines))


def test_a_statement_between_two_loops_is_no_error():
    """The spec refuses it (TopLevelStatementBetweenLoops); here it stays host code."""
    lines = "for s in hl.tile(8):\n    out[s] = 1\nk2 = n + 1"
    assert "k2 = n + 1" in faults.compile_text(faults.host_text(lines))
