"""``BoundKernel``: a kernel for one specialization key, from first bind to launch."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import torch

from helion import exc
from helion._metrics import metrics
from helion.autotuner.device_facts import device_facts
from helion.autotuner.rank_configs import choose_default
from helion.language.constexpr import ConstExpr, unwrap
from helion.runtime import explain as explanation
from helion.runtime import gradients, tuning
from helion.runtime.config import Config
from helion.runtime.nested_inputs import call_nested, has_nested, nested_runner
from helion.runtime.ref_mode import run_eagerly
from helion.runtime.settings import RefMode, Settings
from helion.runtime.specialization import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from helion._compiler.choose_indexing import IndexingChoice
    from helion._compiler.compile_environment import CompileEnvironment
    from helion._compiler.kernel_facts import KernelFacts
    from helion._compiler.pipeline import HostProgram
    from helion.autotuner.config_spec import ConfigSpec
    from helion.runtime.kernel import Kernel


@dataclasses.dataclass(frozen=True)
class CompiledConfig:
    """One loaded module: its host function, ready to be called, and its file."""

    function: Callable[..., Any]
    path: str


class BoundKernel:
    """A kernel together with all that is compiled for one set of argument facts.

    Stage 1 runs when ``kernel.bind`` makes the object; a call in eager mode does
    without it. ``_run`` is what a call invokes: at first the choice of a config, then
    the host function itself.
    """

    def __init__(self, kernel: Kernel, device: torch.device) -> None:
        self.kernel = kernel
        self.device = device
        self._program: HostProgram | None = None
        self._late_args: tuple[Any, ...] | None = None
        self._guard: Callable[..., tuple[Any, ...]] | None = None
        self._config: Config | None = None
        self._default: tuple[Config, Config] | None = None
        self._eager_config: Config | None = None
        self._compile_cache: dict[Config, CompiledConfig] = {}
        self._lock = threading.RLock()
        self._config_locks: dict[Config, threading.Lock] = {}
        self._runners: dict[bool, Callable[..., Any]] = {}
        self._run: Callable[..., Any] = self._first_run
        if device.type == "cpu" or self.is_eager():
            self._run = self._run_here

    def __repr__(self) -> str:
        return f"<bound kernel {self.kernel.name} on {self.device.type}>"

    # ---- facts ----

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def settings(self) -> Settings:
        return self.kernel.settings

    @property
    def configs(self) -> list[Config]:
        return self.kernel.configs

    @property
    def env(self) -> CompileEnvironment:
        """The compile environment of stage 1."""
        return self.program.env

    @property
    def config_spec(self) -> ConfigSpec:
        """The space of configs; ``config_spec.default_config()`` is always legal."""
        return self.program.env.config_spec

    @property
    def program(self) -> HostProgram:
        """What stage 1 found out, before any config."""
        if self._program is None:
            assert self._late_args is not None, "bind() comes before any use"
            self.analyze(self._late_args)
        assert self._program is not None
        return self._program

    @functools.cached_property
    def facts(self) -> KernelFacts:
        """What the launches do, for the cost model; sizes are those of the example."""
        from helion._compiler.gather_facts import gather_facts

        return gather_facts(self.program.env, self.program.ir, self.name)

    def _judged(self, pick: Config) -> Config:
        """Return the default config, given the compiler's pick."""
        if self._default is None or self._default[0] != pick:
            device = device_facts(self.device)
            found = choose_default(self.facts, device, self.config_spec, pick)
            self._default = pick, found
        return self._default[1]

    @functools.cached_property
    def written_arguments(self) -> frozenset[int]:
        """Places, among all tensors in the arguments, of those the kernel changes."""
        program = self.program
        return program.written_places(tuple(tensors_in(program.arguments)))

    def is_eager(self) -> bool:
        """Whether calls run the Python body; on a CPU the environment has a say."""
        if self.settings.ref_mode is RefMode.EAGER:
            return True
        return self.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"

    def analyze(self, args: tuple[Any, ...], later: bool = False) -> None:
        """Run stage 1 unless it is done; ``later``: only when something needs it."""
        with self._lock:
            if self._program is not None:
                return
            if later:
                self._late_args = args
                return
            from helion._compiler import pipeline

            metrics.count("stage1")
            fn, settings = self.kernel.fn, self.settings
            program = pipeline.compile_function(fn, args, settings)
            if program.guards:
                names = {"torch": torch, "math": math}
                self._guard = eval(program.guards, names)
            if self.device.type == "cuda":
                program.env.config_spec.judge = self._judged
            self._program, self._late_args = program, None

    def accepts(self, args: Sequence[Any]) -> bool:
        """Whether facts found while compiling hold for arguments with our key."""
        if self._guard is None or self._program is None:
            return True
        return self._guard(*args) == self._program.guard_values

    @property
    def is_unconditional(self) -> bool:
        """Whether every call with our key may run here."""
        return self._guard is None

    # ---- calls ----

    def __call__(self, *args: Any) -> Any:
        """Launch on positional arguments that have this object's key."""
        if len(args) != len(self.kernel.params):
            args = self.kernel.normalize_args(*args)
        if ConstExpr in map(type, args):
            args = tuple(map(unwrap, args))
        if has_nested(args):
            return call_nested(self, args)
        return self.runner(gradients.needs_gradient(args))(*args)

    def runner(self, with_gradient: bool) -> Callable[..., Any]:
        """Return what runs calls, and tells autograd of them where that is needed."""
        found = self._runners.get(with_gradient)
        if found is None:
            found = self._runners[with_gradient] = self._new_runner(with_gradient)
        return found

    def _new_runner(self, with_gradient: bool) -> Callable[..., Any]:
        run = self._run
        if self.is_eager():
            return run  # plain PyTorch, which autograd sees by itself
        if self.written_arguments:
            run = gradients.with_versions(self, run)
        return gradients.with_gradient(self, run) if with_gradient else run

    def _first_run(self, *args: Any) -> Any:
        self.analyze(args)
        self.ensure_config_exists(args)
        return self._run(*args)

    def _run_here(self, *args: Any) -> Any:
        """Run on a CPU: the body, or the emitted text in Triton's interpreter."""
        if self.is_eager():
            return self.run_ref(*args)
        self.analyze(args)
        self.ensure_config_exists(args)
        return self.compile_config()(*args)

    def run_ref(self, *args: Any) -> Any:
        """Run the body eagerly, with the block sizes of an explicit config."""
        args = tuple(map(unwrap, args))
        config = self._config_for_eager()
        return run_eagerly(self.kernel.fn, args, self.device, config)

    def run_reference(self, *args: Any) -> Any:
        """Run the body eagerly, with large tiles whatever the config."""
        if has_nested(args):
            return call_nested(self.run_reference, args)
        return run_eagerly(self.kernel.fn, args, self.device, None)

    def plain_arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Return all arguments by position, without marks, as functions take them."""
        return tuple(map(unwrap, self.kernel.normalize_args(*args)))

    def written_tensors(self, args: Sequence[Any]) -> list[torch.Tensor]:
        """Return the tensors among plain arguments that the kernel changes."""
        places = self.written_arguments
        return [t for i, t in enumerate(tensors_in(args)) if i in places]

    def _config_for_eager(self) -> Config | None:
        if self._config is not None:
            return self._config
        if not self.configs:
            return None
        if self._program is None:
            return self._first_of_configs()
        if self._eager_config is None:
            self._eager_config = self.config_spec.normalize(self._first_of_configs())
        return self._eager_config

    # ---- choice of a config ----

    def set_config(self, config: Config | Mapping[str, Any]) -> None:
        """Use ``config`` in all following calls."""
        normalized = self.normalized(config)
        if self.device.type != "cpu" and not self.is_eager():
            self._run = self._compile(normalized, allow_print=True).function
            self._runners.clear()
        is_change = self._config is not None
        self._config = normalized
        if is_change:
            self.kernel.forget_runners()

    def ensure_config_exists(self, args: Sequence[Any]) -> None:
        """Install a config unless there is one: the decorator's, else the default.

        Before that comes a search where settings ask for it, or there are several.
        """
        if self._config is None:
            tuning.ensure_tuned(self, args)
        if self._config is None:
            self.set_config(self._implicit_config())

    @property
    def installed_config(self) -> Config | None:
        """The config of calls; None: the first call chooses."""
        return self._config

    def _implicit_config(self) -> Config:
        if self._config is not None:
            return self._config
        return self._first_of_configs() if self.configs else self.default_config()

    def default_config(self) -> Config:
        """Return the config for a kernel without one, chosen without a search."""
        return self.program.default_config()

    def _first_of_configs(self) -> Config:
        if len(self.configs) > 1 and not self.kernel.has_warned:
            self.kernel.has_warned = True
            text = (
                f"kernel {self.kernel.name} has {len(self.configs)} configs, and none "
                "was timed yet: the first one is used"
            )
            exc.warn(exc.BaseWarning(text), self.settings.ignore_warnings)
        return self.configs[0]

    def autotune(
        self, args: Sequence[Any], *, force: bool = True, **options: Any
    ) -> Config:
        """Search for the best config, install and return it.

        Several configs of the decorator are the only candidates. ``force=False`` is
        content with its one config, or an installed one. Kernels that run eagerly are
        not timed: what is returned is their config on a GPU.

        Args:
            args: what to run the kernel on.
            force: search again.
            options: ``search=``, a name or class, then over the whole space; arguments
                of its constructor; ``autotune_...`` settings for this search alone.

        Raises:
            exc.NoConfigFound: no config worked.
            exc.AutotuneError: the kernel cannot be tuned on these arguments.
        """
        return tuning.tune(self, args, force, options)

    # ---- compiling ----

    def compile_config(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        allow_print: bool = True,
    ) -> Callable[..., Any]:
        """Return the host function for ``config``, compiled at most once.

        None means the installed config, else the decorator's, else the default one.
        """
        return self._compile(self.normalized(config), allow_print).function

    def bench_compile_config(
        self, config: Config | Mapping[str, Any] | None = None
    ) -> Callable[..., Any]:
        """Return what a search runs for ``config``: silent, nested tensors allowed."""
        function = self._compile(self.normalized(config), False).function
        return nested_runner(function) if self.env.jagged else function

    def to_triton_code(self, config: Config | Mapping[str, Any] | None = None) -> str:
        """Return the text of the module for ``config``; no GPU is needed."""
        return self._emit(self.normalized(config))

    to_code = to_triton_code

    def indexing_report(
        self, config: Config | Mapping[str, Any] | None = None
    ) -> list[IndexingChoice]:
        """Return how ``config`` addresses each load, store and atomic, and why.

        A mode that cannot be had where it was asked for is replaced by pointers; the
        entry of that operation has the reason.
        """
        return self.program.indexing_choices(self.normalized(config))

    def explain(
        self, config: Config | Mapping[str, Any] | None = None
    ) -> explanation.Explanation:
        """Return what the cost model expects of ``config``: print it, or its JSON.

        Bytes, operations, floor, time, registers, shared memory, programs and what
        limits them, by launch, and how each operation is addressed. Nothing is run.
        """
        return explanation.explain(self, config)

    def get_cached_path(
        self, config: Config | Mapping[str, Any] | None = None
    ) -> str | None:
        """Return the file of the module for ``config``; None: it is not compiled."""
        found = self._compile_cache.get(self.normalized(config))
        return None if found is None else found.path

    def normalized(self, config: Config | Mapping[str, Any] | None) -> Config:
        """Return the complete form of a config; None: of the one that is used."""
        chosen = self._implicit_config() if config is None else config
        return self.config_spec.normalize(chosen)

    def _emit(self, config: Config) -> str:
        metrics.count("stage2")
        return self.program.generate(config)

    def _compile(self, config: Config, allow_print: bool) -> CompiledConfig:
        found = self._compile_cache.get(config)
        if found is not None:
            return found
        with self._lock:
            lock = self._config_locks.setdefault(config, threading.Lock())
        # Different configs compile at the same time, one config only once.
        with lock:
            if config not in self._compile_cache:
                text = self._emit(config)
                self._compile_cache[config] = self._load(text, allow_print)
        return self._compile_cache[config]

    def _load(self, text: str, allow_print: bool) -> CompiledConfig:
        from torch._inductor.codecache import PyCodeCache

        key, path = PyCodeCache.write(text)
        if allow_print and self.settings.print_output_code:
            print(f"# Output code written to: {path}\n{text}", file=sys.stderr)
        module = PyCodeCache.load_by_key_path(key, path)
        function = getattr(module, self.kernel.name)
        if function.__defaults__ is None:
            # Defaults that are no literals are not in the text.
            function.__defaults__ = self.kernel.fn.__defaults__
        if self.program.closure:
            function = functools.partial(function, _closure=self.program.closure)
        return CompiledConfig(function, path)

    def format_kernel_decorator(
        self, config: Config | Mapping[str, Any], settings: Settings | None = None
    ) -> str:
        """Return the decorator that makes a kernel with this config again."""
        words = [f"config={Config.from_dict(config)!r}"]
        words += _changed_settings(settings or self.settings)
        return f"@helion.kernel({', '.join(words)})"


def _changed_settings(settings: Settings) -> list[str]:
    """Return ``name=value`` of what changes the code and is not as declared."""
    words = [f"static_shapes={settings.static_shapes}"]
    for item in dataclasses.fields(settings):
        default = item.metadata["default"]
        is_other = item.name.startswith(("autotune", "print_", "ignore_", "force_"))
        if is_other or callable(default) or item.name in ("static_shapes", "ref_mode"):
            continue
        if (value := getattr(settings, item.name)) != default:
            words.append(f"{item.name}={value!r}")
    return words
