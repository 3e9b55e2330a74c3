"""Processes that do jobs; one that dies, hangs or retires is replaced by a new one."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

# What a crew expects of a job: a function of a module, its arguments, its time limit.
Job = tuple[Callable[..., Any], tuple[Any, ...], float]


class JobFailed(Exception):
    """A job raised an error, whose class and text this one carries, or did not end."""


class Crew:
    """``count`` processes that work off one queue.

    ``is_spent()`` runs in a process after each job; if it says so, the process ends,
    and the next job gets a new one. ``begin()`` runs at the start of each.
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[], None] | None = None,
        is_spent: Callable[[], bool] | None = None,
    ) -> None:
        self._hooks = (begin, is_spent)
        self._context = multiprocessing.get_context("spawn")
        self._jobs: queue.Queue[tuple[Job, Future[Any]] | None] = queue.Queue()
        self._processes: set[Any] = set()
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, fn: Callable[..., Any], *args: Any, limit_s: float = 120
    ) -> Future[Any]:
        """Queue ``fn(*args)`` and return its result to come, or ``JobFailed``."""
        future: Future[Any] = Future()
        self._jobs.put(((fn, args, limit_s), future))
        return future

    def end(self) -> None:
        """End every process at once; what it does or was to do is dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                entry = self._jobs.get_nowait()
                if entry is not None:
                    entry[1].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        while any(thread.is_alive() for thread in self._threads):
            for process in tuple(self._processes):
                process.kill()
            for thread in self._threads:
                thread.join(0.1)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _work(self) -> None:
        worker: tuple[Any, Connection] | None = None
        while (entry := self._jobs.get()) is not None:
            job, future = entry
            if not future.set_running_or_notify_cancel():
                continue
            worker = worker or self._new_process()
            is_alive, outcome = self._ask(worker[1], job)
            if not is_alive:
                self._stop(*worker)
                worker = None
            if isinstance(outcome, JobFailed):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if worker is not None:
            self._stop(*worker)

    def _new_process(self) -> tuple[Any, Connection]:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, *self._hooks))
        process.daemon = True
        process.start()
        self._processes.add(process)
        theirs.close()
        return process, mine

    def _stop(self, process: Any, pipe: Connection) -> None:
        pipe.close()
        process.join(0.5)
        if process.is_alive():
            process.kill()
            process.join(5)
        self._processes.discard(process)

    @staticmethod
    def _ask(pipe: Connection, job: Job) -> tuple[bool, Any]:
        """Return whether the process lives on, and the outcome of the job."""
        fn, args, limit_s = job
        try:
            pipe.send((fn, args))
            if not pipe.poll(limit_s):
                return False, JobFailed(f"no answer within {limit_s:.0f} s")
            return pipe.recv()
        except (EOFError, OSError):
            return False, JobFailed("the process died")


def _serve(
    pipe: Connection,
    begin: Callable[[], None] | None,
    is_spent: Callable[[], bool] | None,
) -> None:
    if begin is not None:
        begin()
    with contextlib.suppress(EOFError, OSError):
        while True:
            fn, args = pipe.recv()
            try:
                outcome = fn(*args)
            except Exception as error:
                outcome = JobFailed(describe(error))
            ends = is_spent is not None and is_spent()
            pipe.send((not ends, outcome))
            if ends:
                return


def describe(error: BaseException) -> str:
    """Return the class and the beginning of the text of an error."""
    return f"{type(error).__name__}: {error}"[:2000]
