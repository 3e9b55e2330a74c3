"""What user code does to meet each class of ``helion.exc``, and why others rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
import helion.language as hl
from helion import exc
from helion.autotuner import EnumFragment, IntegerFragment
from helion.language import _decorators
from test.harness import fake_cuda
from test.unit import faults

COUNT = 0


@helion.kernel
def add_one(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + 1
    return out


@helion.kernel
def row_sum(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.softmax(x[tile, :], 1).sum(1)
    return out


@_decorators.api(is_device_only=True)
def ruleless(x: torch.Tensor) -> torch.Tensor:
    """An op of a third party who forgot to say how it is emitted."""
    return x


@_decorators.fake(ruleless)
def ruleless_fake(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@_decorators.api(is_device_only=True)
def clumsy(x: torch.Tensor) -> torch.Tensor:
    """An op of a third party whose rule fails."""
    return x


@_decorators.fake(clumsy)
def clumsy_fake(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@_decorators.api(is_device_only=True)
def broken(x: torch.Tensor) -> torch.Tensor:
    """An op of a third party whose other rule fails."""
    return x


@_decorators.fake(broken)
def broken_fake(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@_decorators.masked_value(broken)
def broken_masked_value(*args: object) -> Any:
    raise KeyError("no such thing")


@_decorators.codegen(broken)
@_decorators.codegen(clumsy)
def clumsy_codegen(state: object) -> Any:
    raise KeyError("no such thing")


def counts(value: Any) -> Any:
    global COUNT
    COUNT += 1
    return value


def adds_to_closure() -> Callable[[Any], Any]:
    total = 0

    def adds(value: Any) -> Any:
        nonlocal total
        total += 1
        return value

    return adds


def with_zeros(left: Any, right: Any) -> Any:
    return left + right + hl.zeros([4])


NAMES = {
    "other": add_one,
    "counts": counts,
    "adds": adds_to_closure(),
    "with_zeros": with_zeros,
    "ruleless": ruleless,
    "clumsy": clumsy,
    "broken": broken,
    "Ints": IntegerFragment,
    "Choice": EnumFragment,
    "FAR": torch.ones(3),
}

# -- lines in a loop over tiles t of the vector x; #! marks the line to be named -------

ON_DEVICE: dict[str, str] = {
    "StatementNotSupported": "class A:  #!\n    pass",
    "NotAllowedOnDevice": "v = x[t].item()",
    "AssignmentMultipleTargets": "a = b = x[t]",
    "InvalidAssignment": "x.foo = 3",
    "UnsupportedPythonType": "v = f'{x[t]}'",
    "UndefinedVariable": "v = missing + 1",
    "TypeInferenceError": "m = x[t] > 0\nw = m and m  #!",
    "CantCombineTypesInControlFlow": "v = x[t]\nif n > 3:  #!\n    v = 'a'\nout[t] = 1",
    "ControlFlowTensorMismatch": "v = x[t]\nif n > 3:  #!\n    v = v.half()",
    "CannotModifyHostVariableOnDevice": "n += 1",
    "ShapeSpecializingAllocation": "v = hl.zeros([t.begin])",
    "ClosureMutation": "v = adds(x[t])",
    "GlobalMutation": "v = counts(x[t])",
    "StarredArgsNotSupportedOnDevice": "v = torch.sin(*x[t])",
    "InvalidSequenceSubscription": "v = [1, 2][t.begin]",
    "FailedToUnpackTupleAssign": "a, b = 1, 2, 3",
    "NestedKernelCallsNotSupported": "v = other(x)",
    "InvalidDeviceForLoop": "for s in n:  #!\n    pass",
    "ShapeSpecializingCall": "v = int(t.begin)",
    "DeviceLoopElseBlock": "for s in hl.tile(8):  #!\n    pass\nelse:\n    pass",
    "InvalidTileRange": "for s in hl.tile(8, 4):  #!\n    out[s] = 1",
    "TileOfTile": "for s in hl.tile(t):  #!\n    out[s] = 1",
    "IncorrectTileUsage": "v = t * 2",
    "FailedToUnpackTile": "a, b = t",
    "OverpackedTile": "v = z[[t, t], :]",
    "InvalidJaggedTileUsage": "for s in hl.jagged_tile(x):  #!\n    out[s] = 1",
    "DeviceAssertionError": "assert 1 == 2, 'no'",
    "PdlPlacement": "hl.pdl_wait()",
    "BarrierOnlyAllowedAtTopLevel": "hl.barrier()",
    "CrossRootDeviceValue": "if n > 3:\n    w = x[t]\nout[t] = w  #!",
    "SpecializeOnDevice": "v = hl.specialize(3)",
    "NotAllowedInHelperFunction": "v = hl.reduce(with_zeros, x[t], 0)",
    "BreakpointInDeviceLoopRequiresInterpret": "breakpoint()",
    "InvalidIndexingType": "v = x['a']",
    "RankMismatch": "v = x[t, t]",
    "InvalidSliceStep": "v = x[::-1]",
    "TensorSliceBound": "v = x[x[0].long():]",
    "HostTensorDirectUsage": "out[t] = x[t] + y",
    "RequiresTensorInAssignment": "out[t] = 'a'",
    "NonTensorSubscriptAssign": "v = (1, 2)\nv[0] = 1  #!",
    "DeviceTensorSubscriptAssignmentNotAllowed": "v = x[t]\nv[0] = 1  #!",
    "TileSizeMismatch": "v = z[t, t]",
    "ShapeMismatch": "v = z[t] + x[t]",
    "DataDependentOutputShapeNotSupported": "v = x[t].nonzero()",
    "UnsupportedSplitOperation": "a, b = torch.tensor_split(x[t], 2)",
    "UnsupportedSplitConfiguration": "v = z[t, :].chunk(5, 0)",
    "DotBatchDimensionMismatch": (
        "v = hl.dot(hl.zeros([2, 16, 16]), hl.zeros([3, 16, 16]))"
    ),
    "AtomicOnDeviceTensor": "hl.atomic_add(hl.zeros([4]), [t], 1)",
    "ReductionDimInvalidForShape": "v = x[t].sum(3)",
    "InvalidAPIUsage": "hl.atomic_add(x, [t], 1, sem='bad')",
    "ShapeNotAList": "v = hl.zeros('a')",
    "TorchOpTracingError": "v = x[t] + 'a'",
    "BackendUnsupported": "out[t] = x[t].to(torch.complex64).abs()",
    "BackendImplementationMissing": "out[t] = ruleless(x[t])",
    "InductorLoweringError": "out[t] = clumsy(x[t])",
}

# -- lines in front of that loop -------------------------------------------------------

ON_HOST: dict[str, str] = {
    "NamingConflict": "tl = 3",
    "LoopFunctionNotInFor": "s = hl.tile(4)",
    "EmptyDeviceLoopAfterDCE": "for s in hl.tile(8):  #!\n    x[s] + 1",
    "CannotReadDeviceVariableOnHost": "for s in hl.tile(8):\n    v = x[s]\nw = v  #!",
    "SpecializeArgType": "v = hl.specialize('a')",
    "RegisterTunableArgTypes": "v = hl.register_tunable('k', 3)",
    "TunableTypeNotSupported": "v = hl.register_tunable('k', Choice(('a', 'b')))",
    "TunableNameConflict": "v = hl.register_tunable('num_warps', Ints(1, 4))",
    "ConfigSpecFragmentWithSymInt": "v = hl.register_tunable('k', Ints(1, n))",
    "CantReadOnDevice": (
        "with open('/dev/null') as f:\n    pass\n"
        "for s in hl.tile(8):\n    out[s] = f  #!"
    ),
    "NestedDeviceLoopsConflict": (
        "b = hl.register_block_size(8)\nfor s in hl.tile(8, block_size=b):\n"
        "    for c in hl.tile(8, block_size=b):  #!\n        z[s, c] = 1"
    ),
    "DeviceAPIOnHost": "v = hl.full([4], 1)",
    "InvalidConfig": "b = hl.register_block_size(12, 16)",
}

# -- whole programs --------------------------------------------------------------------


def _decorated_below() -> None:
    text = (
        "def same(f):\n    return f\n@helion.kernel\n@same\ndef k(x):\n"
        "    for t in hl.tile(x.size(0)):\n        x[t] = 1\n"
    )
    faults.function_from(text).bind(fake_cuda((torch.ones(4),)))


def _no_loop() -> None:
    faults.compile_text("def k(x):\n    return x + 1\n", torch.ones(4))


def _huge_argument() -> None:
    with FakeTensorMode():
        x = torch.empty(2**31 + 8, dtype=torch.int8, device="cuda")
    helion.kernel(add_one.fn, index_dtype=torch.int32).bind((x,))


def _failing_rule() -> None:
    text = (
        "def k(x, y):\n    out = torch.empty_like(x)\n"
        "    for t in hl.tile(x.size(0)):\n        out[t] = broken(y[t, :]).sum(1)\n"
        "    return out\n"
    )
    faults.compile_text(text, torch.ones(8), torch.ones(8, 9), names=NAMES)


def _huge_result() -> None:
    text = (
        "def k(x):\n    out = x.new_empty([x.size(0) * 2**30])\n"
        "    for t in hl.tile(out.size(0)):\n        out[t] = x[0]\n    return out\n"
    )
    faults.compile_text(text, torch.ones(64), index_dtype=torch.int32)


def _graph_module() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4))
    graph = torch.fx.symbolic_trace(module)

    def apply(x: torch.Tensor, f: Any) -> torch.Tensor:
        for tile in hl.tile(x.size(0)):
            x[tile] = f(x[tile])
        return x

    helion.kernel(apply).bind((torch.ones(4), graph))


def _two_devices() -> None:
    text = "def k(x, y):\n    for t in hl.tile(x.size(0)):\n        x[t] = y[t]\n"
    x = fake_cuda((torch.ones(8),))[0]
    faults.kernel_from(text).bind((x, torch.ones(8)))


def _too_large() -> None:
    kernel = helion.kernel(row_sum.fn, max_triton_tensor_numel=64)
    bound = kernel.bind(fake_cuda((torch.ones(8, 128),)))
    bound.to_triton_code(helion.Config(block_sizes=[8], reduction_loops=[None]))


def _masked_twice() -> None:
    x = torch.ones(4)
    at = torch.tensor([1, 1])
    hl.store(x, [at], torch.ones(2), extra_mask=torch.ones(2, dtype=torch.bool))


def _both_interpreters() -> None:
    with mock.patch.dict("os.environ", HELION_INTERPRET="1", TRITON_INTERPRET="1"):
        helion.kernel(add_one.fn)


def _code_of_eager() -> None:
    helion.kernel(add_one.fn, ref_mode=helion.RefMode.EAGER, print_output_code=True)


def _no_tuning() -> None:
    with mock.patch.dict("os.environ", HELION_DISALLOW_AUTOTUNING="1"):
        helion.kernel(add_one.fn).autotune(fake_cuda((torch.ones(4),)))


BY_CALL: dict[str, Callable[[], object]] = {
    "IncompatibleInterpretModes": _both_interpreters,
    "RefEagerModeCodePrintError": _code_of_eager,
    "AutotuningDisallowedInEnvironment": _no_tuning,
    "DecoratorAfterHelionKernelDecorator": _decorated_below,
    "NoTensorArgs": lambda: add_one.bind((3,)),
    "KernelArgumentError": lambda: add_one(torch.ones(4), colour=3),
    "MixedDevices": _two_devices,
    "InputTensorNumelExceedsIndexType": _huge_argument,
    "IndexOffsetOutOfRangeForInt32": _huge_result,
    "GraphModuleUnsupportedOps": _graph_module,
    "NoDeviceLoopsInKernel": _no_loop,
    "DuplicateStoreIndicesError": _masked_twice,
    "HelionReductionTooLarge": _too_large,
    "InternalError": _failing_rule,
    "CompiledOnly": lambda: hl.inline_triton("{0}", [torch.ones(4)], torch.ones(4)),
    "NotSupportedYet": lambda: hl.remote_barrier(1),
    "AutotuneError": lambda: add_one.autotune(fake_cuda((torch.ones(4),))),
}

# -- warnings -----------------------------------------------------------------------

# Each prints its class when the kernel is compiled.
WARNED_ON_HOST: dict[str, str] = {
    "TensorOperationInWrapper": "v = torch.sin(x)",
    "WrongDevice": "v = torch.zeros(4, device='cpu')",
}
WARNED_ON_DEVICE: dict[str, str] = {
    "TiledKMatmulAccumulationWarning": (
        "acc = hl.zeros([t, 4], dtype=torch.float16)\nfor k in hl.tile(48):\n"
        "    acc += z[t, k].half() @ z[k, 0:4].half()  #!\nout[t] = acc.sum(1)"
    ),
}

# -- what is not raised ----------------------------------------------------------------

# Ours is the superset: the program that the class refuses elsewhere works here.
WORKING: dict[str, str] = {
    "PdlStateWithoutWait": "every launch of a kernel with hl.pdl_wait() waits",
    "ClosuresNotSupported": "a kernel may use variables of an enclosing function",
    "NestedGridLoop": "a tile loop may stand under if and for",
    "TopLevelStatementBetweenLoops": "any Python may stand between two tile loops",
    "LoopDependencyError": "each tile loop is a launch, so it sees earlier stores",
    "BarrierRequiresPersistent": "a barrier lies between two launches",
    "CrossLoopSchedulingError": "loops are launched one after the other",
    "NotInsideKernel": "hl functions act on torch tensors at the prompt",
    "MultipleReductionDims": "several dims may be reduced at once",
    "InvalidReductionDim": "torch says what is wrong with a dim",
    "ReductionOnNonTile": "any dim may be reduced",
    "TracedArgNotSupported": "functions are traced through, whatever they take",
    "UnsupportedIndexRemapping": "flip and roll are supported",
    "TensorOperationsInHostCall": "TensorOperationInWrapper is printed",
    "BlockSizeIgnoredInInterpretMode": "eager mode uses the block sizes of a Config",
    "ErrorCompilingKernel": "every error is raised as itself",
    "TritonError": "an error of a config does not end a search",
}
# Their features come later, or only other backends raise them.
LATER: dict[str, str] = {
    "MissingEnableTile": "another backend",
    "CuteBackendUnavailable": "another backend",
    "ProcessGroupNameNotFound": "distributed kernels",
    "BlockPtrIndexingUnavailable": "Triton 3.9, which no test runs with",
    "CacheAssertionError": "the cache of found Configs",
    "InconsistantConfigsAcrossRanks": "distributed search",
    "NoAOTHeuristicWarning": "heuristics made ahead of time",
    "AutodiffKernelNotCalled": "derived backward kernels",
    "AutodiffNotSupported": "derived backward kernels",
    "StackTensorcOnHost": "stack tensors",
    "StackTensorDevPtrOnHost": "stack tensors",
    "StackTensorDevPtrDtype": "stack tensors",
    "StackTensorExampleOnDevice": "stack tensors",
}
# Tested where their feature is: the text of the file names the class.
ELSEWHERE: dict[str, str] = {
    "EagerBackward": "test/numerics/test_autograd.py",
    "NoConfigFound": "test/autotuner/test_base_search.py",
    "NotEnoughConfigs": "test/autotuner/test_searches.py",
    "TritonUnrecoverableRuntimeError": "test/autotuner/test_base_search.py",
}
ROOTS = ("Base", "BaseError", "BaseWarning", "_WrapException")


def classes() -> list[str]:
    """Return the names of all classes of ``helion.exc`` but the roots."""
    found = [n for n, c in vars(exc).items() if isinstance(c, type)]
    return [
        n for n in found if issubclass(getattr(exc, n), exc.Base) and n not in ROOTS
    ]
