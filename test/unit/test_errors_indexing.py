"""Subscripts, loads, stores, atomics and tensor operations that do not fit."""

from __future__ import annotations

import pytest
import torch

from helion import exc
from test.unit import faults

SUBSCRIPTS = [
    (exc.OverpackedTile, "Tile", "v = z[[t, t], :]"),
    (exc.RankMismatch, "2 indices", "v = x[[t, t]]"),
    (exc.RankMismatch, "1 dimensions", "v = x[t, t]"),
    (exc.RankMismatch, "2 indices", "v = x[(t, (t, t))]"),
    (exc.RankMismatch, "a value with 1", "v = x[t]\nw = v[None, :, :]"),
    (exc.InvalidIndexingType, "'a'", "v = x['a']"),
    (exc.InvalidIndexingType, "1.5", "v = x[1.5]"),
    (exc.InvalidIndexingType, "True", "v = x[True]"),
    (exc.InvalidIndexingType, "{}", "v = x[{}]"),
    (exc.InvalidIndexingType, "torch.float32", "v = x[torch.float32]"),
    (exc.InvalidIndexingType, "torch.float32 tensor", "v = x[x[t]]"),
    (exc.InvalidIndexingType, "has size 64", "v = x[100]"),
    (exc.InvalidIndexingType, "has size 64", "v = x[-100]"),
    (exc.InvalidIndexingType, "run-time bounds", "v = x[: t.end]"),
    (exc.InvalidIndexingType, "run-time bounds", "v = x[t.begin :]"),
    (exc.InvalidIndexingType, "run-time bounds", "v = x[t.id : t.begin]"),
    (exc.InvalidIndexingType, "a tile as a bound", "v = x[t:]"),
    (exc.InvalidIndexingType, "the float 1.5 as a bound", "v = x[:1.5]"),
    (exc.InvalidIndexingType, "True as a bound", "v = x[:True]"),
    (exc.InvalidSliceStep, "-1", "v = x[::-1]"),
    (exc.InvalidSliceStep, "0", "v = x[::0]"),
    (exc.TensorSliceBound, "device tensor", "v = x[x[0]:]"),
    (exc.TypeInferenceError, "more than one '...'", "v = x[..., ...]"),
    (exc.TypeInferenceError, "more than one '...'", "v = x[t]\nw = v[..., ...]"),
    (exc.TypeInferenceError, "dim 7 is out of range", "v = x.size(7)"),
    (exc.DataDependentOutputShapeNotSupported, "bool", "v = x[x[t] > 0]"),
    (exc.DataDependentOutputShapeNotSupported, "bool", "v = x[t]\nw = v[v > 0]"),
    (exc.BackendUnsupported, "the int 0 of a device", "v = x[t]\nw = v[0]"),
    (exc.BackendUnsupported, "a tile of a device value", "v = x[t]\nw = v[t]"),
    (exc.BackendUnsupported, "slice of a device value", "v = x[t]\nw = v[0:3]"),
    (exc.TileSizeMismatch, "dim 1 of z has size 48", "v = z[t, t]"),
    (exc.DeviceTensorSubscriptAssignmentNotAllowed, "", "v = x[t]\nv[0] = 1"),
]

