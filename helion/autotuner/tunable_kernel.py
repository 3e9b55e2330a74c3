"""What a search needs of a bound kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from helion.autotuner.config_spec import ConfigSpec
    from helion.runtime.config import Config
    from helion.runtime.settings import Settings


class TunableKernel(Protocol):
    """A kernel for one kind of arguments; ``helion.runtime.BoundKernel`` is one."""

    device: torch.device

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def settings(self) -> Settings: ...

    @property
    def config_spec(self) -> ConfigSpec: ...

    @property
    def configs(self) -> Sequence[Config]:
        """The configs of the decorator."""
        ...

    def default_config(self) -> Config:
        """Return the config that is used without a search."""
        ...

    def plain_arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Return all arguments by position, as compiled functions take them."""
        ...

    def written_tensors(self, args: Sequence[Any]) -> Sequence[torch.Tensor]:
        """Return the tensors in plain arguments that the kernel changes."""
        ...

    def bench_compile_config(self, config: Mapping[str, Any]) -> Callable[..., Any]:
        """Return what runs ``config``, compiled at most once."""
        ...

    def get_cached_path(self, config: Mapping[str, Any]) -> str | None:
        """Return the file of the text for a compiled config, one for each text."""
        ...

    def run_reference(self, *args: Any) -> Any:
        """Run what is right, whatever the config: the body as plain PyTorch."""
        ...

    def format_kernel_decorator(
        self, config: Mapping[str, Any], settings: Settings | None = None
    ) -> str:
        """Return the decorator that makes a kernel with this config again."""
        ...
