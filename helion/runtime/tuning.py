"""When a bound kernel searches for a config, by which search, and what it keeps."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from helion import exc
from helion.runtime.specialization import tensors_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helion.runtime.bound_kernel import BoundKernel
    from helion.runtime.config import Config

# Two searches at a time would disturb each other's timings.
_one_search = threading.RLock()

_NO_SEARCH_HINT = (
    "choose a config yourself with @helion.kernel(config=helion.Config(...)); "
    "without one the default config is used"
)


def tune(
    bound: BoundKernel, args: Sequence[Any], force: bool, options: dict[str, Any]
) -> Config:
    """Find the best config for ``args``, install and return it.

    Several configs of the decorator are the candidates, unless the setting
    ``force_autotune`` or ``search=`` ask for all. ``force=False`` is content with the
    one config of the decorator, or an installed one.
    """
    settings = bound.settings
    force = force or settings.force_autotune
    if bound.is_eager():
        return _eager_choice(bound)
    if not force and (known := _known_config(bound)) is not None:
        bound.set_config(known)
        return known
    is_open = settings.force_autotune or "search" in options or len(bound.configs) < 2
    if is_open:
        settings.check_autotuning_disabled()
    if "timer" not in options:
        _refuse_fakes(bound, args)
    with _one_search:
        found = _search(bound, args, options, is_open)
        bound.set_config(found)
    return found


def ensure_tuned(bound: BoundKernel, args: Sequence[Any]) -> None:
    """Install a config by a search if the first call asks for one; else do nothing."""
    settings = bound.settings
    is_asked = settings.force_autotune or len(bound.configs) > 1
    is_asked = is_asked or (settings.autotune_effort != "none" and not bound.configs)
    if not is_asked or bound.is_eager():
        return
    with _one_search:
        # Another thread may have searched meanwhile.
        if bound.installed_config is None:
            tune(bound, args, settings.force_autotune, {})


def _search(
    bound: BoundKernel, args: Sequence[Any], options: dict[str, Any], is_open: bool
) -> Config:
    from helion.autotuner.searches import make_search

    if not is_open:
        options = {"search": "FiniteSearch", **options}
    return make_search(bound, args, **options).autotune(skip_cache=True)


def _known_config(bound: BoundKernel) -> Config | None:
    if bound.installed_config is not None:
        return bound.installed_config
    return bound.normalized(bound.configs[0]) if len(bound.configs) == 1 else None


def _eager_choice(bound: BoundKernel) -> Config:
    """Return the config that calls would have; installing it would slow them down."""
    config = bound.normalized(None)
    if bound.settings.autotune_log_level:
        print(
            f"[helion] kernel {bound.name} runs eagerly on {bound.device.type}: there "
            f"is nothing to tune; {config} is what it would use on a GPU",
            file=sys.stderr,
        )
    return config


def _refuse_fakes(bound: BoundKernel, args: Sequence[Any]) -> None:
    from torch._subclasses.fake_tensor import FakeTensor

    if any(isinstance(t, FakeTensor) or t.is_meta for t in tensors_in(args)):
        reason = f"kernel {bound.name} cannot be tuned on fake or meta tensors"
        raise exc.AutotuneError(reason=reason, hint=_NO_SEARCH_HINT)


def no_search(name: str) -> exc.AutotuneError:
    """Make the error for a wish to tune a kernel for several sets of arguments."""
    reason = f"kernel {name} cannot be tuned for several sets of arguments yet"
    return exc.AutotuneError(reason=reason, hint=_NO_SEARCH_HINT)