MEMORY = [
    (exc.RequiresTensorInAssignment, "'a'", "out[t] = 'a'"),
    (exc.RequiresTensorInAssignment, "None", "out[t] = None"),
    (exc.RequiresTensorInAssignment, "a list of 2", "out[t] = [1, 2]"),
    (exc.RequiresTensorInAssignment, "a tile", "out[t] = t"),
    (exc.RankMismatch, "2 dimensions", "out[t] = z[t, :]"),
    (exc.ShapeMismatch, "[48] and [t]", "out[t] = z[0, :]"),
    (exc.InvalidIndexingType, "not in a list", "v = hl.load(x, t)"),
    (exc.InvalidIndexingType, "Ellipsis", "v = hl.load(x, [...])"),
    (exc.RankMismatch, "x takes 1", "v = hl.load(x, [])"),
    (exc.RankMismatch, "z takes 2 indices, but gets 1", "v = hl.load(z, [t])"),
    (exc.ShapeMismatch, "", "v = hl.load(x, [t], extra_mask=z[t, :] > 0)"),
    (exc.InvalidAPIUsage, "takes a host tensor", "v = hl.load(x[t], [t])"),
    (exc.InvalidAPIUsage, "not the int 5", "v = hl.load(5, [t])"),
    (exc.InvalidAPIUsage, "not the int 3", "v = hl.load(x, [t], extra_mask=3)"),
    (exc.InvalidAPIUsage, "a bool tensor", "v = hl.load(x, [t], extra_mask=x[t])"),
    (exc.InvalidAPIUsage, "'bad'", "v = hl.load(x, [t], eviction_policy='bad')"),
    (exc.InvalidAPIUsage, "unexpected keyword", "v = hl.load(x, [t], foo=3)"),
    (exc.InvalidAPIUsage, "missing a required", "v = hl.load()"),
    (exc.InvalidIndexingType, "not in a list", "hl.store(x, t, 1)"),
    (exc.RequiresTensorInAssignment, "'a'", "hl.store(x, [t], 'a')"),
    (exc.InvalidAPIUsage, "takes a host tensor", "hl.store(x[t], [t], 1)"),
    (exc.InvalidIndexingType, "0 cannot", "v = hl.subscript(x[t], [0])"),
    (exc.InvalidIndexingType, "not in a list", "v = hl.subscript(x[t], 0)"),
    (exc.InvalidAPIUsage, "use hl.load", "v = hl.subscript(x, [slice(None)])"),
    (exc.AtomicOnDeviceTensor, "hl.atomic_add", "hl.atomic_add(hl.zeros([4]), [t], 1)"),
    (exc.AtomicOnDeviceTensor, "", "v = x[t]\nhl.atomic_add(v, [t], 1)"),
    (exc.InvalidIndexingType, "not in a list", "hl.atomic_add(x, t, 1)"),
    (exc.RankMismatch, "x takes 1", "hl.atomic_add(x, [t, t], 1)"),
    (exc.RankMismatch, "2 dimensions", "hl.atomic_add(x, [t], z[t, :])"),
    (exc.RequiresTensorInAssignment, "'a'", "hl.atomic_add(x, [t], 'a')"),
    (exc.HostTensorDirectUsage, "tensor x", "x.zero_()"),
    (exc.HostTensorDirectUsage, "tensor x", "out[t] = torch.sin(x)"),
    (exc.HostTensorDirectUsage, "tensor x", "out[t] = x.sum()"),
    (exc.HostTensorDirectUsage, "load it first", "out[t] = x[t] + y"),
]

