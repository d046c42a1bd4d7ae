"""Worker processes for what is much and may crash: reading and parsing thousands of files that anyone may have written.

A job is a function ``job(shared, item) -> result`` that a child process can import. Items go out in batches and come
back one by one, on threads of the pool. A worker that crashes costs the item at work (tried twice, for the fault may
have been another's) and nothing else, one that hangs on an item is killed; both are results with a reason. Workers end
when there is nothing to do, when the pool is closed, and when this process is gone.

Plain child processes instead of ``concurrent.futures``: its workers begin with our stdin and stdout, which are the
editor's protocol, import the main module again, and when one dies it neither says which item it was nor goes on.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

from coder_lsp.retrieval.worker import Hello, Raised, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

CRASHED = "crashes the parser"
HANGS = "takes too long to parse"

_STARTS = 3
"""Workers that end before they are ready, one after the other, until we do without."""
_START_S = 60.0
_WATCH_S = 0.25
# -I: neither the working folder, which is the user's project, nor the environment decide what is imported.
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.stdin.buffer.readline())
from coder_lsp.retrieval.worker import main
main()
"""


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One item of a batch: its result, or the reason why there is none."""

    batch: Any
    """What was given to ``submit``."""
    item: Item
    result: Result | None
    reason: str = ""


class Pool(Generic[Item, Result]):
    """Up to ``workers`` processes. ``on_done`` is called on the pool's threads; if it blocks, its worker waits."""

    def __init__(
        self,
        job: Callable[[Any, Item], Result],
        on_done: Callable[[Done[Item, Result]], None],
        *,
        workers: int,
        limit_s: float = 20.0,
        idle_s: float = 30.0,
    ) -> None:
        self._job = job
        self._on_done = on_done
        self._most = max(1, workers)
        self._limit_s = limit_s
        self._idle_s = idle_s
        self._news = threading.Condition()
        self._waiting: collections.deque[_Batch] = collections.deque()
        self._threads: set[threading.Thread] = set()
        self._workers: set[_Worker] = set()
        self._idle = 0
        self._failed_starts = 0
        self._closed = False

    def submit(self, batch: Any, shared: Any, items: Sequence[Item]) -> None:
        """Do the items; ``shared`` goes to the worker once a batch."""
        with self._news:
            if self._closed or not items:
                return
            self._waiting.append(_Batch(batch, shared, collections.deque(items)))
            if self._idle < len(self._waiting) and len(self._threads) < self._most:
                self._start_thread(self._serve, "index worker")
                if len(self._threads) == 1:
                    threading.Thread(target=self._watch, name="index watchdog", daemon=True).start()
            # All: the watchdog waits here too.
            self._news.notify_all()

    def forget(self, batch: Any) -> None:
        """Drop what waits of a batch; what is at work still comes."""
        with self._news:
            self._waiting = collections.deque(waiting for waiting in self._waiting if waiting.name is not batch)

    def close(self, timeout_s: float = 0.5) -> None:
        """Kill the workers and drop what waits. Results that are on their way may still come."""
        with self._news:
            self._closed = True
            self._waiting.clear()
            threads = list(self._threads)
            for worker in self._workers:
                worker.kill()
            self._news.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def pids(self) -> list[int]:
        with self._news:
            return [worker.process.pid for worker in self._workers]

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        """One thread a worker: has it, replaces it, speaks with it."""
        worker: _Worker | None = None
        try:
            while batch := self._next_batch():
                while batch.items:
                    if worker is None:
                        worker = self._start_worker()
                    if worker is None:
                        if self._closed:
                            return
                        self._without_worker(batch)
                    elif not self._with_worker(worker, batch):
                        self._end(worker)
                        worker = None
        finally:
            if worker:
                self._end(worker)
            with self._news:
                self._threads.discard(threading.current_thread())

    def _next_batch(self) -> _Batch | None:
        with self._news:
            self._idle += 1
            try:
                self._news.wait_for(lambda: self._waiting or self._closed, self._idle_s)
            finally:
                self._idle -= 1
            if self._closed or not self._waiting:
                # Before the lock is let go, so that `submit` sees that a thread is missing.
                self._threads.discard(threading.current_thread())
                return None
            return self._waiting.popleft()

    def _start_worker(self) -> _Worker | None:
        """A worker that is ready; None if this machine cannot have one or the pool is closed."""
        while self._failed_starts < _STARTS:
            try:
                worker = _Worker(self._job, self._limit_s)
            except (OSError, ValueError):
                self._failed_starts += 1
                continue
            with self._news:
                closed = self._closed
                self._workers.add(worker)
            worker.deadline = time.monotonic() + _START_S
            if not closed and isinstance(worker.hear(), Hello):
                worker.deadline = None
                self._failed_starts = 0
                return worker
            self._end(worker)
            if self._closed:
                return None
            self._failed_starts += 1
        return None

    def _with_worker(self, worker: _Worker, batch: _Batch) -> bool:
        """Have a batch done; False if the worker is no more, with the rest still in the batch."""
        worker.deadline = time.monotonic() + self._limit_s
        worker.say((batch.shared, list(batch.items)))
        while batch.items:
            worker.deadline = time.monotonic() + self._limit_s
            answer = worker.hear()
            worker.deadline = None
            if self._closed:
                return False
            if isinstance(answer, _Ended):
                again = not worker.killed and not batch.tried_twice
                batch.tried_twice = again
                if not again:
                    self._tell(batch, None, HANGS if worker.killed else CRASHED)
                return False
            batch.tried_twice = False
            self._tell(batch, answer)
        return True

    def _without_worker(self, batch: _Batch) -> None:
        """Processes cannot be started: slower, here, and never not at all."""
        while batch.items and not self._closed:
            self._tell(batch, attempt(self._job, batch.shared, batch.items[0]))
        if self._closed:
            batch.items.clear()

    def _tell(self, batch: _Batch, answer: Any, reason: str = "") -> None:
        item = batch.items.popleft()
        if isinstance(answer, Raised):
            answer, reason = None, f"cannot be parsed ({answer.error})"
        self._on_done(Done(batch.name, item, answer, reason))

    def _end(self, worker: _Worker) -> None:
        with self._news:
            self._workers.discard(worker)
        worker.close()

    def _watch(self) -> None:
        """Kill workers that are over their time; ends with the last worker."""
        while True:
            with self._news:
                if self._news.wait_for(lambda: self._closed, _WATCH_S) or not self._threads:
                    return
                now = time.monotonic()
                for worker in self._workers:
                    if worker.deadline is not None and worker.deadline < now:
                        worker.kill()


