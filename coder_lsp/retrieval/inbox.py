"""What the indexing thread is asked to do, the urgent first; and whether anything is left to do.

Any thread posts, one thread takes. Knows nothing of indexing.
"""

from __future__ import annotations

import enum
import itertools
import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Urgency(enum.IntEnum):
    """What comes first: an editor that waits, news of the disk, results of work."""

    NOW = 0
    NEWS = 1
    RESULT = 2


class Inbox:
    """A queue of actions by urgency, in the order of their posting among equals."""

    def __init__(self) -> None:
        self._queue: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._state = threading.Condition()
        self._open = 0
        self._settled = False
        self._ended = False

    def post(self, urgency: Urgency, action: Callable[..., None], *arguments: Any) -> None:
        with self._state:
            self._open += 1
            self._settled = False
        self._queue.put((urgency, next(self._order), partial(action, *arguments)))

    def do_next(self, *, wait: bool, timeout_s: float | None = None) -> bool:
        """Do one action on this thread; False if there was none."""
        try:
            _, _, action = self._queue.get(block=wait, timeout=timeout_s)
        except queue.Empty:
            return False
        try:
            action()
        finally:
            with self._state:
                self._open -= 1
        return True

    def settle(self) -> None:
        """Said by the thread that takes: beyond what is posted, nothing is left to do."""
        with self._state:
            if not self._open:
                self._settled = True
                self._state.notify_all()

    def end(self) -> None:
        """Nothing will be done any more; nobody waits on."""
        with self._state:
            self._ended = True
            self._state.notify_all()

    def wait_settled(self, timeout_s: float) -> bool:
        """Until all that was posted by now is done; False if that takes longer or will never be."""
        with self._state:
            self._state.wait_for(lambda: self._settled or self._ended, timeout_s)
            return self._settled
