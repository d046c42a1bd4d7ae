"""Tells the workspace of the documents that are files: opened, edited in these lines, saved, closed.

Cells of notebooks and documents without a file are no files of a workspace and are passed over. A document whose text
is not known any more counts as closed until its text comes whole again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.documents.lines import line_starts
from coder_lsp.server.roots import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.documents.document import Document
    from coder_lsp.documents.store import DocumentStore, Edit
    from coder_lsp.server.ports import Workspace


class WorkspaceFeed:
    """Reads ``documents`` after each notification was taken in; with no ``workspace`` nobody is told."""

    def __init__(self, workspace: Workspace | None, documents: DocumentStore) -> None:
        self._workspace = workspace
        self._documents = documents

    def opened(self, uri: str) -> None:
        path, document = path_of(uri), self._documents.get(uri)
        if self._workspace is not None and path is not None and document is not None:
            self._workspace.opened(path, document.text)

    def changed(self, uri: str, before: Document | None, edits: Sequence[Edit]) -> None:
        """``before`` is the document that ``edits`` were applied to, None if it was not known."""
        path, after = path_of(uri), self._documents.get(uri)
        if self._workspace is None or path is None:
            return
        if after is None:
            self._workspace.closed(path)
        elif before is None:
            self._workspace.opened(path, after.text)
        else:
            self._workspace.changed(path, after.text, *changed_lines(before, after, edits))

    def saved(self, uri: str) -> None:
        path = path_of(uri)
        if self._workspace is not None and path is not None:
            self._workspace.saved(path)

    def closed(self, uri: str) -> None:
        path = path_of(uri)
        if self._workspace is not None and path is not None:
            self._workspace.closed(path)


def changed_lines(before: Document, after: Document, edits: Sequence[Edit]) -> tuple[int, int, int]:
    """``(start, old_end, end)``: lines ``[start, old_end)`` of ``before`` became ``[start, end)`` of ``after``.

    Everything between the first and the last edit counts.
    """
    start, old_end, end = len(before.starts), 0, 0
    count = len(before.starts)
    for edit in edits:
        where = edit.range
        if where is None:
            return _differing_lines(before.text, after.text)
        first = min(where.start_line, count - 1)
        last = max(first, min(where.end_line, count - 1)) + 1
        added = len(line_starts(edit.text)) - (last - first)
        # What lies behind the edits so far has the same lines as at the beginning, moved.
        reach = max(end, last)
        old_end += reach - end if old_end else last
        end = reach + added
        start = min(start, first)
        count += added
    return (start, old_end, end) if edits else (0, 0, 0)


def _differing_lines(before: str, after: str) -> tuple[int, int, int]:
    """Of two whole texts."""
    old, new = before.split("\n"), after.split("\n")
    shorter = min(len(old), len(new))
    start = next((line for line in range(shorter) if old[line] != new[line]), shorter)
    same = next((count for count in range(shorter - start) if old[-1 - count] != new[-1 - count]), shorter - start)
    return start, len(old) - same, len(new) - same
