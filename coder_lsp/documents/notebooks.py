"""Notebooks: the order of their cells, whose texts are documents of the store like any other.

Knows what stands above a cell, which is what a model must see to complete it. Cells hold no text here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coder_lsp.documents.store import DocumentStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """``uri`` is the cell's document; ``code`` is False for text cells."""

    uri: str
    code: bool = True


@dataclass(frozen=True)
class Notebook:
    """The cells of one notebook in their order."""

    uri: str
    version: int | None
    cells: tuple[Cell, ...]


class NotebookStore:
    """Open notebooks by URI, and which notebook a cell belongs to."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._notebooks: dict[str, Notebook] = {}
        self._home: dict[str, str] = {}

    def open(self, uri: str, version: int | None, cells: Iterable[Cell]) -> None:
        """Take a notebook over; the texts of its cells are opened in the document store by the caller."""
        self._forget(uri)
        self._keep(Notebook(uri, version, tuple(cells)))

    def splice(self, uri: str, version: int | None, start: int, delete_count: int, cells: Sequence[Cell]) -> None:
        """Replace ``delete_count`` cells from ``start`` on with ``cells``: insert, delete and, in two steps, move."""
        notebook = self._notebooks.get(uri)
        if notebook is None:
            logger.warning("change of a notebook that is not open: %s", uri)
            return
        kept = list(notebook.cells)
        kept[start : start + delete_count] = cells
        self._forget(uri)
        self._keep(Notebook(uri, version, tuple(kept)))

    def update(self, uri: str, version: int | None, cells: Iterable[Cell]) -> None:
        """Take over what changed about cells that stay where they are (their kind)."""
        notebook = self._notebooks.get(uri)
        if notebook is not None:
            changed = {cell.uri: cell for cell in cells}
            kept = tuple(changed.get(cell.uri, cell) for cell in notebook.cells)
            self._keep(replace(notebook, version=version, cells=kept))

    def close(self, uri: str) -> None:
        """Drop the notebook and close the documents of its cells."""
        for cell in self._forget(uri):
            self._documents.close(cell.uri)

    def notebook_of(self, cell_uri: str) -> str | None:
        """URI of the notebook a cell is in."""
        return self._home.get(cell_uri)

    def cells_of(self, uri: str) -> tuple[str, ...]:
        """URIs of the cells of a notebook, in their order."""
        notebook = self._notebooks.get(uri)
        return tuple(cell.uri for cell in notebook.cells) if notebook else ()

    def preceding(self, cell_uri: str) -> str:
        """The code cells above a cell in its language, one after the other, each ending with a line end.

        Empty for the first cell and for a document that is no cell.
        """
        notebook = self._notebooks.get(self._home.get(cell_uri, ""))
        own = self._documents.get(cell_uri)
        if notebook is None or own is None:
            return ""
        texts: list[str] = []
        for cell in notebook.cells:
            if cell.uri == cell_uri:
                break
            document = self._documents.get(cell.uri) if cell.code else None
            if document is not None and document.language == own.language:
                texts.append(document.text)
        return "".join(text if text.endswith(("\n", "\r")) else f"{text}\n" for text in texts if text)

    def _keep(self, notebook: Notebook) -> None:
        self._notebooks[notebook.uri] = notebook
        self._home.update((cell.uri, notebook.uri) for cell in notebook.cells)

    def _forget(self, uri: str) -> tuple[Cell, ...]:
        notebook = self._notebooks.pop(uri, None)
        if notebook is None:
            return ()
        for cell in notebook.cells:
            self._home.pop(cell.uri, None)
        return notebook.cells
