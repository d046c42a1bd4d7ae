"""Work-done progress in the editor while the model loads.

Follows the host's status and no request, so that no cancelled request ends it. One progress at a time, from a task of
its own: the client has to agree to a token before anything is shown, and by then loading may be over.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from coder_lsp.types import HostState, HostStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

LOADING_STATES = frozenset({HostState.STARTING, HostState.LOADING})


class LoadingProgress:
    """Shows the statuses given to :meth:`update` while they are of :data:`LOADING_STATES`."""

    def __init__(self, server: CoderLanguageServer, spawn: Callable[..., object]) -> None:
        self._server = server
        self._spawn = spawn
        self._status = HostStatus(HostState.STOPPED)
        self._changed = asyncio.Event()
        self._running = False
        self._refused = False

    def update(self, status: HostStatus) -> None:
        self._status = status
        self._changed.set()
        if status.state in LOADING_STATES and not self._running and not self._refused:
            self._running = True
            self._spawn(self._show(), "progress")

    async def _show(self) -> None:
        try:
            token = f"coder-lsp-{uuid.uuid4()}"
            if await self._granted(token) and self._status.state in LOADING_STATES:
                await self._follow(token)
        finally:
            self._running = False

    async def _granted(self, token: str) -> bool:
        try:
            await self._server.window_work_done_progress_create_async(lsp.WorkDoneProgressCreateParams(token))
        except JsonRpcException as error:
            logger.info("the editor shows no progress: code %d", error.code)
            self._refused = True
            return False
        return True

    async def _follow(self, token: str) -> None:
        shown = _percent(self._status)
        model = self._status.model or "model"
        # The title stays for the whole progress, so it must not name a step.
        self._report(token, lsp.WorkDoneProgressBegin(title=f"Loading {model}", percentage=shown, cancellable=False))
        try:
            while self._status.state in LOADING_STATES:
                percent = _percent(self._status)
                if percent > shown:
                    shown = percent
                    self._report(token, lsp.WorkDoneProgressReport(percentage=shown, cancellable=False))
                self._changed.clear()
                await self._changed.wait()
        finally:
            done = self._status.state in {HostState.READY, HostState.GENERATING}
            self._report(token, lsp.WorkDoneProgressEnd(message="ready" if done else "not loaded"))

    def _report(
        self, token: str, value: lsp.WorkDoneProgressBegin | lsp.WorkDoneProgressReport | lsp.WorkDoneProgressEnd
    ) -> None:
        self._server.protocol.notify(lsp.PROGRESS, lsp.ProgressParams(token=token, value=value))


def _percent(status: HostStatus) -> int:
    return min(max(int(100 * (status.progress or 0.0)), 0), 100)
