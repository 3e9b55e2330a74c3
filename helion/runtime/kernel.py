"""``@helion.kernel``: the decorator, and the dispatch of calls to bound kernels."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import textwrap
import threading
import types
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn, overload

import torch
from torch.compiler import is_dynamo_compiling

from helion import exc
from helion._metrics import metrics
from helion.language.constexpr import ConstExpr, unwrap
from helion.runtime.bound_kernel import BoundKernel
from helion.runtime.config import Config
from helion.runtime.device import on_device
from helion.runtime.gradients import needs_gradient
from helion.runtime.nested_inputs import has_nested, nested_runner, stand_ins
from helion.runtime.settings import RefMode, Settings
from helion.runtime.specialization import Facts, Specializer, kernel_device, tensors_in
from helion.runtime.tuning import no_search

__all__ = ["Kernel", "jit", "kernel"]

Runner = Callable[..., Any]
ConfigLike = Config | Mapping[str, Any]

# Kernels with ever new shapes must not fill the memory: beyond this many, start anew.
MAX_RUNNERS = 4096


@dataclass
class Plan:
    """How calls with one tuple of argument types find their runner."""

    facts: Facts
    runners: dict[Hashable, Runner] = field(default_factory=dict)


# Kernels by a name that a graph of torch.compile can hold.
_kernels: weakref.WeakValueDictionary[str, Kernel] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def kernel_of(token: str) -> Kernel:
    """Return the kernel that has this token."""
    return _kernels[token]


class Kernel:
    """A decorated function: callable, and compiled once per specialization key.

    A call makes a tuple of cheap facts about its arguments and finds a ready runner
    in a dict. Only a miss computes the specialization key, under a lock.
    """

    def __init__(
        self,
        fn: types.FunctionType,
        configs: Sequence[Config],
        key: Callable[..., Hashable] | None,
        settings: Settings,
    ) -> None:
        functools.update_wrapper(self, fn)
        self.__qualname__ = fn.__qualname__
        self.fn = fn
        self.name: str = fn.__name__
        self.signature = _checked_signature(fn)
        self.settings = settings
        self.configs = list(configs)
        self.params = tuple(self.signature.parameters)
        self.__code__ = fn.__code__
        self.__globals__ = fn.__globals__
        self.__defaults__ = fn.__defaults__
        constants = frozenset(_constexpr_places(fn))
        self._specializer = Specializer(
            self.params, constants, settings.static_shapes, key
        )
        self._arity = len(self.params)
        self._defaults: dict[str, Any] = {}
        self._nameable: set[str] = set()
        for name, parameter in self.signature.parameters.items():
            if parameter.default is not parameter.empty:
                self._defaults[name] = parameter.default
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self._nameable.add(name)
        self._plans: dict[tuple[type, ...], Plan] = {}
        # Several bound kernels of one key differ in facts found while compiling.
        self._bound: dict[Hashable, list[BoundKernel]] = {}
        self._lock = threading.RLock()
        self._token = f"{fn.__module__}.{fn.__qualname__}#{next(_numbers)}"
        _kernels[self._token] = self
        self.has_warned = False

    def __repr__(self) -> str:
        return f"<helion kernel {self.__module__}.{self.__qualname__}>"

    # ---- calls ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run on these arguments and return what the function returns."""
        if is_dynamo_compiling():
            # This import happens while Dynamo reads the call, which has loaded it.
            from helion.runtime import graph_calls

            return graph_calls.call(self._token, args, kwargs)
        if kwargs or len(args) != self._arity:
            args = self.normalize_args(*args, **kwargs)
        plan = self._plans.get(tuple(map(type, args)))
        if plan is None:
            plan = self._new_plan(args)
        try:
            facts = plan.facts(*args)
        except RuntimeError:
            self._specializer.key(args)  # says which argument is wrong
            raise
        runner = plan.runners.get(facts)
        if runner is None:
            runner = self._new_runner(plan, facts, args)
        return runner(*args)

    def _new_plan(self, args: tuple[Any, ...]) -> Plan:
        kinds = tuple(map(type, args))
        if has_nested(args):
            # Their stand-ins have a plan of their own.
            return self._plans.setdefault(kinds, Plan(lambda *args: None))
        # Arguments that cannot be handled are an error here, before any facts.
        self._specializer.key(args)
        with self._lock:
            return self._plans.setdefault(kinds, Plan(self._specializer.facts(kinds)))

    def _new_runner(self, plan: Plan, facts: Hashable, args: tuple[Any, ...]) -> Runner:
        """Return what runs calls with these facts, and remember it."""
        if has_nested(args):
            plan.runners[facts] = nested_runner(self)
            return plan.runners[facts]
        key = self._specializer.key(args)
        bound = self._bound_for(key, args)
        self._refuse_fakes(bound, args)
        if not bound.is_eager():
            # Without the lock: a search may call other kernels, or this one.
            bound.ensure_config_exists(args)
        with self._lock:
            runner = self._runner_of(bound, key, args)
            if len(plan.runners) >= MAX_RUNNERS:
                plan.runners.clear()
            plan.runners[facts] = runner
        return runner

    def _runner_of(
        self, bound: BoundKernel, key: Hashable, args: tuple[Any, ...]
    ) -> Runner:
        """Return a function that runs all calls with the facts of this one."""
        # A reset in another thread may have dropped it.
        variants = self._bound.get(key, [bound])
        is_wrapped = ConstExpr in map(type, args)
        with_gradient = needs_gradient(args)
        is_sole = bound.device.type != "cpu" and bound.is_unconditional
        if is_sole and not is_wrapped:
            return on_device(kernel_device(args), bound.runner(with_gradient))

        def choosing(*args: Any) -> Any:
            plain = tuple(map(unwrap, args)) if is_wrapped else args
            for candidate in variants:
                if candidate.accepts(plain):
                    return candidate.runner(with_gradient)(*plain)
            return self._bound_for(key, args).runner(with_gradient)(*plain)

        return on_device(kernel_device(args), choosing)

    def _refuse_fakes(self, bound: BoundKernel, args: tuple[Any, ...]) -> None:
        """A launch needs memory to work on, which fake and meta tensors lack."""
        plain = (torch.Tensor, torch.nn.Parameter)
        odd = [t for t in tensors_in(args) if type(t) not in plain or t.is_meta]
        if not odd or bound.is_eager():
            return
        from torch._subclasses.fake_tensor import FakeTensor

        if any(t.is_meta or isinstance(t, FakeTensor) for t in odd):
            raise exc.KernelArgumentError(
                reason=f"kernel {self.name} cannot run on fake or meta tensors",
                hint="kernel.bind(args).to_triton_code() compiles for them",
            )

    # ---- binding ----

    def bind(self, args: Sequence[Any]) -> BoundKernel:
        """Return the bound kernel for positional arguments, after stage 1.

        Errors in the kernel's text show here. In eager mode stage 1 waits until
        something needs it.
        """
        if not isinstance(args, (list, tuple)):
            _refuse(f"bind takes a tuple of arguments, not a {type(args).__name__}")
        given = stand_ins(self.normalize_args(*args))
        key = self._specializer.key(given)
        return self._bound_for(key, given, analyze=True)

    def _bound_for(
        self, key: Hashable, args: tuple[Any, ...], analyze: bool = False
    ) -> BoundKernel:
        """Return the variant whose facts hold for ``args``, or make one.

        Only what compiled without an error is kept.
        """
        plain = tuple(map(unwrap, args))
        with self._lock:
            variants = self._bound.get(key, [])
            bound = next((b for b in variants if b.accepts(plain)), None)
            made = BoundKernel(self, kernel_device(plain)) if bound is None else bound
            if analyze or not made.is_eager():
                # What hl.constexpr(...) wraps is compiled in: stage 1 sees the wrapper.
                made.analyze(args, later=self.settings.ref_mode is RefMode.EAGER)
            metrics.count("binds" if bound is None else "bind_hits")
            if bound is None:
                self._bound.setdefault(key, variants).append(made)
            return made

    def normalize_args(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return all arguments by position, defaults filled in."""
        later = self.params[len(args) :]
        known = {**self._defaults, **kwargs}
        # Whatever does not fit exactly is left to Python, which says why.
        if len(args) <= self._arity and kwargs.keys() <= self._nameable.intersection(
            later
        ):
            values = [known[name] for name in later if name in known]
            if len(values) == len(later):
                return (*args, *values)
        try:
            found = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            reason = f"{self.name}{self.signature}: {error}"
            raise exc.KernelArgumentError(reason=reason) from None
        found.apply_defaults()
        return tuple(found.arguments.values())

    def specialization_key(self, args: Sequence[Any]) -> Hashable:
        """Return the key of arguments; equal keys can share a bound kernel."""
        return self._specializer.key(stand_ins(self.normalize_args(*args)))

    def forget_runners(self) -> None:
        """Make the next call of each signature choose its runner again."""
        for plan in list(self._plans.values()):
            plan.runners.clear()

    def reset(self) -> None:
        """Drop all bound kernels; modules on disk stay."""
        with self._lock:
            self._plans.clear()
            self._bound.clear()

    # ---- the rest ----

    def kernel_source(self) -> str:
        """Return the text of the decorated function."""
        return textwrap.dedent(inspect.getsource(self.fn))

    def autotune(
        self, args: Sequence[Any], *, force: bool = True, **options: Any
    ) -> Config:
        """Search for the best config for ``args``, install and return it."""
        return self.bind(args).autotune(args, force=force, **options)

    def autotune_multi(
        self, arg_sets: Sequence[Sequence[Any]], *, force: bool = True, **options: Any
    ) -> Config:
        """Search for one config for several sets of arguments."""
        raise no_search(self.name)


# ---- decoration ----


@overload
def kernel(
    fn: Callable[..., Any],
    *,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    configs: Sequence[ConfigLike] | None = None,
    key: Callable[..., Hashable] | None = None,
    **settings: Any,
) -> Kernel: ...


@overload
def kernel(
    fn: None = None,
    *,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    configs: Sequence[ConfigLike] | None = None,
    key: Callable[..., Hashable] | None = None,
    **settings: Any,
) -> Callable[[Callable[..., Any]], Kernel]: ...


def kernel(
    fn: Callable[..., Any] | None = None,
    *,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    configs: Sequence[ConfigLike] | None = None,
    key: Callable[..., Hashable] | None = None,
    **settings: Any,
) -> Kernel | Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel of a function with ``hl.tile`` loops.

    Args:
        fn: the function; left out in ``@helion.kernel(...)``.
        config: the config to use (or a list: see ``configs``).
        configs: the configs among which to choose.
        key: called with the arguments; another result compiles anew.
        settings: fields of ``helion.Settings``, or ``settings=`` one whole object.

    Example::

        @helion.kernel(config=helion.Config(block_sizes=[64]))
        def scale(x: torch.Tensor, a: float) -> torch.Tensor:
            out = torch.empty_like(x)
            for tile in hl.tile(x.size(0)):
                out[tile] = x[tile] * a
            return out
    """
    if config is not None and configs is not None:
        _refuse("config= and configs= exclude each other", "give only one of them")
    chosen = _config_list(config if configs is None else configs)
    made = _settings(settings)

    def decorate(function: Callable[..., Any]) -> Kernel:
        if not isinstance(function, types.FunctionType):
            kind = type(function).__name__
            _refuse(f"@helion.kernel takes a plain function, not a {kind}")
        return Kernel(function, chosen, key, made)

    return decorate if fn is None else decorate(fn)


jit = kernel


def _refuse(reason: str, hint: str = "") -> NoReturn:
    raise exc.KernelArgumentError(reason=reason, hint=hint)


def _config_list(given: Any) -> list[Config]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [Config.from_dict(given)]
    if isinstance(given, (list, tuple)) and all(isinstance(g, Mapping) for g in given):
        return [Config.from_dict(item) for item in given]
    _refuse(f"a config is a helion.Config or a dict, not {given!r}")


def _settings(given: dict[str, Any]) -> Settings:
    if "settings" in given:
        whole = given.pop("settings")
        if not isinstance(whole, Settings) or given:
            _refuse("settings= takes a helion.Settings, and no other setting beside it")
        return whole
    known = [item.name for item in fields(Settings)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            _refuse(
                f"helion.kernel has no setting called {name!r}",
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
            )
    return Settings(**given)


def _checked_signature(fn: types.FunctionType) -> inspect.Signature:
    signature = inspect.signature(fn)
    for parameter in signature.parameters.values():
        kind = parameter.kind
        if kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            _refuse(
                f"kernel {fn.__name__} has the {kind.description} parameter "
                f"{str(parameter).split(':')[0]}",
                "give every parameter a name of its own, without * or **",
            )
    return signature


_GROUP = "ProcessGroupName"


def _constexpr_places(fn: types.FunctionType) -> list[int]:
    """Return the places of parameters annotated as compile-time values."""
    places = []
    for place, parameter in enumerate(inspect.signature(fn).parameters.values()):
        note = parameter.annotation
        # Under postponed evaluation it is the text that the author wrote.
        text = note.lower() if isinstance(note, str) else ""
        if "constexpr" in text or "ConstExpr" in str(note) or _GROUP in str(note):
            places.append(place)
    return places
