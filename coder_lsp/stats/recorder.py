"""Takes what became of suggestions off the event loop: a thread writes it to the history in batches.

:meth:`Recorder.record` costs the loop a dictionary entry. A killed process loses the last two seconds; a full disk or a
read-only folder loses nothing until too much has gathered in memory. Off until settings say that it may be on.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from coder_lsp.stats.store import HistoryError

if TYPE_CHECKING:
    from coder_lsp.stats.events import Shown
    from coder_lsp.stats.store import History

logger = logging.getLogger(__name__)

BATCH_S = 2.0
RETRY_S = 60.0
MAX_PENDING = 2000
"""Rows kept in memory while they cannot be written; the oldest go first."""
_CLOSE_S = 2.5


class Recorder:
    """For one event loop; the thread begins with the first row. ``history`` belongs to that thread from then on."""

    def __init__(self, history: History, *, batch_s: float = BATCH_S, retry_s: float = RETRY_S) -> None:
        self._history = history
        self._batch_s = batch_s
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._pending: dict[int, Shown] = {}
        self._thread: threading.Thread | None = None
        self._enabled = False
        self._closing = False
        self._flushing = False
        self._fault = ""

    def enable(self, on: bool) -> None:
        """``stats.enabled``. Switched off, what was not written yet is dropped."""
        with self._changed:
            self._enabled = on
            if not on:
                self._pending.clear()

    def record(self, row: Shown) -> None:
        """Keep a row; the same key again replaces it, whether it was written meanwhile or not."""
        with self._changed:
            if not self._enabled or self._closing:
                return
            self._pending[row.key] = row
            while len(self._pending) > MAX_PENDING:
                del self._pending[next(iter(self._pending))]
            if self._thread is None:
                # A daemon: a disk that hangs must not keep the editor's server from ending.
                self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Write now and wait for it; False if it could not be written."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                return not self._pending
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._flushing, timeout_s)
            return not self._pending

    def close(self) -> None:
        """Write what is left and end the thread. Blocks for at most some seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            while self._wait():
                self._write()
            self._write()
        finally:
            self._history.close()

    def _wait(self) -> bool:
        """Until a batch is due; False to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing or self._flushing)
            due = time.monotonic() + (self._retry_s if self._fault else self._batch_s)
            self._changed.wait_for(lambda: self._closing or self._flushing, max(0.0, due - time.monotonic()))
            return not self._closing

    def _write(self) -> None:
        with self._changed:
            batch, self._pending = self._pending, {}
        fault = self._tried(batch) if batch else self._fault
        with self._changed:
            if fault and batch and self._enabled:
                # What was recorded since is newer.
                self._pending = {**batch, **self._pending}
            if fault and fault != self._fault:
                logger.warning("statistics are kept in memory for now: %s", fault)
            self._fault = fault
            self._flushing = False
            self._changed.notify_all()

    def _tried(self, batch: dict[int, Shown]) -> str:
        """Write a batch; returns why it failed."""
        rows = list(batch.values())
        try:
            try:
                self._history.write(rows)
            except HistoryError:
                # Once more: if the file was damaged there is a new one now.
                self._history.write(rows)
        except HistoryError as error:
            return error.message
        return ""
