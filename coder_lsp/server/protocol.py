"""pygls' protocol with its document handling taken out and its gate kept by us.

pygls keeps a copy of every text, splits it where LSP does not, answers a request it cannot read not at all, and logs
values of messages. Here text goes to :class:`~coder_lsp.server.sync.TextSync` alone; every request gets an answer,
also before ``initialize``, after ``shutdown`` and when malformed; a completion request is bound to the document as it
is when the message arrives. Nothing of a message but method and id is logged.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import LanguageServerProtocol, lsp_method

from coder_lsp.server.client import kept_capabilities

if TYPE_CHECKING:
    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

_LARGEST = 2**31 - 1
"""LSP's ``uinteger``. Clients send greater numbers for "the end of the line"."""


@dataclass(frozen=True)
class Unreadable:
    """A message that is JSON but not what its method wants. ``id`` None: a notification."""

    method: str
    id: str | int | None
    params: Any = field(repr=False)
    is_response: bool = False


class CoderProtocol(LanguageServerProtocol):
    """One session: at most one ``initialize``, then everything else until ``exit``."""

    _server: CoderLanguageServer

    def __init__(self, server: CoderLanguageServer, converter: Any) -> None:
        super().__init__(server, converter)
        self._initialized = False
        self._shutdown_request: asyncio.Task[Any] | None = None

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Called for every object in a message, innermost first; the message itself is the one with ``jsonrpc``."""
        if "jsonrpc" not in data:
            return _within_range(data) if len(data) == 2 and "line" in data and "character" in data else data
        method, params, identity = data.get("method", ""), data.get("params"), data.get("id")
        known = identity if isinstance(identity, (str, int)) else None
        unreadable = Unreadable(
            method if isinstance(method, str) else "", known, params, is_response="method" not in data
        )
        if not isinstance(method, str) or ("id" in data and (known is None or _is_notification(method))):
            # Nothing an answer could name; or pygls takes the id out of a notification and answers nothing.
            return unreadable
        if "method" in data and self.get_message_type(method) is None:
            # JSON-RPC lets a method without parameters leave them out; pygls reads an unknown method only with them.
            data.setdefault("params", None)
        _forgive(data)
        try:
            return super().structure_message(data)
        except JsonRpcException:
            return unreadable

    def handle_message(self, message: Any) -> None:
        if isinstance(message, Unreadable):
            self._refuse_unreadable(message)
            return
        method = getattr(message, "method", None)
        if method is None and not hasattr(message, "id"):
            logger.warning("ignored: not a JSON-RPC message")
            return
        identity = getattr(message, "id", None)
        refusal = self._refusal(method) if method is not None else None
        if refusal is not None:
            logger.info("refused %s id=%s: %s", method, identity, refusal.message)
            if identity is not None:
                self._send_response(identity, error=refusal.to_response_error())
            return
        if isinstance(message, (lsp.InlineCompletionRequest, lsp.CompletionRequest)):
            # The handler runs later, when the stream may already have changed the document again.
            # What the handler gets; pygls passes `params` on without looking.
            message.params = self._server.completion_handlers.bound(message)  # type: ignore[assignment]
        super().handle_message(message)
        if method == lsp.INITIALIZE:
            self._initialized = True
        elif method == lsp.SHUTDOWN:
            # Not when its task runs: what follows in the stream may be handled before that.
            self._shutdown = True

    def refuse_bytes(self) -> None:
        """Answer a body that is no JSON."""
        error = JsonRpcParseError("the message is not JSON")
        body = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": self.VERSION, "id": None, "error": body})

    @lsp_method(lsp.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        self._server.sync.did_open(params)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        self._server.sync.did_change(params)

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        self._server.sync.did_close(params)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: lsp.DidOpenNotebookDocumentParams) -> None:
        self._server.sync.notebook_did_open(params)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(self, params: lsp.DidChangeNotebookDocumentParams) -> None:
        self._server.sync.notebook_did_change(params)

    @lsp_method(lsp.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: lsp.DidCloseNotebookDocumentParams) -> None:
        self._server.sync.notebook_did_close(params)

    @lsp_method(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def lsp_workspace__did_change_workspace_folders(self, params: lsp.DidChangeWorkspaceFoldersParams) -> None:
        self._server.folders_changed(params.event)

    @lsp_method(lsp.SHUTDOWN)
    async def lsp_shutdown(self, *_: Any) -> None:  # type: ignore[override]  # pygls takes any kind of function
        """Nothing new from here on; what is under way is cancelled and answered so, the host let go of."""
        current = self.msg_id
        self._shutdown_request = asyncio.current_task()
        await self._server.close()
        for identity, future in list(self._request_futures.items()):
            if identity != current and not future.done():
                future.cancel()

    @lsp_method(lsp.EXIT)
    def lsp_exit(self, *_: Any) -> None:  # type: ignore[override]  # see above
        """End the session; pygls would leave the process here, with whatever is still to be sent."""
        self._server.end(0 if self._shutdown else 1)

    @lsp_method(lsp.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(self, params: lsp.ExecuteCommandParams) -> Any:  # type: ignore[override]
        """In a task of its own, so that cancelling the request reaches the command, which it does not in pygls."""
        command = self.fm.commands.get(params.command)
        if command is None:
            raise JsonRpcInvalidParams(f"there is no command {params.command!r}")
        answer = command(*(params.arguments or ()))
        return await answer if inspect.isawaitable(answer) else answer

    @lsp_method(lsp.WINDOW_WORK_DONE_PROGRESS_CANCEL)
    def lsp_work_done_progress_cancel(self, params: lsp.WorkDoneProgressCancelParams) -> None:
        """Only what was shown as cancellable is: loading is shared with other windows, and goes on."""
        self._server.work_done.cancelled(params.token)

    async def answered(self) -> None:
        """Wait for the answer to ``shutdown``, if it was asked for: ``exit`` or the end of the stream may be behind it
        already. The answer's own callback was there first, so it is written when this returns.
        """
        if self._shutdown_request is not None:
            await asyncio.wait({self._shutdown_request})

    @property
    def was_shut_down(self) -> bool:
        return self._shutdown

    def _refusal(self, method: str) -> JsonRpcException | None:
        """Why a message cannot be taken in this state of the session."""
        if method == lsp.EXIT:
            return None
        if self._shutdown:
            return JsonRpcInvalidRequest("the server has been shut down")
        if method == lsp.INITIALIZE:
            return JsonRpcInvalidRequest("the server is initialized already") if self._initialized else None
        return None if self._initialized else JsonRpcServerNotInitialized("the first request must be initialize")

    def _refuse_unreadable(self, message: Unreadable) -> None:
        logger.warning("unreadable message: method=%s id=%s", message.method, message.id)
        error = JsonRpcInvalidParams("the parameters do not fit the method").to_response_error()
        if message.is_response:
            if message.id is not None:
                self._handle_response(message.id, None, error)
            return
        if message.id is not None:
            self._send_response(message.id, error=error)
        if self._initialized:
            self._server.sync.lost(message.method, message.params)


def _is_notification(method: str) -> bool:
    """Whether LSP knows a method as one without an answer."""
    kinds = lsp.METHOD_TO_TYPES.get(method)
    return kinds is not None and kinds[1] is None


def _within_range(position: dict[str, Any]) -> dict[str, Any]:
    return {key: min(max(value, 0), _LARGEST) if isinstance(value, int) else value for key, value in position.items()}


def _forgive(message: dict[str, Any]) -> None:
    """Take out of a message what a client may get wrong without harm, before it is read strictly."""
    method, params = message.get("method"), message.get("params")
    if method == lsp.INITIALIZED:
        message["params"] = {}
    if not isinstance(params, dict):
        return
    if method == lsp.INITIALIZE:
        params["capabilities"] = kept_capabilities(params.get("capabilities"))
        if params.get("trace") not in ("off", "messages", "verbose"):
            params.pop("trace", None)
    elif method == lsp.TEXT_DOCUMENT_INLINE_COMPLETION:
        context = params.get("context")
        if not isinstance(context, dict):
            context = params["context"] = {}
        # Drafts of LSP 3.18 counted the kinds from zero.
        if context.get("triggerKind") not in (1, 2):
            context["triggerKind"] = lsp.InlineCompletionTriggerKind.Automatic.value


def is_parse_error(error: BaseException) -> bool:
    return isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))
