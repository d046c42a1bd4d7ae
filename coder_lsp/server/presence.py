"""Where the user is: documents opened and closed, the cursor going somewhere; told to those who make use of it.

A client tells where its cursor is by the notification :data:`DID_FOCUS`; without it, a request does. Everything here is
a hint: what cannot be read, or is about a document that is not open, is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.server.arguments import value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.server.ports import Completions
    from coder_lsp.server.server import CoderLanguageServer
    from coder_lsp.types import CompletionRequest

DID_FOCUS = "coder-lsp/didFocus"
"""Notification of a client whose user has gone to another document or far away in one: ``{"textDocument": {"uri"},
"position": {"line", "character"}}``. Sending it at every movement of the cursor does no harm.
"""


class Presence:
    """Called on the event loop, behind the documents' own changes."""

    def __init__(self, server: CoderLanguageServer, completions: Completions) -> None:
        self._server = server
        self._completions = completions

    def opened(self, uri: str) -> None:
        self._server.spawn(self._tell(self._completions.opened, uri, 0, 0), "opened")

    def changed(self, uri: str) -> None:
        self._server.feedback.changed(uri, self._server.documents.get(uri))

    def closed(self, uri: str) -> None:
        self._server.feedback.changed(uri, None)
        self._completions.closed(uri)

    def did_focus(self, params: Any) -> None:
        uri, line = value_of(params, "textDocument", "uri"), value_of(params, "position", "line")
        character = value_of(params, "position", "character")
        if isinstance(uri, str) and isinstance(line, int) and isinstance(character, int):
            self._server.spawn(self._tell(self._completions.focused, uri, line, character), "focused")

    async def _tell(self, what: Callable[[CompletionRequest], None], uri: str, line: int, character: int) -> None:
        # Settings come after the first documents, and say whether anything of them may be looked at.
        await self._server.settings.known.wait()
        request = self._server.request_at(uri, line, character)
        if request is not None:
            what(request)