OPERATIONS = [
    (exc.ShapeMismatch, "[t, 48] and [t]", "v = z[t] + x[t]"),
    (exc.ShapeMismatch, "[t] and [48]", "v = x[t] + z[0, :]"),
    (exc.ShapeMismatch, "[t] and [t, 48]", "x[t].add_(z[t, :])"),
    (exc.ShapeMismatch, "[t, 48] and [t, 48]", "v = torch.mm(z[t, :], z[t, :])"),
    (exc.ShapeMismatch, "do not fit", "v = z[t, :] @ x[t]"),
    (exc.ShapeMismatch, "[t] and [t, 48]", "v = hl.join(x[t], z[t, :])"),
    (exc.BackendUnsupported, "torch.cat", "v = torch.cat([x[t], x[0:3]])"),
    (exc.TorchOpTracingError, "to be bool", "v = torch.where(x[t], 1, 2)"),
    (exc.TorchOpTracingError, "'Tensor' and 'str'", "v = x[t] + 'a'"),
    (exc.TorchOpTracingError, "'Tensor' and 'NoneType'", "v = x[t] + None"),
    (exc.TorchOpTracingError, "integral dtype", "v = x[t] << 1"),
    (exc.TorchOpTracingError, "invalid for input of size t", "v = x[t].reshape(3, 5)"),
    (exc.TorchOpTracingError, "duplicate dims", "v = z[t, :].permute(0, 0)"),
    (exc.TorchOpTracingError, "out of range", "v = z[t, :].transpose(0, 5)"),
    (exc.TorchOpTracingError, "takes 1 positional", "v = torch.sin(x[t], 3)"),
    (exc.ReductionDimInvalidForShape, "out of range", "v = x[t].sum(3)"),
    (exc.TorchOpTracingError, "mean of", "v = x[t].to(torch.int32).mean()"),
    (exc.TorchOpTracingError, "int32/int64", "v = torch.gather(x[t], 0, y[t])"),
    (exc.UnsupportedSplitOperation, "hl.split", "a, b = torch.split(x[t], 2)"),
    (exc.UnsupportedSplitOperation, "", "a, b = torch.tensor_split(x[t], 2)"),
    (exc.UnsupportedSplitConfiguration, "chunk", "v = z[t, :].chunk(3, 0)"),
    (exc.UnsupportedSplitConfiguration, "unbind", "v = z[t, :].unbind(0)"),
    (exc.UnsupportedSplitConfiguration, "unbind", "v = [a for a in x[t]]"),
    (exc.UnsupportedSplitConfiguration, "hl.split", "v = hl.split(z[t, :])"),
    (exc.TypeInferenceError, "do not add up", "v = z[t, :].split([3, 5], 1)"),
    (exc.UnsupportedIndexRemapping, "flip", "v = x[t].flip(0)"),
    (exc.UnsupportedIndexRemapping, "roll", "v = x[t].roll(1, 0)"),
    (exc.UnsupportedIndexRemapping, "diagonal", "v = z[t, :].diagonal()"),
    (exc.ShapeMismatch, "[t, 48] and [t, 7]", "v = torch.cat([z[t, :], z[t, 0:7]])"),
    (exc.ShapeSpecializingAllocation, "divide", "v = hl.zeros([t.block_size // 3])"),
    (exc.ShapeSpecializingAllocation, "a product", "v = hl.zeros([t.block_size + 1])"),
    (exc.RankMismatch, "gather", "v = torch.gather(z[t, :], 1, hl.arange(4).long())"),
    (
        exc.DataDependentOutputShapeNotSupported,
        "repeat_interleave",
        "v = x[t].repeat_interleave(y[t].long())",
    ),
    (exc.DataDependentOutputShapeNotSupported, "", "v = x[t].nonzero()"),
    (exc.DataDependentOutputShapeNotSupported, "", "v = torch.unique(x[t])"),
    (
        exc.TypeInferenceError,
        "hl.join of torch.float32",
        "v = hl.join(x[t], y[t].half())",
    ),
    (exc.BackendUnsupported, "complex64", "out[t] = x[t].to(torch.complex64).abs()"),
    (exc.TorchOpTracingError, "hl.atomic_add", "v = x[t].histc(1 << 20)"),
    (exc.TypeInferenceError, "bins is", "v = x[t].histc(n, 0, 1)"),
    (exc.TorchOpTracingError, "x[tile].histc", "v = torch.histc(x, 4, 0, 1)"),
    (exc.TorchOpTracingError, "weights", "v = y[t].long().bincount(x[t], 4)"),
    (
        exc.DataDependentOutputShapeNotSupported,
        "give minlength",
        "v = y[t].int().bincount()",
    ),
    (exc.ShapeNotAList, "must be a list", "v = hl.zeros('a')"),
    (exc.InvalidAPIUsage, "the int -1", "v = hl.zeros([-1])"),
    (exc.InvalidAPIUsage, "the float 1.5", "v = hl.zeros([1.5])"),
    (exc.InvalidAPIUsage, "dtype must be", "v = hl.zeros([t], dtype='a')"),
    (exc.InvalidAPIUsage, "the value is 'a'", "v = hl.full([t], 'a')"),
    (exc.InvalidAPIUsage, "float32 tensor [t]", "v = hl.full([t], x[t])"),
    (exc.InvalidAPIUsage, "it is hl.full(shape, value", "v = hl.full([t])"),
    (exc.InvalidAPIUsage, "takes an end", "v = hl.arange()"),
    (exc.InvalidAPIUsage, "the step is the int 0", "v = hl.arange(0, 8, 0)"),
    (exc.TypeInferenceError, "low < high", "v = hl.randint([t], 5, 2, 1)"),
    (exc.InvalidAPIUsage, "dim 3 is out of range", "v = hl.cumsum(x[t], 3)"),
]

