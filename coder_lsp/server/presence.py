"""Where the user is: documents opened and closed, the cursor going somewhere; told to those who make use of it.

A client tells where its cursor is by the notification :data:`DID_FOCUS`; without it, a request does. Everything here is
a hint: what cannot be read, or is about a document that is not open, is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.server import convert

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
        uri = getattr(getattr(params, "textDocument", None), "uri", None)
        position = getattr(params, "position", None)
        line, character = getattr(position, "line", None), getattr(position, "character", None)
        if isinstance(uri, str) and isinstance(line, int) and isinstance(character, int):
            self._server.spawn(self._tell(self._completions.focused, uri, line, character), "focused")

    async def _tell(self, what: Callable[[CompletionRequest], None], uri: str, line: int, character: int) -> None:
        # Settings come after the first documents, and say whether anything of them may be looked at.
        await self._server.settings.known.wait()
        request = self._request(uri, line, character)
        if request is not None:
            what(request)

    def _request(self, uri: str, line: int, character: int) -> CompletionRequest | None:
        server = self._server
        document = server.documents.get(uri)
        if document is None:
            return None
        encoding = server.documents.encoding
        cursor = document.offset_at(line, character, encoding)
        place = convert.Place(document, cursor, encoding, preceding=server.notebooks.preceding(uri))
        return convert.completion_request(place, server.locate(uri))
