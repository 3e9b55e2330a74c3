"""Eager runs of a kernel: its body as plain PyTorch, tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helion.language._eager import eager_block_sizes, eager_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from helion.runtime.config import Config


def run_eagerly(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    device: torch.device,
    config: Config | None,
) -> Any:
    """Call ``fn`` on real tensors of ``device``.

    The block sizes and tunables of ``config`` are used; None means large tiles. Errors
    of the body are raised as they are.
    """
    given = {} if config is None else config.to_dict()
    # The second is the old name for one size.
    sizes = list(_flat(given.get("block_sizes", given.get("block_size", []))))
    with eager_device(device), eager_block_sizes(sizes, given):
        return fn(*args)


def _flat(sizes: Any) -> Iterator[int]:
    """Yield the numbers of a scalar, a list, or one list per loop."""
    if not isinstance(sizes, list):
        yield sizes
        return
    for item in sizes:
        yield from _flat(item)
