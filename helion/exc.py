"""Every error and warning a kernel author can meet: what, where, and what to do."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, ClassVar, TypeVar

from ._error_report import (
    Location,
    compose_message,
    fill,
    hint_line,
    holes,
    location_block,
    wrapped_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BaseT = TypeVar("BaseT", bound="Base")


class Base(RuntimeError):
    """Root of all helion errors; the text is ``template`` with its holes filled.

    Keyword arguments fill holes by name. Positional ones fill the remaining holes in
    order when there are enough of them; otherwise they are free text. Nothing that is
    passed is lost, and construction never fails.
    """

    template: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    severity: ClassVar[str] = "ERROR"

    def __init__(self, *args: object, **facts: object) -> None:
        self.facts: dict[str, object] = facts
        self.location: Location | None = None
        self.errors: tuple[Base, ...] = ()
        self.message: str = compose_message(self.template, args, facts)
        hint = str(facts.get("hint", self.hint))
        if all(name in facts for name in holes(hint)):
            self.message += hint_line(fill(hint, facts))
        super().__init__(self.message)

    @classmethod
    def from_text(cls: type[BaseT], text: str, hint: str = "") -> BaseT:
        """Make an error that says ``text`` in place of its template."""
        error = cls()
        error.message = text + hint_line(hint or cls.hint)
        return error

    @property
    def base_msg_len(self) -> int:
        """Length of the text before the location block."""
        return len(self.message)

    def with_location(self: BaseT, location: Location | None) -> BaseT:
        """Remember where the error arose; the first location given wins."""
        if self.location is None:
            self.location = location
        return self

    def __str__(self) -> str:
        if self.errors:
            return "\n\n".join(error.report() for error in self.errors)
        if self.location is None:
            return self.message
        return self.message + location_block(self.location)

    def report(self) -> str:
        """Return the text headed by its kind and class, as shown to a user."""
        return f"{self.severity}[{type(self).__name__}]: {self}"


class BaseError(Base):
    """Stops the compile, the call or the search."""


class BaseWarning(Base):
    """Is printed rather than raised; ``ignore_warnings`` silences it."""

    severity = "WARNING"


class _WrapException(BaseError):
    """Carries ``TypeName: text`` of another exception, which becomes its cause."""

    def __init__(self, *args: object, **facts: object) -> None:
        cause = next((a for a in args if isinstance(a, BaseException)), None)
        super().__init__(*(wrapped_text(a) for a in args), **facts)
        if cause is not None:
            self.__cause__ = cause


def warn(warning: BaseWarning, ignored: Iterable[type | str] = ()) -> None:
    """Print ``warning`` to stderr unless its class or a base of it is ignored."""
    names = {item if isinstance(item, str) else item.__name__ for item in ignored}
    if not any(cls.__name__ in names for cls in type(warning).__mro__):
        print(warning.report(), file=sys.stderr)


def raise_collected(errors: Sequence[Base]) -> None:
    """Raise what was collected: one error as it is, several under the first's class."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    joined = copy.copy(errors[0])
    joined.errors = tuple(errors)
    raise joined


# -- decoration and settings -----------------------------------------------------------


class IncompatibleInterpretModes(BaseError):
    template = "HELION_INTERPRET and TRITON_INTERPRET are both set to 1"
    hint = "set one of them: they are two different ways to run a kernel"


class RefEagerModeCodePrintError(BaseError):
    template = "print_output_code has nothing to print: eager mode generates no code"
    hint = "unset HELION_INTERPRET (or ref_mode), or HELION_PRINT_OUTPUT_CODE"


class AutotuningDisallowedInEnvironment(BaseError):
    template = "a search is needed, but {reason}"
    hint = "pass config= to the kernel decorator or unset HELION_DISALLOW_AUTOTUNING"


class DecoratorAfterHelionKernelDecorator(BaseError):
    template = "a decorator stands below @helion.kernel"
    hint = "make @helion.kernel the decorator closest to the function"


