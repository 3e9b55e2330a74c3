"""Process-wide counts of what compiles did, read by ``helion.metrics()``."""

from __future__ import annotations

import collections
import threading
from typing import Any

# Always in the answer, also before the first compile.
_PLAIN = (
    "binds",
    "bind_hits",
    "stage1",
    "stage2",
    "guards",
    "symbols",
    "iota_rewrites",
)
_REUSED, _MINTED = "symbols_reused", "symbols_minted"


class Metrics:
    """Counts since the start of the process or the last reset, of all threads.

    Calling it returns a dict with these keys:

    - ``binds``: bound kernels made; ``bind_hits``: times that one was found again.
      Calls whose arguments were seen before do not come that far.
    - ``stage1``: compiles of a kernel for argument facts; ``stage2``: modules emitted
      for a Config.
    - ``guards``: what compiles assumed of the sizes of arguments, checked per call.
    - ``symbols``: symbols that compiles made for sizes, scalars and tiles.
    - ``symbol_reuse``: a dict. Of the dims whose length is a specialized one,
      ``reused`` carry its symbol and ``minted`` got one of their own; ``rate`` is the
      share of the former, 1.0 where there are none.
    - ``iota_rewrites``: index vectors that became the index of a loop over chunks.
    - whatever else was counted.

    Example::

        helion.metrics.reset()
        kernel.bind(args)
        assert helion.metrics()["symbol_reuse"]["rate"] > 0.9
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def __call__(self, *, reset: bool = False) -> dict[str, Any]:
        """Return all counts; ``reset`` sets them to zero behind the answer."""
        with self._lock:
            counts = dict(self.counts)
            if reset:
                self.counts.clear()
        reused, minted = counts.pop(_REUSED, 0), counts.pop(_MINTED, 0)
        rate = reused / (reused + minted) if reused or minted else 1.0
        reuse = {"reused": reused, "minted": minted, "rate": rate}
        return {**dict.fromkeys(_PLAIN, 0), **counts, "symbol_reuse": reuse}

    def count(self, name: str, n: int = 1) -> None:
        """Add ``n`` to a count, which starts at zero."""
        with self._lock:
            self.counts[name] += n

    def count_reuse(self, reused: int, minted: int) -> None:
        """Add to ``symbol_reuse``."""
        self.count(_REUSED, reused)
        self.count(_MINTED, minted)

    def reset(self) -> None:
        """Set all counts to zero."""
        self(reset=True)


metrics = Metrics()
