"""Every search by name, and the one for a kernel that names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helion import exc
from helion.autotuner import (  # noqa: F401 (they register themselves)
    differential_evolution,
    finite_search,
    random_search,
)
from helion.autotuner.base_search import SEARCHES, BaseSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helion.autotuner.tunable_kernel import TunableKernel

DEFAULT_SEARCH = "DifferentialEvolutionSearch"


def search_named(name: str) -> type[BaseSearch]:
    """Return a search by the name under which it is registered."""
    if name not in SEARCHES:
        raise exc.AutotuneError(
            reason=f"no search is called {name!r}",
            hint=f"there are {', '.join(sorted(SEARCHES))}; "
            "@helion.autotuner.register_search(name) adds one",
        )
    return SEARCHES[name]


def make_search(
    kernel: TunableKernel,
    args: Sequence[Any],
    search: str | Callable[..., Any] | None = None,
    **options: Any,
) -> Any:
    """Return an object whose ``autotune()`` searches.

    ``search`` is a name, a subclass of BaseSearch or any callable with the same
    arguments; None means the setting ``autotuner_fn``, else the default search. What
    ``autotune_effort`` asks for stands back behind ``options``.
    """
    chosen = search or kernel.settings.autotuner_fn or DEFAULT_SEARCH
    if isinstance(chosen, str):
        chosen = search_named(chosen)
    efforts = getattr(chosen, "efforts", {})
    usual = efforts.get(kernel.settings.autotune_effort, {})
    return chosen(kernel, args, **{**usual, **options})