class ClosuresNotSupported(BaseError):
    template = "a kernel cannot use variables of an enclosing function: {names}"
    hint = "pass them as arguments or make them module globals"


class NamingConflict(BaseError):
    template = "the name {name} is reserved for generated code"
    hint = "rename the variable"


class MissingEnableTile(BaseError):
    template = "the tile backend is not enabled"
    hint = "set ENABLE_TILE=1, or use the triton backend"


class CuteBackendUnavailable(BaseError):
    template = "the cute backend is not available"
    hint = "use the triton backend"


# -- binding arguments -----------------------------------------------------------------


class NoTensorArgs(BaseError):
    template = "no argument is a tensor or a device, so the kernel has no device"
    hint = "pass at least one tensor or torch.device"


class KernelArgumentError(BaseError, TypeError):
    template = "{reason}"
    hint = "pass what the signature of the kernel names"


class MixedDevices(BaseError):
    template = "the arguments are on several devices: {devices}"
    hint = "move all tensors to one device"


class InputTensorNumelExceedsIndexType(BaseError):
    template = "an input tensor has too many elements for index_dtype {index_dtype}"
    hint = "use index_dtype=torch.int64, or leave it unset"


class IndexOffsetOutOfRangeForInt32(BaseError):
    template = "an offset may exceed the range of {index_dtype}"
    hint = "use index_dtype=torch.int64, or leave it unset"


class GraphModuleUnsupportedOps(BaseError):
    template = "a GraphModule argument may only call functions, but has: {ops}"
    hint = "let its forward call functions, e.g. torch.nn.functional.linear"


class ProcessGroupNameNotFound(BaseWarning):
    template = "no hl.ProcessGroupName argument: the default process group is used"
    hint = "annotate the name of the group: group: hl.ProcessGroupName"


# -- kernel text and Python constructs -------------------------------------------------


class StatementNotSupported(BaseError):
    template = "{construct} is not supported in a kernel"
    hint = "do it before the loop, or write it with if, for, while and assignments"


class DeviceAssertionError(BaseError, AssertionError):
    template = "assert {condition} fails{message}"
    hint = "it is known to be false when compiling"


class NotAllowedOnDevice(StatementNotSupported):
    template = "{construct} is not allowed in a device loop"
    hint = "move it out of the hl.tile or hl.grid loop"


class AssignmentMultipleTargets(NotAllowedOnDevice):
    template = "an assignment to several targets (a = b = v) is not allowed on device"
    hint = "write one assignment for each target"


class InvalidAssignment(NotAllowedOnDevice):
    template = "a starred or attribute target is not allowed on device"
    hint = "assign to a plain name or to a subscript"


class UnsupportedPythonType(BaseError):
    template = "{type} is not supported in a kernel"
    hint = "compute it before the loop, or pass it as an argument"


class UndefinedVariable(BaseError):
    template = "{name} is not defined"
    hint = "give it a value before this line, or check the spelling"


class TypeInferenceError(BaseError):
    template = "{reason}"
    hint = "HELION_DUMP=types shows the type of every expression"


class CantCombineTypesInControlFlow(BaseError):
    template = "{name} is {left} on one path and {right} on another"
    hint = "give the variable one type on every path, e.g. a tensor from hl.full"


class ControlFlowTensorMismatch(BaseError):
    template = "tensor {tensor} changes on a branch or iteration: {difference}"
    hint = "keep its shape, dtype and device the same (e.g. with .to(dtype))"


class CannotModifyHostVariableOnDevice(BaseError):
    template = "the host variable {name} is rebound in a device loop"
    hint = "write to it with a subscript: {name}[...] = value"


class CannotReadDeviceVariableOnHost(BaseError):
    template = "host code reads {name}, which only exists inside a device loop"
    hint = (
        "every tile has a {name} of its own: make a tensor before the loop, store into "
        "it there, e.g. rows[tile.id, ...] = {name}, and read that"
    )


class CantReadOnDevice(BaseError):
    template = "{type} cannot be read in a device loop"
    hint = "pass it as an argument, or compute it in the loop"


