"""The documents an editor has open, kept in step with its notifications.

The only mutable thing here is which snapshot is current. The editor is the authority on text: a change with an
unexpected version is applied as it came and said once in the log. A change that cannot be understood leaves the
document out of step: it has no snapshot until the editor sends its whole text again, because suggestions placed in a
wrong text are worse than none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.documents.document import Document
from coder_lsp.documents.positions import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientRange:
    """``[start, end)`` in the client's lines and units, as it sent them."""

    start_line: int
    start_character: int
    end_line: int
    end_character: int


@dataclass(frozen=True)
class Edit:
    """``text`` in place of ``range``, or of everything where there is none."""

    text: str = field(repr=False)
    range: ClientRange | None = None


class DocumentStore:
    """Current snapshots by URI; ``encoding`` is set once, when the client has been asked."""

    def __init__(self, encoding: Encoding = Encoding.UTF16) -> None:
        self.encoding = encoding
        self._documents: dict[str, Document] = {}
        self._out_of_step: set[str] = set()
        self._gap_reported: set[str] = set()

    def open(self, uri: str, language: str, version: int | None, text: str) -> Document:
        """Take a document over from the editor; opening it again starts afresh."""
        self.close(uri)
        document = Document.of(uri, language, version, text)
        self._documents[uri] = document
        return document

    def change(self, uri: str, version: int | None, edits: Iterable[Edit]) -> Document | None:
        """Apply ``edits`` one after the other, each placed in the result of the one before.

        :returns: the new snapshot, or None for a document that is not open or is out of step.
        """
        document = self._documents.get(uri)
        if document is None:
            logger.warning("change of a document that is not open: %s", uri)
            return None
        self._check_version(document, version)
        for edit in edits:
            document = self._applied(document, edit, version)
        if version is not None and document.version != version:
            document = Document(uri, document.language, version, document.text, document.starts)
        self._documents[uri] = document
        return self.get(uri)

    def close(self, uri: str) -> None:
        self._documents.pop(uri, None)
        self._out_of_step.discard(uri)
        self._gap_reported.discard(uri)

    def get(self, uri: str) -> Document | None:
        """The current snapshot; None if it is not open or its text is not known for sure."""
        return None if uri in self._out_of_step else self._documents.get(uri)

    def is_open(self, uri: str) -> bool:
        return uri in self._documents

    def mark_out_of_step(self, uri: str) -> None:
        """A change of ``uri`` was lost: its text is unknown until it comes whole again."""
        if uri in self._documents and uri not in self._out_of_step:
            logger.warning("a change could not be read, no suggestions until the text is sent whole: %s", uri)
            self._out_of_step.add(uri)

    def _applied(self, document: Document, edit: Edit, version: int | None) -> Document:
        if edit.range is None:
            self._out_of_step.discard(document.uri)
            return Document.of(document.uri, document.language, version, edit.text)
        where = edit.range
        start = document.offset_at(where.start_line, where.start_character, self.encoding)
        end = document.offset_at(where.end_line, where.end_character, self.encoding)
        return document.replaced(min(start, end), max(start, end), edit.text, version)

    def _check_version(self, document: Document, version: int | None) -> None:
        if version is None or document.version is None:
            return
        if version <= document.version:
            logger.warning("version %d after %d, applied as sent: %s", version, document.version, document.uri)
        elif version > document.version + 1 and document.uri not in self._gap_reported:
            # Allowed by the protocol, which only asks that versions grow; worth one line when a text looks wrong.
            self._gap_reported.add(document.uri)
            logger.info("version %d follows %d, said once: %s", version, document.version, document.uri)
