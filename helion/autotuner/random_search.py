"""``RandomSearch``: configs drawn from the whole space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from helion.autotuner.base_search import BaseSearch, register_search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helion.autotuner.tunable_kernel import TunableKernel
    from helion.runtime.config import Config


@register_search("RandomSearch")
class RandomSearch(BaseSearch):
    """Times the default config and random ones, ``count`` in all."""

    efforts: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"count": 100}}

    def __init__(
        self,
        kernel: TunableKernel,
        args: Sequence[Any],
        count: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(kernel, args, **options)
        self.count = count

    def run(self) -> Config:
        return self.fastest(self.space.random_population(self.count)).config
