"""``Settings``: what is decided for a kernel but never tuned."""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helion import exc

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_DOT_ALIASES = {"default": "tf32", "high": "tf32x3", "highest": "ieee"}


class RefMode(enum.Enum):
    """Whether kernels are compiled (OFF) or run as plain PyTorch (EAGER)."""

    OFF = "off"
    EAGER = "eager"


def _bool(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"must be one of {', '.join(_TRUE + _FALSE)}")


def _positive(value: Any) -> int:
    number = _natural(value)
    if number == 0:
        raise ValueError("must be at least 1")
    return number


def _file_names(value: Any) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    return [str(name).strip() for name in names if str(name).strip()]


def _natural(value: Any) -> int:
    number = int(value)
    if number < 0 or isinstance(value, float):
        raise ValueError("must be an integer that is not negative")
    return number


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value in choices:
            return value
        raise ValueError(f"must be one of {', '.join(choices)}")

    return parse


def _dot_precision(value: Any) -> str:
    parse = _one_of("tf32", "tf32x3", "ieee", *_DOT_ALIASES)
    name = parse(value)
    return _DOT_ALIASES.get(name, name)


def _default_dot_precision() -> str:
    import torch

    if torch.version.hip is None or not torch.cuda.is_available():
        return "tf32"
    # Of AMD's devices only this one multiplies in tf32.
    arch = torch.cuda.get_device_properties(0).gcnArchName
    return "tf32" if arch.startswith("gfx942") else "ieee"


def _index_dtype(value: Any) -> torch.dtype | None:
    import torch

    if isinstance(value, str):
        value = None if value == "auto" else getattr(torch, value, value)
    if value is None or value in (torch.int32, torch.int64):
        return value
    raise ValueError("must be auto, int32 or int64")


def _auto_specialize(value: Any) -> str:
    if value in (None, False, True):
        return "apply" if value else "off"
    return _one_of("off", "suggest", "apply")(value)


def _ref_mode(value: Any) -> RefMode:
    if isinstance(value, RefMode):
        return value
    if value in (RefMode.OFF.value, RefMode.EAGER.value):
        return RefMode(value)
    return RefMode.EAGER if _bool(value) else RefMode.OFF


def _warning_classes(value: Any) -> list[type[exc.BaseWarning]]:
    names = value.split(",") if isinstance(value, str) else value
    return [_warning_class(name) for name in names]


def _warning_class(name: Any) -> type[exc.BaseWarning]:
    found = getattr(exc, name.strip(), None) if isinstance(name, str) else name
    if isinstance(found, type) and issubclass(found, exc.BaseWarning):
        return found
    raise ValueError(f"{name!r} is no warning of helion.exc")


def _log_level(value: Any) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        level = logging.getLevelName(value.strip().upper())
        if not isinstance(level, int):
            raise ValueError("must be a number or the name of a log level")
        return level
    return _natural(value)


def _fraction(value: Any) -> float:
    number = float(value)
    if not number >= 0:
        raise ValueError("must be a number that is not negative")
    return number


def _search(value: Any) -> Any:
    if callable(value) or (isinstance(value, str) and value):
        return value
    raise ValueError("must be the name of a search, or a callable that makes one")


def _callable(value: Any) -> Any:
    if callable(value):
        return value
    raise ValueError("must be callable")


