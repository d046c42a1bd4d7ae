"""The other end of the pool: a process that does one job after another, at low priority, until its stdin ends.

Started by ``pool`` with pipes of its own as stdin and stdout, so that it can neither read nor write the front's, which
belong to the protocol; what the job or a library prints goes nowhere. It ends when the front is gone, however that
happened: by the end of stdin, by the broken pipe after the file at work, and from a file that never ends by an alarm.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NICE = 10
"""Below the user's own programs and the model; 19 would leave nothing on a busy machine."""


@dataclass(frozen=True)
class Hello:
    """The first thing a worker says: it has imported its job."""


@dataclass(frozen=True)
class Raised:
    """The job raised; only the type is told, for a message can hold text out of a file."""

    error: str


def main() -> None:
    """Read (job, seconds an item may take), then batches of (shared, items); answer each item with one result."""
    requests, answers = _take_pipes()
    # Ctrl-C in a terminal reaches the whole group; the front decides what it means, and its end is ours.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(NICE)
    try:
        # From the front, which made these pipes for nobody else.
        job, limit_s = pickle.load(requests)  # noqa: S301
        _say(answers, Hello())
        while True:
            shared, items = pickle.load(requests)  # noqa: S301
            for item in items:
                _alarm(limit_s)
                answer = attempt(job, shared, item)
                _alarm(0)
                _say(answers, answer)
    except (EOFError, BrokenPipeError):
        # Not through the interpreter's end, which flushes into the broken pipe.
        os._exit(0)


def attempt(job: Callable[[Any, Any], Any], shared: Any, item: Any) -> Any:
    """The result of one item, or :class:`Raised`: one file must not cost the others."""
    try:
        return job(shared, item)
    except Exception as error:  # noqa: BLE001  # see above
        return Raised(type(error).__name__)


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Both pipes under other numbers; 0 and 1, where libraries read and print, lead nowhere afterwards."""
    # The buffered object, not the descriptor: it may have read on behind the line with the search path.
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdin = None
    return requests, answers


def _say(answers: IO[bytes], answer: Any) -> None:
    pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()


def _alarm(seconds: float) -> None:
    """The kernel's: it also ends C code that never returns, when no front is left to do it."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