class TracedArgNotSupported(BaseError):
    template = "argument {arg} cannot be passed to a traced function"
    hint = "pass tensors, numbers or tuples of them"


class ClosureMutation(BaseError):
    template = "a function argument writes the closure variable {name}"
    hint = "return the value instead"


class GlobalMutation(BaseError):
    template = "a function argument writes the global variable {name}"
    hint = "return the value instead"


class StarredArgsNotSupportedOnDevice(BaseError):
    template = "this call with * or ** is not supported on device"
    hint = "write the arguments out"


class InvalidSequenceSubscription(BaseError):
    template = "a list or tuple is indexed by {index}, which is not a constant"
    hint = "loop over the sequence or over hl.static_range: they are unrolled"


class FailedToUnpackTupleAssign(BaseError):
    template = "cannot unpack {type} into {expected} names"
    hint = "write as many names as there are values"


class NestedKernelCallsNotSupported(BaseError):
    template = "a kernel calls another kernel"
    hint = "move the shared code into a plain function and call it from both"


class InvalidDeviceForLoop(BaseError):
    template = "a device loop cannot iterate over {type}"
    hint = "iterate over hl.tile, hl.grid, hl.static_range, range or a tuple"


class ShapeSpecializingCall(BaseError):
    template = "{call} needs a size that is only known at run time"
    hint = "use hl.specialize(size), or annotate the argument hl.constexpr"


# -- loops, tiles, tunables ------------------------------------------------------------


class NoDeviceLoopsInKernel(BaseError):
    template = "the kernel has no hl.tile or hl.grid loop"
    hint = "put what the device computes into a loop: for tile in hl.tile(size)"


class EmptyDeviceLoopAfterDCE(BaseError):
    template = "a device loop has no effect: it stores nothing"
    hint = "store into a tensor made before the loop: out[tile] = value"


class NestedGridLoop(BaseError):
    template = "an outermost device loop stands under if, for or while"
    hint = "move it to the top level of the kernel"


class TopLevelStatementBetweenLoops(BaseError):
    template = "a statement stands between two top-level device loops"
    hint = "move it before the first loop"


class LoopFunctionNotInFor(BaseError):
    template = "{name} must be the iterator of a for statement"
    hint = "write a loop: for index in {name}(...)"


class DeviceLoopElseBlock(BaseError):
    template = "{loop} cannot have an else block"
    hint = "write what stands in else after the loop"


class NestedDeviceLoopsConflict(BaseError):
    template = "nested loops use the same block size variable"
    hint = "register one block size for each loop"


class InvalidTileRange(BaseError):
    template = "the range begins at {begin}, after its end {end}"
    hint = "swap the bounds, or use max(begin, end) as the end"


class TileOfTile(BaseError):
    template = "a tile is the bound of another loop"
    hint = "use hl.tile(tile.begin, tile.end)"


class IncorrectTileUsage(BaseError):
    template = "a tile may only be an index or a size, not an argument of {name}"
    hint = "tile.index has its positions, tile.begin and tile.end its bounds"


class FailedToUnpackTile(BaseError):
    template = "a loop over one dimension yields one tile, but several names take it"
    hint = "hl.tile(x) yields a tile, hl.tile([x]) a one-element tuple"


class OverpackedTile(BaseError):
    template = "several tiles are packed into one index: {container}"
    hint = "hl.tile(x) yields a tile, hl.tile([x]) a one-element tuple"


class InvalidJaggedTileUsage(BaseError):
    template = "{reason}"
    hint = "its parent is a device tensor of lengths over tiles: lengths[tile]"


class BarrierOnlyAllowedAtTopLevel(BaseError):
    template = "hl.barrier() must stand between two top-level device loops"
    hint = "move it between two outermost loops"


class LoopDependencyError(BaseError):
    template = "a loop reads {name}, which an earlier loop writes"
    hint = "put hl.barrier() between the loops"


class CrossRootDeviceValue(BaseError):
    template = "{name} is used outside the scope that defines it"
    hint = "give it a value before that scope, or pass it on through a host tensor"