def _knob_values(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        is_text = value.lstrip().startswith("{")
        value = json.loads(value if is_text else Path(value).read_text())
    return dict(value)


def _configs(value: Any) -> list[Any]:
    given = [value] if hasattr(value, "keys") else list(value)
    if not all(hasattr(item, "keys") for item in given):
        raise ValueError("must be configs: helion.Config or dicts")
    return given


def _setting(env: str, parse: Callable[[Any], Any], default: Any, doc: str) -> Any:
    """Declare a field: its variable ("": none), reader, default and meaning."""

    def initial() -> Any:
        text = os.environ.get(env, "") if env else ""
        if text.strip():
            return _parsed(env, parse, text)
        return default() if callable(default) else default

    metadata = {"env": env, "parse": parse, "default": default, "doc": doc}
    return dataclasses.field(default_factory=initial, metadata=metadata)


def _parsed(name: str, parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}={value!r}: {error}") from None


@dataclasses.dataclass(kw_only=True)
class Settings:
    """The settings of a kernel; a field not given is read from its variable.

    Unknown names are a TypeError, illegal values a ValueError. Fields declare, in this
    order: environment variable, parser, default, meaning.
    """

    backend: str = _setting(
        "HELION_BACKEND", _one_of("triton"), "triton", "the code generator"
    )
    static_shapes: bool = _setting(
        "HELION_STATIC_SHAPES",
        _bool,
        True,
        "compile for each exact set of shapes; else sizes are arguments of the kernel",
    )
    index_dtype: torch.dtype | None = _setting(
        "HELION_INDEX_DTYPE",
        _index_dtype,
        None,
        "dtype of index arithmetic; None: int32, or int64 for large tensors",
    )
    fp8_fast_accumulation: bool = _setting(
        "HELION_FP8_FAST_ACCUMULATION",
        _bool,
        False,
        "sums of products of 8-bit floats stay in the tensor core, which keeps 14 bits"
        " of them on Hopper; else they are added to float32 after 128 products",
    )
    dot_precision: str = _setting(
        "TRITON_F32_DEFAULT",
        _dot_precision,
        _default_dot_precision,
        "how float32 dots multiply: tf32, tf32x3 or ieee",
    )
    fast_math: bool = _setting(
        "HELION_FAST_MATH", _bool, False, "allow approximate mathematics"
    )
    specialize_provenance: bool = _setting(
        "HELION_SPECIALIZE_PROVENANCE",
        _bool,
        True,
        "let sizes from hl.specialize remember which size they are while compiling",
    )
    auto_specialize: str | bool | None = _setting(
        "HELION_AUTO_SPECIALIZE",
        _auto_specialize,
        "off",
        "dynamic sizes that device code uses whole: off, suggest (to log them), apply",
    )
    ref_mode: RefMode = _setting(
        "HELION_INTERPRET",
        _ref_mode,
        RefMode.OFF,
        "EAGER runs the kernel's body as plain PyTorch",
    )
    ignore_warnings: list[type[exc.BaseWarning]] = _setting(
        "HELION_IGNORE_WARNINGS", _warning_classes, list, "warnings not to print"
    )
    print_output_code: bool = _setting(
        "HELION_PRINT_OUTPUT_CODE", _bool, False, "print generated code to stderr"
    )
    print_repro: bool = _setting(
        "HELION_PRINT_REPRO", _bool, False, "print a script that repeats the call"
    )
    output_origin_lines: bool = _setting(
        "HELION_OUTPUT_ORIGIN_LINES",
        _bool,
        True,
        "comments in the generated code that name the user's lines",
    )
    debug: bool = _setting(
        "HELION_DEBUG",
        _bool,
        False,
        "turn internal problems into errors, count, and check device `assert`s",
    )
    debug_dtype_asserts: bool = _setting(
        "HELION_DEBUG_DTYPE_ASSERTS",
        _bool,
        False,
        "compare dtypes in the generated code with the traced ones",
    )
    allow_warp_specialize: bool = _setting(
        "HELION_ALLOW_WARP_SPECIALIZE",
        _bool,
        True,
        "search range_warp_specializes where the device can do it",
    )
    autotune_force_persistent: bool = _setting(
        "HELION_AUTOTUNE_FORCE_PERSISTENT",
        _bool,
        False,
        "search and default to persistent program ids only",
    )
    autotune_search_acf: list[str] = _setting(
        "HELION_AUTOTUNE_SEARCH_ACF",
        _file_names,
        list,
        "files of controls for NVIDIA's assembler to search, divided by commas",
    )
    persistent_reserved_sms: int = _setting(
        "HELION_PERSISTENT_RESERVED_SMS",
        _natural,
        0,
        "multiprocessors that persistent kernels leave free",
    )
    triton_do_not_specialize: bool = _setting(
        "HELION_TRITON_DO_NOT_SPECIALIZE",
        _bool,
        False,
        "with dynamic shapes: one Triton binary for all sizes and strides",
    )
    max_triton_tensor_numel: int = _setting(
        "HELION_MAX_TRITON_TENSOR_NUMEL",
        _positive,
        1_048_576,
        "elements that one tile may have",
    )
    max_reduction_chunk: int | None = _setting(
        "HELION_MAX_REDUCTION_CHUNK",
        _positive,
        None,
        "largest chunk of a looped reduction that defaults and searches use",
    )
    autotune_effort: str = _setting(
        "HELION_AUTOTUNE_EFFORT",
        _one_of("none", "quick", "full"),
        "none",
        "how long the first call searches; none: it uses the default config",
    )
    autotuner_fn: Callable[..., Any] | str | None = _setting(
        "HELION_AUTOTUNER",
        _search,
        None,
        "a search by name, or what makes one of a bound kernel and arguments",
    )
    force_autotune: bool = _setting(
        "HELION_FORCE_AUTOTUNE",
        _bool,
        False,
        "the first call searches, also where the decorator gives configs",
    )
    autotune_budget_seconds: int | None = _setting(
        "HELION_AUTOTUNE_BUDGET_SECONDS",
        _natural,
        None,
        "after so long a search tries nothing new",
    )
    autotune_max_generations: int | None = _setting(
        "HELION_AUTOTUNE_MAX_GENERATIONS",
        _natural,
        None,
        "generations of a search that has them",
    )
    autotune_compile_timeout: int = _setting(
        "HELION_AUTOTUNE_COMPILE_TIMEOUT",
        _natural,
        60,
        "a config that takes more seconds from text to first result is given up",
    )
    autotune_benchmark_timeout: int = _setting(
        "HELION_AUTOTUNE_BENCHMARK_TIMEOUT",
        _natural,
        30,
        "a config whose single run takes more seconds is given up",
    )
    autotune_accuracy_check: bool = _setting(
        "HELION_AUTOTUNE_ACCURACY_CHECK",
        _bool,
        True,
        "compare the results of each config with those of the body run eagerly",
    )
    autotune_baseline_fn: Callable[..., Any] | None = _setting(
        "", _callable, None, "what gives the right results in place of the body"
    )
    autotune_baseline_atol: float | None = _setting(
        "", _fraction, None, "absolute tolerance; None: by dtype and size of the values"
    )
    autotune_baseline_rtol: float | None = _setting(
        "", _fraction, None, "relative tolerance; None: by dtype"
    )
    autotune_baseline_accuracy_check_fn: Callable[..., None] | None = _setting(
        "",
        _callable,
        None,
        "called with a result and the right one; raises AssertionError if they differ",
    )
    autotune_benchmark_fn: Callable[..., list[float]] | None = _setting(
        "",
        _callable,
        None,
        "timer: called with callables, repeat= and desc=, returns milliseconds",
    )
    autotune_rebenchmark_threshold: float | None = _setting(
        "HELION_REBENCHMARK_THRESHOLD",
        _fraction,
        None,
        "configs up to so many times the least time are timed again at the end",
    )
    autotune_ignore_errors: bool = _setting(
        "HELION_AUTOTUNE_IGNORE_ERRORS",
        _bool,
        False,
        "do not print errors of configs that are none of the expected kinds",
    )
    autotune_config_overrides: dict[str, Any] = _setting(
        "HELION_AUTOTUNE_CONFIG_OVERRIDES",
        _knob_values,
        dict,
        "knobs that have these values in every config of a search (JSON or a file)",
    )
    autotune_config_filter: Callable[..., Any] | None = _setting(
        "",
        _callable,
        None,
        "called with each config; returns the one to try instead, or None",
    )
    autotune_seed_configs: list[Any] | None = _setting(
        "", _configs, None, "configs that a search tries beside the default one"
    )
    autotune_progress_bar: bool = _setting(
        "HELION_AUTOTUNE_PROGRESS_BAR",
        _bool,
        True,
        "show how far a search is, on a terminal that has the package rich",
    )
    autotune_log_level: int = _setting(
        "HELION_AUTOTUNE_LOG_LEVEL", _log_level, logging.INFO, "0 silences a search"
    )
    autotune_log: str | None = _setting(
        "HELION_AUTOTUNE_LOG",
        os.fspath,
        None,
        "base of two paths: .csv for each config tried, .log for the messages",
    )
    autotune_random_seed: int = _setting(
        "HELION_AUTOTUNE_RANDOM_SEED",
        _natural,
        lambda: int(time.time() * 1000) % 2**32,
        "decides which configs a search tries",
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, parse = getattr(self, item.name), item.metadata["parse"]
            if value is not None or item.metadata["default"] is not None:
                setattr(self, item.name, _parsed(item.name, parse, value))
        self._check_modes()

    def _check_modes(self) -> None:
        variables = ("HELION_INTERPRET", "TRITON_INTERPRET")
        if all(os.environ.get(v, "").strip().lower() in _TRUE for v in variables):
            raise exc.IncompatibleInterpretModes
        if self.ref_mode is RefMode.EAGER and self.print_output_code:
            raise exc.RefEagerModeCodePrintError

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; lists are copies."""
        names = [item.name for item in dataclasses.fields(self)]
        values = {name: getattr(self, name) for name in names}
        return {k: list(v) if isinstance(v, list) else v for k, v in values.items()}

    def copy(self) -> Settings:
        """Return settings that can be changed independently."""
        return Settings(**self.to_dict())

    def check_autotuning_disabled(self) -> None:
        """Raise if the environment forbids searching; it is read at this moment."""
        name = "HELION_DISALLOW_AUTOTUNING"
        if os.environ.get(name, "").strip().lower() in _TRUE:
            reason = f"{name} is set"
            raise exc.AutotuningDisallowedInEnvironment(reason=reason)
