"""Notifications about documents and notebooks, put into the document store; whoever follows them is told.

Runs to the end while a message is handled, so that a request behind it in the stream sees its result. What cannot be
read reaches :meth:`TextSync.lost` instead. Nothing here is logged but URIs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from coder_lsp.server import convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.documents.notebooks import NotebookStore
    from coder_lsp.documents.store import DocumentStore
    from coder_lsp.server.presence import Presence
    from coder_lsp.server.workspace import WorkspaceFeed


class TextSync:
    """Writes into ``documents`` and ``notebooks``; the only one who does. ``feed`` and ``presence`` hear of it then."""

    def __init__(
        self, documents: DocumentStore, notebooks: NotebookStore, feed: WorkspaceFeed, presence: Presence
    ) -> None:
        self._documents = documents
        self._notebooks = notebooks
        self._feed = feed
        self._presence = presence

    def did_open(self, params: lsp.DidOpenTextDocumentParams) -> None:
        self._open([params.text_document])
        self._feed.opened(params.text_document.uri)
        self._presence.opened(params.text_document.uri)

    def did_change(self, params: lsp.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        before, edits = self._documents.get(document.uri), convert.edits(params.content_changes)
        self._documents.change(document.uri, document.version, edits)
        self._feed.changed(document.uri, before, edits)
        self._presence.changed(document.uri)

    def did_save(self, params: lsp.DidSaveTextDocumentParams) -> None:
        self._feed.saved(params.text_document.uri)

    def did_close(self, params: lsp.DidCloseTextDocumentParams) -> None:
        self._close(params.text_document.uri)

    def notebook_did_open(self, params: lsp.DidOpenNotebookDocumentParams) -> None:
        self._open(params.cell_text_documents)
        notebook = params.notebook_document
        self._notebooks.open(notebook.uri, notebook.version, convert.cells(notebook.cells))

    def notebook_did_change(self, params: lsp.DidChangeNotebookDocumentParams) -> None:
        """Structure first, then cells, then texts: the order of the specification's ``cells`` object."""
        notebook, changed = params.notebook_document, params.change.cells
        if changed is None:
            return
        if changed.structure is not None:
            array = changed.structure.array
            for closed in changed.structure.did_close or ():
                self._close_cell(closed.uri)
            self._open(changed.structure.did_open or ())
            self._notebooks.splice(
                notebook.uri, notebook.version, array.start, array.delete_count, convert.cells(array.cells)
            )
        if changed.data:
            self._notebooks.update(notebook.uri, notebook.version, convert.cells(changed.data))
        for content in changed.text_content or ():
            self._documents.change(content.document.uri, content.document.version, convert.edits(content.changes))
            self._presence.changed(content.document.uri)

    def notebook_did_close(self, params: lsp.DidCloseNotebookDocumentParams) -> None:
        for cell in params.cell_text_documents:
            self._close_cell(cell.uri)
        self._notebooks.close(params.notebook_document.uri)

    def lost(self, method: str, raw_params: Any) -> None:
        """A notification that could not be read. A lost change makes the text of its document unknown."""
        if method == lsp.TEXT_DOCUMENT_DID_CHANGE:
            uri = _dig(raw_params, "textDocument", "uri")
            self._documents.mark_out_of_step(uri)
            self._feed.closed(uri)
            self._presence.changed(uri)
        elif method == lsp.TEXT_DOCUMENT_DID_CLOSE:
            self._close(_dig(raw_params, "textDocument", "uri"))
        elif method == lsp.NOTEBOOK_DOCUMENT_DID_CHANGE:
            for uri in self._notebooks.cells_of(_dig(raw_params, "notebookDocument", "uri")):
                self._documents.mark_out_of_step(uri)

    def _close(self, uri: str) -> None:
        self._close_cell(uri)
        self._feed.closed(uri)

    def _close_cell(self, uri: str) -> None:
        """A cell is a document, and no file of the workspace."""
        self._documents.close(uri)
        self._presence.closed(uri)

    def _open(self, items: Sequence[lsp.TextDocumentItem]) -> None:
        for item in items:
            # The language is an open set of names in practice, an enum only in the library's types.
            self._documents.open(
                item.uri, str(getattr(item.language_id, "value", item.language_id)), item.version, item.text
            )


def _dig(raw: Any, *keys: str) -> str:
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if isinstance(raw, str) else ""