class CrossLoopSchedulingError(BaseError):
    template = "the dependency between two loops cannot be lowered: {reason}"
    hint = "put hl.barrier() between the loops"


class PdlPlacement(BaseError):
    template = "misplaced hl.pdl call: {reason}"
    hint = "hl.pdl_wait stands before the first loop"


class PdlStateWithoutWait(BaseError):
    template = "state passes from loop to loop without a pdl wait"
    hint = "call hl.pdl_wait() before the first loop"


class SpecializeOnDevice(BaseError):
    template = "hl.specialize is called in a device loop"
    hint = "call it before the loop"


class SpecializeArgType(BaseError):
    template = "hl.specialize takes an int, a size or a shape, not {type}"
    hint = "specialize sizes or int arguments: hl.specialize(x.shape)"


class ShapeSpecializingAllocation(BaseError):
    template = "a device allocation needs a size known at compile time"
    hint = "use a tile as the size, or hl.specialize(size) before the loop"


class RegisterTunableArgTypes(BaseError):
    template = (
        "hl.register_tunable takes a literal name and a fragment, "
        "not {name_type} and {fragment_type}"
    )
    hint = "write hl.register_tunable('name', IntegerFragment(1, 8))"


class TunableTypeNotSupported(BaseError):
    template = "a tunable is an int, float or bool, not {type}"
    hint = "make the choices numbers, and pick the rest by number"


class TunableNameConflict(BaseError):
    template = "the tunable name {name} is reserved or already registered"
    hint = "choose another name"


class ConfigSpecFragmentWithSymInt(BaseError):
    template = "an argument of a fragment is symbolic: {value}"
    hint = "make it a number with hl.specialize"


class NotInsideKernel(BaseError):
    template = "{name} is called outside a kernel"
    hint = "decorate the function with @helion.kernel"


class DeviceAPIOnHost(BaseError):
    template = "{name} only works in a device loop"
    hint = "move the call into an hl.tile or hl.grid loop"


class NotAllowedInHelperFunction(BaseError):
    template = "{name} is not allowed in a combine function"
    hint = "combine the two operands with torch operations alone"


class BreakpointInDeviceLoopRequiresInterpret(BaseError):
    template = "breakpoint() in a device loop cannot be compiled"
    hint = "set HELION_INTERPRET=1 or TRITON_INTERPRET=1"


# -- tensors, indexing, shapes ---------------------------------------------------------


class InvalidIndexingType(BaseError):
    template = "{index} cannot be an index"
    hint = "an index is a tile, int, slice, None, ... or integer tensor"


class RankMismatch(BaseError):
    template = "{tensor} takes {expected} indices, but gets {got}"
    hint = "write one index for each dim; None adds a dim of size 1"


class InvalidSliceStep(BaseError):
    template = "the slice step is {step}, but must be positive"
    hint = "for reversed order index with positions: x[size - 1 - tile.index]"


class TensorSliceBound(BaseError):
    template = "the slice bound {value} is a device tensor"
    hint = "index with a tensor of positions, e.g. bound + hl.arange(size)"


class HostTensorDirectUsage(BaseError):
    template = "the host tensor {name} is an operand of {op} in a device loop"
    hint = "load it first: {name}[()] or hl.load({name}, [])"


class RequiresTensorInAssignment(BaseError):
    template = "a subscript is assigned {value}, which is neither tensor nor number"
    hint = "assign a tensor or a number"


class NonTensorSubscriptAssign(BaseError):
    template = "cannot assign {value_type} into {target_type} by subscript"
    hint = "elements of tensors, lists and dicts can be assigned"


class DeviceTensorSubscriptAssignmentNotAllowed(BaseError):
    template = "{name} is a device value, so its elements cannot be assigned"
    hint = "use torch.where, or store into a host tensor"


class TileSizeMismatch(BaseError):
    template = "dim {dim} of {tensor} has size {size}, but its tile runs up to {end}"
    hint = "use a tile made by hl.tile({tensor}.size({dim})), or a mask with hl.load"


