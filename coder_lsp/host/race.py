"""A request under way at a server, and the race of its text with another one's. Knows threads and nothing of faults:
what an end means is decided in ``host.fallback``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.engine.base import CancelToken
    from coder_lsp.host.protocol import Worker
    from coder_lsp.types import FimResult, TextSink


class Asked:
    """A request under way at the server. ``done`` is set at its end, with one of ``result`` and ``error``."""

    def __init__(
        self, worker: Worker, ask: Callable[[Worker, TextSink, CancelToken], FimResult], sink: TextSink
    ) -> None:
        self.worker, self._ask, self._sink = worker, ask, sink
        self.token = worker.new_cancel_token()
        self.result: FimResult | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def run(self) -> None:
        """Ask, on the thread that calls this."""
        try:
            self.result = self._ask(self.worker, self._sink, self.token)
        except BaseException as error:  # noqa: BLE001  (raised again where it was asked for)
            self.error = error
        with self._lock:
            self.done.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have this called when it has ended, at once if it has."""
        with self._lock:
            if not self.done.is_set():
                self._callbacks.append(callback)
                return
        callback()


class Race:
    """Two texts for one place: the first that has a piece is passed on, the other one is told that it is enough."""

    def __init__(self, on_text: TextSink | None) -> None:
        self._on_text = on_text
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self.winner = ""
        self.said = ""
        """What was passed on."""
        self.on_win: dict[str, Callable[[], object]] = {}
        """What to do when one of them is first: call off the other one."""

    def sink(self, name: str) -> TextSink:
        def on_text(delta: str, /) -> bool:
            if not self.end(name):
                return False
            self.said += delta
            return self._on_text(delta) if self._on_text is not None else True

        return on_text

    def end(self, name: str) -> bool:
        """This one has something, or has ended without; False if the other one was first."""
        with self._lock:
            first = not self.winner
            if first:
                self.winner = name
        if first:
            self._begun.set()
            if (call_off := self.on_win.get(name)) is not None:
                call_off()
        return self.winner == name

    def wake(self) -> None:
        """End the wait of :meth:`wait`."""
        self._begun.set()

    def wait(self, seconds: float | None) -> None:
        """Until a piece came, the server ended, or so long."""
        self._begun.wait(seconds)
