"""What the user is told of the model host and the index: status notifications always, a message once.

A failure shows one message with its next step; until something changes (the host gets ready, settings or model
change, a restart is asked for) any other failure is in the status and the log only. Repeating it at every keystroke
would be worse than silence.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from coder_lsp.errors import CoderLspError, HostCrashed
from coder_lsp.types import HostState, HostStatus, IndexStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.server.progress import IndexingProgress, LoadingProgress
    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

STATUS = "coder-lsp/status"
"""Notification to the client: ``state`` (a :class:`HostState`, or ``paused``), ``model``, ``engine``, ``message``,
``progress`` (0.0 to 1.0 while loading, else null), ``offline`` (nothing may be downloaded), and ``index``: its
``state`` (an :class:`IndexState`), the ``files`` that can be searched and the ``pending`` ones that are still to be
read.
"""
PAUSED = "paused"

_INDEX_SECONDS = 1.0
"""How often figures of the index are worth a notification; a new state always is."""


class StatusBoard:
    """The latest status and who has to hear of it. Silent until :meth:`open`: nothing may go out earlier."""

    def __init__(self, server: CoderLanguageServer, loading: LoadingProgress, indexing: IndexingProgress) -> None:
        self._server = server
        self._loading = loading
        self._indexing = indexing
        self._host = HostStatus(HostState.STOPPED)
        self._index = IndexStatus()
        self._index_told_at = 0.0
        self._failure = ""
        self._told = False
        self._noticed = False
        self._open = False
        self._sent: dict[str, Any] | None = None
        self.offline = False
        self.paused: set[str | None] = set()
        """Scopes without suggestions; None is everywhere."""

    def open(self, host: HostStatus) -> None:
        """The client is ready for notifications; ``host`` is how things stand."""
        self._open = True
        self.host_changed(host)

    def host_changed(self, status: HostStatus) -> None:
        if status != self._host:
            logger.debug("host %s %s", status.state.value, status.message)
        self._host = status
        if not self._open:
            return
        if status.state in {HostState.READY, HostState.GENERATING}:
            self.fresh_start()
        if self._server.client.progress:
            self._loading.update(status)
        self.publish()
        if status.state is HostState.ERROR:
            self._tell(in_one_line(status.message) or "the model host failed")
        elif status.state is HostState.READY:
            self._notice(in_one_line(status.message))

    def index_changed(self, status: IndexStatus) -> None:
        before, self._index = self._index, status
        if not self._open:
            return
        if self._server.client.progress:
            self._indexing.update(status)
        if status.state is not before.state or time.monotonic() - self._index_told_at >= _INDEX_SECONDS:
            self._index_told_at = time.monotonic()
            self.publish()

    def failed(self, error: CoderLspError) -> None:
        """A request or a start came back with an error."""
        if isinstance(error, HostCrashed):
            # It costs one suggestion and the host comes back by itself; if it does not, its status says so.
            logger.warning("%s: %s", type(error).__name__, error.message)
            return
        failure = in_one_line(str(error))
        if failure != self._failure:
            logger.warning("%s: %s", type(error).__name__, failure)
        self._failure = failure
        self.publish()
        self._tell(failure)

    def fresh_start(self) -> None:
        """Something changed: what fails from here on is news."""
        self._told = False
        self._failure = ""

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Within it a failure is no message: it is the answer to a command, and the editor shows that."""
        told, self._told = self._told, True
        try:
            yield
        finally:
            self._told = told

    def set_offline(self, *, on: bool) -> None:
        self.offline = on
        self.publish()

    def set_paused(self, scope: str | None, *, on: bool) -> None:
        if on:
            self.paused.add(scope)
        else:
            self.paused.discard(scope)
        self.publish()

    def current(self) -> dict[str, Any]:
        """The notification's parameters."""
        host = self._host
        state, message = host.state.value, in_one_line(host.message)
        if self._failure and host.state is HostState.STOPPED:
            # No process to have a status: what kept it from starting is the status.
            state, message = HostState.ERROR.value, self._failure
        elif None in self.paused and host.state is not HostState.ERROR:
            state = PAUSED
        return {
            "state": state,
            "model": host.model,
            "engine": host.engine,
            "message": message,
            "progress": host.progress,
            "offline": self.offline,
            "index": index_figures(self._index),
        }

    def publish(self) -> None:
        """Tell the client, if it does not know."""
        current = self.current()
        if self._open and current != self._sent:
            self._sent = current
            self._server.protocol.notify(STATUS, current)

    def _notice(self, message: str) -> None:
        """What is not as it should be though completions come: said once, until it is well again."""
        if message and not self._noticed:
            self._server.show(lsp.MessageType.Warning, f"coder-lsp: {message}")
        self._noticed = bool(message)

    def _tell(self, message: str) -> None:
        if self._open and not self._told:
            self._told = True
            self._server.show(lsp.MessageType.Error, f"coder-lsp: {message}")


def index_figures(status: IndexStatus) -> dict[str, Any]:
    """The ``index`` of a status."""
    return {"state": status.state.value, "files": status.files, "pending": status.total - status.done}


def in_one_line(message: str) -> str:
    """An error with its hint as one line: editors cut a second one off, or stop for a key because of it."""
    return ". ".join(line.strip().rstrip(".") for line in message.splitlines() if line.strip())