class ShapeMismatch(BaseError):
    template = "the shapes {left} and {right} do not fit together"
    hint = "add dims of size 1 with [:, None], or use one tile for both"


class DataDependentOutputShapeNotSupported(BaseError):
    template = "the shape of the result of {op} depends on data"
    hint = "use torch.where or hl.load with extra_mask"


class UnsupportedSplitOperation(BaseError):
    template = "{op} is not supported on device"
    hint = "use hl.split"


class UnsupportedSplitConfiguration(BaseError):
    template = "this form of {op} is not supported: {requirement}"
    hint = "take the parts one by one: value[:, 0:4], or use hl.split"


class UnsupportedIndexRemapping(BaseError):
    template = "{op} moves elements between positions of a tile: {index}"
    hint = "load it in that order: index with a tensor of positions"


class DotBatchDimensionMismatch(BaseError):
    template = "the batch sizes {left} and {right} of a dot differ, and none is 1"
    hint = "use one tile for the batch of both operands"


class AtomicOnDeviceTensor(BaseError):
    template = "{name} needs a host tensor as target, not a device value"
    hint = "use an argument, or a tensor made before the loop"


class DuplicateStoreIndicesError(BaseError):
    template = "{reason}"
    hint = "use hl.atomic_add or hl.atomic_xchg"


class StackTensorcOnHost(BaseError):
    template = "a stack tensor is made on the host"
    hint = "call hl.stacktensor_like in a device loop"


class StackTensorDevPtrOnHost(BaseError):
    template = "the pointers of a stack tensor are a host tensor"
    hint = "load them in the device loop first"


class StackTensorDevPtrDtype(BaseError):
    template = "the pointers of a stack tensor must be uint64, not {dtype}"
    hint = "make them with dtype=torch.uint64"


class StackTensorExampleOnDevice(BaseError):
    template = "the template of a stack tensor must be a host tensor"
    hint = "pass a tensor of the same shape as an argument"


class ReductionOnNonTile(BaseError):
    template = "a dimension of size {size} is neither tiled nor a full slice"
    hint = "index it with a tile or with :"


class InvalidReductionDim(BaseError):
    template = "the reduction dim {dim} is not an int"
    hint = "write the number of a dim"


class MultipleReductionDims(BaseError):
    template = "several dims are reduced at once"
    hint = "reduce one dim after the other"


class ReductionDimInvalidForShape(BaseError):
    template = "reduction dim {dim} is out of range for shape {shape}"
    hint = "dims count from 0, or from -1 backwards"


class InvalidAPIUsage(BaseError):
    template = "{reason}"
    hint = "the docstring of the function says what it takes"


class CompiledOnly(BaseError, AssertionError):
    template = "{name} only runs in a compiled kernel, not in eager mode"
    hint = "run the kernel on a GPU (TRITON_INTERPRET=1: on a CPU), without ref_mode"


class NotSupportedYet(BaseError):
    template = "{feature} is not supported yet"
    hint = "launch such a step from the host, between kernels"


class ShapeNotAList(InvalidAPIUsage, TypeError):
    template = "the shape of hl.{op} must be a list of sizes, not of type {type}"
    hint = "write hl.{op}([size, ...]); a single tile may stand alone"


class TensorOperationInWrapper(BaseWarning):
    template = "a torch operation outside the device loops runs unfused on the host"
    hint = "ignore_warnings=[helion.exc.TensorOperationInWrapper] silences this"


class TensorOperationsInHostCall(TensorOperationInWrapper):
    template = "the host call {name} runs torch operations unfused"


class WrongDevice(BaseWarning):
    template = "{op} returns a tensor on {got}, but the kernel runs on {expected}"
    hint = "give it device=, or list helion.exc.WrongDevice in ignore_warnings"


class TiledKMatmulAccumulationWarning(BaseWarning):
    template = "acc += a @ b rounds each partial product before it is added"
    hint = "use torch.addmm(acc, a, b), hl.dot(a, b, acc=acc) or torch.baddbmm"