# A TypeError or ValueError inside InternalError in the spec; typed here.
WRONG_ARGUMENTS = [
    ("two 2-D or two 3-D", "v = hl.dot(x[t], y[t])"),
    ("48 columns of mat1, but mat2 has t rows", "v = hl.dot(z[t, :], z[t, :])"),
    ("acc has shape [t]", "v = hl.dot(z[t, :], z[t, :].T, acc=x[t])"),
    ("not multiply torch.int32", "v = hl.dot(z[t, :].int(), z[t, :].T.int())"),
    ("mat1 must be a tensor", "v = hl.dot(3, 4)"),
    ("sem is 'bad'", "hl.atomic_add(x, [t], 1, sem='bad')"),
    ("target must be a tensor", "hl.atomic_add(5, [t], 1)"),
    ("missing a required argument: 'value'", "hl.atomic_add(x, [t])"),
]

TILES = [
    "v = t * 2",
    "v = 2 + t",
    "v = t - 1",
    "v = -t",
    "v = t < 3",
    "v = t + 1.5",
    "v = t + x[t]",
    "v = x[t] * t",
    "v = float(t)",
    "v = int(t)",
    "v = len(t)",
    "v = t[0]",
    "v = torch.sin(t)",
    "v = torch.full([4], t)",
    "v = hl.tile_begin(x[t])",
    "if t:  #!\n    pass",
]

WORKING = [
    "out[t] = z[t, :].sum((0, 1)) + z[t, :].sum()",
    "out[t] = x[t].any()",
    "out[t] = x[t].max(dim=0).values",
    "a, b = z[t, 0:2].unbind(1)\nout[t] = a + b",
    "a, b = z[t, 0:8].chunk(2, 1)\nout[t] = (a * b).sum(1)",
    "out[t] = torch.stack([x[t], y[t]]).sum(0)",
    "out[t] = x[t].sum() + hl.zeros([n]).sum()",
    "v = x[[t]]\nout[t] = v",
    "out[t] = x[-1]",
    "out[t] = x[0:n].sum()",
    "out[t] = torch.cat([x[t], y[t]]).sum(0)",
    "a, b, c = z[t, :].chunk(3, 1)\nout[t] = (a * b + c).sum(1)",
    "parts = z[t, :].unbind(1)\nout[t] = parts[3]",
]


@pytest.mark.parametrize(
    ("error", "words", "lines"), [*SUBSCRIPTS, *MEMORY, *OPERATIONS]
)
def test_the_author_is_told(error, words, lines):
    found = faults.fault(faults.device_text(lines))
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(("words", "lines"), WRONG_ARGUMENTS)
def test_wrong_arguments_of_an_op_are_invalid_api_usage(words, lines):
    found = faults.fault(faults.device_text(lines))
    assert type(found) is exc.InvalidAPIUsage
    assert words in str(found)


@pytest.mark.parametrize("lines", TILES)
def test_a_tile_is_only_an_index_or_a_size(lines):
    found = faults.fault(faults.device_text(lines))
    assert type(found) is exc.IncorrectTileUsage
    assert "tile.index" in str(found)


@pytest.mark.parametrize("lines", WORKING)
def test_it_compiles(lines):
    assert "@triton.jit" in faults.compile_text(faults.device_text(lines))


def test_a_0d_host_tensor_must_be_loaded():
    x, y, z, n = faults.arguments()
    text = faults.device_text("out[t] = x[t] + y")
    found = faults.fault(text, x, torch.ones([]), z, n)
    assert type(found) is exc.HostTensorDirectUsage
    assert "y[()]" in str(found)


def test_batch_sizes_of_a_dot_must_agree():
    a, b = torch.ones(64, 16, 16), torch.ones(3, 16, 16)
    text = faults.device_text("v = hl.dot(y[0:2, :, :], z[:, :, :])")
    found = faults.fault(text, torch.ones(64), a, b, 5)
    assert type(found) is exc.DotBatchDimensionMismatch


@pytest.mark.parametrize("lines", ["v = z[t] + x[t]", "out[t] = z[0, :]"])
def test_dynamic_sizes_are_named_as_host_code_spells_them(lines):
    found = faults.fault(faults.device_text(lines), static_shapes=False)
    assert type(found) is exc.ShapeMismatch
    assert "z.size(1)" in str(found)


def test_no_stand_in_of_the_compiler_is_shown():
    found = faults.fault(faults.device_text("v = torch.sin(x[t].reshape(3, 5), t)"))
    for word in ("Fake", "Traced", "Sym", "16144"):
        assert word not in str(found)
