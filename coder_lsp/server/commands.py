"""``workspace/executeCommand``: what a user can do about coder-lsp from the editor; ``model_commands`` and
``report_commands`` have the rest.

A failure is the answer to the command (the editor shows it) and no message besides.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from coder_lsp.errors import CoderLspError
from coder_lsp.server.arguments import one, refused, value_of
from coder_lsp.server.convert import ACCEPTED
from coder_lsp.server.feedback import Feedback
from coder_lsp.server.status import index_figures

if TYPE_CHECKING:
    from coder_lsp.server.ports import Completions, Host, Workspace
    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

_INFO_SECONDS = 2.0

DID_SHOW = "coder-lsp/didShow"
"""Notification of a client that has shown an item: ``{"id": the argument of the item's command}``."""
DID_REJECT = "coder-lsp/didReject"
"""The same for an item that the user dismissed."""


class Commands:
    """Registers itself with the server; every method answers one command."""

    def __init__(
        self,
        server: CoderLanguageServer,
        completions: Completions,
        host: Host,
        workspace: Workspace | None = None,
        *,
        feedback: Feedback | None = None,
    ) -> None:
        self._server = server
        self._completions = completions
        self._host = host
        self._workspace = workspace
        self._feedback = feedback or Feedback()
        for name, handler in {
            "coder-lsp.restart": self.restart,
            "coder-lsp.pause": self.pause,
            "coder-lsp.resume": self.resume,
            "coder-lsp.showLog": self.show_log,
            "coder-lsp.status": self.status,
            ACCEPTED: self.accepted,
        }.items():
            # A partial: pygls puts attributes on it, and a bound method takes none.
            server.command(name)(partial(handler))
        server.feature(DID_SHOW)(partial(self.did_show))
        server.feature(DID_REJECT)(partial(self.did_reject))

    async def restart(self, *_: Any) -> dict[str, Any]:
        """A new model host process; answers when it is there."""
        status = self._server.status
        try:
            with status.quietly():
                await self._host.restart()
        except CoderLspError as error:
            raise refused(error) from error
        status.fresh_start()
        return self._server.status.current()

    async def pause(self, *arguments: Any) -> dict[str, Any]:
        """No suggestions: everywhere, or in the language or document given."""
        return self._pause(one("scope", arguments), on=True)

    async def resume(self, *arguments: Any) -> dict[str, Any]:
        """Undo ``pause`` with the same argument."""
        return self._pause(one("scope", arguments), on=False)

    async def show_log(self, *_: Any) -> dict[str, Any]:
        """Open the log file, where the client can; else say where it is."""
        server, log_file = self._server, self._server.log_file
        if log_file is None:
            message = "the log goes to the editor's own log of language servers; `coder-lsp serve --log-file` keeps it"
            server.show(lsp.MessageType.Info, f"coder-lsp: {message}")
            return {"path": None}
        if not (server.client.show_document and await self._opened(log_file.as_uri())):
            server.show(lsp.MessageType.Info, f"coder-lsp: the log is {log_file}")
        return {"path": str(log_file)}

    async def status(self, *_: Any) -> dict[str, Any]:
        """The status, what is paused, and what the host process says of itself (null if it does not answer)."""
        paused = self._server.status.paused
        host: dict[str, Any] | None = None
        try:
            host = dict(await asyncio.wait_for(self._host.info(), _INFO_SECONDS))
        except (CoderLspError, asyncio.TimeoutError, OSError) as error:
            logger.info("no word from the host: %s", type(error).__name__)
        return {
            **self._server.status.current(),
            # What was last notified may be a few files behind.
            **({"index": index_figures(self._workspace.status)} if self._workspace else {}),
            "paused": None in paused,
            "pausedScopes": sorted(scope for scope in paused if scope is not None),
            "host": host,
        }

    async def accepted(self, *arguments: Any) -> None:
        """The client took a suggestion: its id, and how much of it if not all, in UTF-16 units from the cursor."""
        identity, units = one("suggestion id", arguments[:1]), arguments[1] if len(arguments) > 1 else None
        if units is not None and (isinstance(units, bool) or not isinstance(units, int) or units < 0):
            raise JsonRpcInvalidParams("the accepted length must be a whole number of UTF-16 units, not negative")
        logger.info("accepted id=%s units=%s", identity, "all" if units is None else units)
        if identity is not None:
            self._feedback.accepted(identity, units)

    def did_show(self, params: Any) -> None:
        """A client says which item is on screen."""
        if identity := _identity(params):
            self._feedback.shown(identity)

    def did_reject(self, params: Any) -> None:
        if identity := _identity(params):
            logger.info("rejected id=%s", identity)
            self._feedback.rejected(identity)

    def _pause(self, scope: str | None, *, on: bool) -> dict[str, Any]:
        self._completions.pause(scope, on)
        self._server.status.set_paused(scope, on=on)
        return self._server.status.current()

    async def _opened(self, uri: str) -> bool:
        params = lsp.ShowDocumentParams(uri=uri, external=False, take_focus=True)
        try:
            return (await self._server.window_show_document_async(params)).success
        except JsonRpcException as error:
            logger.info("the editor did not open the log: code %d", error.code)
            return False


def _identity(params: Any) -> str:
    """The ``id`` of a notification's parameters; empty if they have none, for a notification cannot be refused."""
    identity = value_of(params, "id")
    return identity if isinstance(identity, str) else ""