# -- lowering and code generation ------------------------------------------------------


class InternalError(_WrapException):
    """An exception of another kind that escaped from the compiler."""

    hint = "this is a fault of the compiler: please report it with the kernel"


class TorchOpTracingError(_WrapException):
    """A torch operation failed on the tensors of the kernel."""

    hint = "the same call on small tensors at the prompt says what torch expects"


class InductorLoweringError(_WrapException):
    """A traced operation cannot be turned into code."""

    hint = "write it with other torch operations, and please report it"


class BackendUnsupported(BaseError):
    template = "backend {backend} does not support {detail}"
    hint = "compute it on the host, or with other operations"


class BackendImplementationMissing(BaseError):
    template = "backend {backend} lacks the hook {detail}"
    hint = "give the op its rule: @_decorators.codegen(op)"


class InvalidConfig(BaseError):
    """Lists every problem of a config at once."""

    template = "{reason}"
    hint = "kernel.bind(args).config_spec says which keys and values there are"


class BarrierRequiresPersistent(InvalidConfig):
    template = "hl.barrier() needs a persistent pid_type, not {pid_type}"
    hint = "use pid_type='persistent_blocked'"


class HelionReductionTooLarge(InvalidConfig):
    template = (
        "reduction axis {axis} would hold {size} elements in one tile, "
        "but the cap is {cap}"
    )
    hint = (
        "lower reduction_loops or block_sizes in the config, or raise "
        "settings.max_triton_tensor_numel"
    )


class BlockPtrIndexingUnavailable(BaseWarning):
    template = "this Triton has no block pointers: pointer indexing is used instead"
    hint = "indexing='tensor_descriptor' or 'pointer' silences this"


class ErrorCompilingKernel(BaseError):
    template = "the kernel has {errors} errors and {warnings} warnings"
    hint = "see the errors above"


class BlockSizeIgnoredInInterpretMode(BaseWarning):
    template = "block size {block_size} is ignored in eager mode"
    hint = "pass block_size= to the loop"


# -- autotuning ------------------------------------------------------------------------


class AutotuneError(BaseError):
    template = "{reason}"
    hint = "pass config= to the decorator to do without a search"


class NoConfigFound(BaseError):
    template = "no config of the search space worked"
    hint = "pass config= to the decorator, and check that it works there"


class NotEnoughConfigs(BaseError):
    template = "a finite search needs at least 2 configs, but has {count}"
    hint = "give the decorator two or more configs"


class TritonError(BaseError):
    template = "Triton failed with {error} for {decorator}: {code}"
    hint = "autotune_ignore_errors=True skips such configs"


class TritonUnrecoverableRuntimeError(BaseError):
    template = "{reason} for {decorator}: {error}"
    hint = "start anew, and leave such configs out: autotune_config_filter=..."


class CacheAssertionError(BaseError):
    template = "HELION_ASSERT_CACHE_HIT is set, but {kernel} is not in the cache"
    hint = "tune the kernel first, or unset HELION_ASSERT_CACHE_HIT"


class InconsistantConfigsAcrossRanks(BaseError):
    template = "the ranks of a distributed kernel chose different configs"
    hint = "give the decorator one config"


class NoAOTHeuristicWarning(BaseWarning):
    template = "no tuned heuristic for kernel {kernel}: the default config is used"
    hint = "collect heuristics first, or pass config= to the decorator"


# -- autodiff --------------------------------------------------------------------------


class AutodiffKernelNotCalled(BaseError):
    template = "backward needs a kernel that was called before"
    hint = "call the kernel, then its backward"


class AutodiffNotSupported(BaseError):
    template = "no backward kernel can be derived: {reason}"
    hint = "wrap the kernel and one for its gradient in a torch.autograd.Function"


class EagerBackward(BaseWarning):
    template = "the gradient of kernel {name} is computed by its body, run eagerly"
    hint = (
        "for a fast backward write a kernel for it, and wrap both in a "
        "torch.autograd.Function"
    )
