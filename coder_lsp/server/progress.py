"""Work-done progress in the editor: while the model loads, and while the workspace is indexed.

Follows the status of each and no request, so that no cancelled request ends it. One progress of a kind at a time, from
a task of its own: the client has to agree to a token before anything is shown, and by then all may be over.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from coder_lsp.types import HostState, HostStatus, IndexState, IndexStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

LOADING_STATES = frozenset({HostState.STARTING, HostState.LOADING})

UNNOTICED_S = 0.7
"""Indexing that takes no longer is not shown: a flash is worse than nothing."""


class WorkDone:
    """What the editor shows of progresses. A client that refused one is not asked again."""

    def __init__(self, server: CoderLanguageServer) -> None:
        self._server = server
        self._stops: dict[int | str, Callable[[], object]] = {}
        self.refused = False

    async def granted(self) -> str:
        """A token that the client agreed to, empty if it did not."""
        token = f"coder-lsp-{uuid.uuid4()}"
        try:
            await self._server.window_work_done_progress_create_async(lsp.WorkDoneProgressCreateParams(token))
        except JsonRpcException as error:
            logger.info("the editor shows no progress: code %d", error.code)
            self.refused = True
            return ""
        return token

    def begin(
        self, token: str, title: str, percentage: int, message: str | None = None, *, cancellable: bool = False
    ) -> None:
        """The title stays for the whole progress, so it must not name a step."""
        begun = lsp.WorkDoneProgressBegin(title=title, percentage=percentage, message=message, cancellable=cancellable)
        self._send(token, begun)

    def when_cancelled(self, token: str, stop: Callable[[], object]) -> None:
        """Have ``stop`` called when the user stops what is shown under the token."""
        self._stops[token] = stop

    def cancelled(self, token: int | str) -> None:
        """The user wants an end of what is shown under the token; what cannot be stopped goes on."""
        stop = self._stops.pop(token, None)
        if stop is not None:
            stop()

    def report(self, token: str, percentage: int, message: str | None = None, *, cancellable: bool = False) -> None:
        self._send(token, lsp.WorkDoneProgressReport(percentage=percentage, message=message, cancellable=cancellable))

    def end(self, token: str, message: str) -> None:
        self._stops.pop(token, None)
        self._send(token, lsp.WorkDoneProgressEnd(message=message))

    def _send(
        self, token: str, value: lsp.WorkDoneProgressBegin | lsp.WorkDoneProgressReport | lsp.WorkDoneProgressEnd
    ) -> None:
        self._server.protocol.notify(lsp.PROGRESS, lsp.ProgressParams(token=token, value=value))


class LoadingProgress:
    """Shows the statuses given to :meth:`update` while they are of :data:`LOADING_STATES`."""

    def __init__(self, shown: WorkDone, spawn: Callable[..., object]) -> None:
        self._shown = shown
        self._spawn = spawn
        self._status = HostStatus(HostState.STOPPED)
        self._changed = asyncio.Event()
        self._running = False

    def update(self, status: HostStatus) -> None:
        self._status = status
        self._changed.set()
        if status.state in LOADING_STATES and not self._running and not self._shown.refused:
            self._running = True
            self._spawn(self._show(), "progress")

    async def _show(self) -> None:
        try:
            token = await self._shown.granted()
            if token and self._status.state in LOADING_STATES:
                await self._follow(token)
        finally:
            self._running = False

    async def _follow(self, token: str) -> None:
        percent = _percent(self._status)
        self._shown.begin(token, f"Loading {self._status.model or 'model'}", percent)
        try:
            while self._status.state in LOADING_STATES:
                if _percent(self._status) > percent:
                    percent = _percent(self._status)
                    self._shown.report(token, percent)
                self._changed.clear()
                await self._changed.wait()
        finally:
            done = self._status.state in {HostState.READY, HostState.GENERATING}
            self._shown.end(token, "ready" if done else "not loaded")


class IndexingProgress:
    """Shows the statuses given to :meth:`update` while the workspace is indexed, if that takes long enough to notice.

    ``name`` says what the workspace is called.
    """

    def __init__(self, shown: WorkDone, spawn: Callable[..., object], name: Callable[[], str]) -> None:
        self._shown = shown
        self._spawn = spawn
        self._name = name
        self._status = IndexStatus()
        self._changed = asyncio.Event()
        self._running = False

    def update(self, status: IndexStatus) -> None:
        self._status = status
        self._changed.set()
        if self._indexing and not self._running and not self._shown.refused:
            self._running = True
            self._spawn(self._show(), "progress")

    @property
    def _indexing(self) -> bool:
        return self._status.state is IndexState.INDEXING

    async def _show(self) -> None:
        began = time.monotonic()
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._until(lambda: not self._indexing), UNNOTICED_S)
            # Without a total nothing is read yet: what was indexed before is being loaded.
            await self._until(lambda: not self._indexing or bool(self._status.total))
            token = await self._shown.granted() if self._indexing else ""
            if token and self._indexing:
                await self._follow(token, began)
        finally:
            self._running = False

    async def _follow(self, token: str, began: float) -> None:
        percent, message = _share(self._status), _counted(self._status)
        self._shown.begin(token, f"Indexing {self._name()}", percent, message)
        try:
            while self._indexing:
                # The total grows as long as files are found; a bar that goes back looks broken.
                percent = max(percent, _share(self._status))
                if _counted(self._status) != message:
                    message = _counted(self._status)
                    self._shown.report(token, percent, message)
                self._changed.clear()
                await self._changed.wait()
        finally:
            seconds = max(1, round(time.monotonic() - began))
            done = self._status.state is IndexState.READY
            self._shown.end(token, f"{self._status.done:,} files in {seconds:,} s" if done else "stopped")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def _percent(status: HostStatus) -> int:
    return min(max(int(100 * (status.progress or 0.0)), 0), 100)


def _share(status: IndexStatus) -> int:
    return 100 * status.done // max(1, status.total)


def _counted(status: IndexStatus) -> str:
    return f"{status.done:,} of {status.total:,} files"