@dataclass
class _Batch:
    name: Any
    shared: Any
    items: collections.deque[Any]
    tried_twice: bool = False
    """Its first item has ended one worker already."""


@dataclass(frozen=True)
class _Ended:
    """Heard instead of an answer: the worker is no more."""


@dataclass(eq=False)
class _Worker:
    """A child process; ``deadline`` (monotonic) is when to kill it."""

    job: Callable[[Any, Any], Any]
    limit_s: float
    deadline: float | None = None
    killed: bool = False
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Last words of crashed C code; nobody reads them, and they may quote a file.
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        # An empty entry is the working folder.
        path = json.dumps([entry for entry in sys.path if entry]) + "\n"
        with contextlib.suppress(OSError):
            self._stdin.write(path.encode())
        # Later than our own watch, which tells why; for the time when we are gone.
        self.say((self.job, 1.5 * self.limit_s))

    def say(self, message: Any) -> None:
        with contextlib.suppress(OSError):
            pickle.dump(message, self._stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._stdin.flush()

    def hear(self) -> Any:
        try:
            # From our own child, over a pipe that nobody else has.
            return pickle.load(self._stdout)  # noqa: S301
        except Exception:  # noqa: BLE001  # whatever half an answer is when it is read
            return _Ended()

    def kill(self) -> None:
        self.killed = True
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.wait()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
