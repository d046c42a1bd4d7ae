"""One call of an engine at a time, and how a running one is told to stop. For engines written in Python."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from coder_lsp.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coder_lsp.engine.base import CancelToken


class EventCancel:
    """A cancel token that one can wait on, and that calls those who must be woken."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Return after so long, or at once when cancelled."""
        self._event.wait(seconds)

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the context ``callback`` is called once when this is cancelled, from the thread that does it."""
        with self._lock:
            now = self._event.is_set()
            if not now:
                self._callbacks.append(callback)
        if now:
            callback()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._callbacks.remove(callback)


def own_cancel(cancel: CancelToken | None) -> EventCancel:
    """The token given, or one that nobody sets.

    :raises EngineError: it is another engine's.
    """
    if cancel is None:
        return EventCancel()
    if isinstance(cancel, EventCancel):
        return cancel
    raise EngineError(f"{type(cancel).__name__} is not a cancel token of this engine", hint="use new_cancel_token()")


class Turns:
    """Calls from several threads take turns; a call out of the engine's own callback is refused, as after the end."""

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._busy = False
        self._closed = False

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """:raises EngineError: from inside a callback of this engine, or after :meth:`close`."""
        with self._turn:
            if self._busy:
                raise EngineError(
                    "the engine was called from inside its own callback", hint="let the callback return first"
                )
            self.check_open()
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def check_open(self) -> None:
        """:raises EngineError: the engine is closed."""
        if self._closed:
            raise EngineError("the engine is closed", hint="load the model again")

    def close(self) -> None:
        self._closed = True
