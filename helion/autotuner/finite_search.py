"""``FiniteSearch``: every config of a list is timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from helion import exc
from helion.autotuner.base_search import BaseSearch, register_search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helion.autotuner.tunable_kernel import TunableKernel
    from helion.runtime.config import Config


@register_search("FiniteSearch")
class FiniteSearch(BaseSearch):
    """Times the given configs, or those of the decorator, and no other."""

    has_seeds: ClassVar[bool] = False

    def __init__(
        self,
        kernel: TunableKernel,
        args: Sequence[Any],
        configs: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Take at least two configs, else it is ``exc.NotEnoughConfigs``."""
        super().__init__(kernel, args, **options)
        self.configs = list(kernel.configs if configs is None else configs)
        if len(self.configs) < 2:
            raise exc.NotEnoughConfigs(count=len(self.configs))

    def run(self) -> Config:
        return min(self.measure_batch(self.configs, "timing configs")).config
