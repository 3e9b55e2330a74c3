"""What a search says: lines on stderr, a progress bar, and files if asked for."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from helion.autotuner.measurement import Measurement
    from helion.runtime.config import Config
    from helion.runtime.settings import Settings

ItemT = TypeVar("ItemT")

_COLUMNS = (
    "run_id",
    "timestamp_s",
    "config_id",
    "generation",
    "status",
    "perf_ms",
    "compile_time_s",
    "config",
)


def config_id(config: Config) -> str:
    """Return a short name of a config, the same in every process."""
    text = json.dumps(config.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class SearchLog:
    """Messages with the seconds since the start; silent at level 0.

    Of several processes that work together only the first one speaks.
    """

    def __init__(self, settings: Settings, run_id: str) -> None:
        self.level = settings.autotune_log_level
        self.has_bar = settings.autotune_progress_bar
        self.base = settings.autotune_log
        self.run_id = run_id
        self.start = time.perf_counter()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.level = self.level if torch.distributed.get_rank() == 0 else 0

    def debug(self, text: str) -> None:
        self._say(logging.DEBUG, text)

    def info(self, text: str) -> None:
        self._say(logging.INFO, text)

    def warning(self, text: str) -> None:
        self._say(logging.WARNING, text)

    def _say(self, level: int, text: str) -> None:
        if not self.level or level < self.level:
            return
        line = f"[{time.perf_counter() - self.start:.0f}s] {text}"
        print(line, file=sys.stderr, flush=True)
        if self.base is not None:
            with _opened(f"{self.base}.log") as file:
                file.write(f"{line}\n")

    def started(self, config: Config, generation: int) -> None:
        """Note in the file that a trial begins: the last one if the process dies."""
        self._row(config, generation, "started", "", "")

    def finished(self, found: Measurement, generation: int) -> None:
        """Note in the file how a trial ended."""
        status, ms = found.status.name.lower(), f"{found.perf_ms:.6f}"
        self._row(found.config, generation, status, ms, f"{found.compile_s:.3f}")
        self.debug(f"{found}: {found.config}")

    def _row(
        self, config: Config, generation: int, status: str, ms: str, compile_s: str
    ) -> None:
        if self.base is None:
            return
        path = Path(f"{self.base}.csv")
        is_new = not path.exists()
        with _opened(path) as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(_COLUMNS)
            now, text = f"{time.time():.3f}", json.dumps(config.to_dict())
            name = config_id(config)
            writer.writerow(
                (self.run_id, now, name, generation, status, ms, compile_s, text)
            )

    def progress(self, items: Sequence[ItemT], desc: str) -> Iterable[ItemT]:
        """Return ``items``, shown as a bar where there is a terminal for it."""
        is_wanted = len(items) > 1 and self.has_bar and self.level
        if not (is_wanted and sys.stderr.isatty() and find_spec("rich")):
            return items
        from rich.console import Console
        from rich.progress import track

        return track(items, desc, console=Console(stderr=True), transient=True)


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[IO[str]]:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        yield file
