"""A cell is completed with the code above it, wherever cells are moved."""

from __future__ import annotations

import pytest

from coder_lsp.documents.notebooks import Cell, NotebookStore
from coder_lsp.documents.store import DocumentStore

BOOK = "file:///book.ipynb"


@pytest.fixture
def documents() -> DocumentStore:
    return DocumentStore()


@pytest.fixture
def notebooks(documents: DocumentStore) -> NotebookStore:
    documents.open("a", "python", 1, "import os")
    documents.open("b", "markdown", 1, "# words")
    documents.open("c", "python", 1, "x = 1\n")
    documents.open("d", "python", 1, "print(x)")
    notebooks = NotebookStore(documents)
    notebooks.open(BOOK, 1, [Cell("a"), Cell("b", code=False), Cell("c"), Cell("d")])
    return notebooks


def test_preceding_is_the_code_above_line_by_line(notebooks: NotebookStore) -> None:
    assert notebooks.preceding("d") == "import os\nx = 1\n"


def test_the_first_cell_has_nothing_above(notebooks: NotebookStore) -> None:
    assert notebooks.preceding("a") == ""


def test_a_plain_document_has_nothing_above(documents: DocumentStore, notebooks: NotebookStore) -> None:
    documents.open("plain", "python", 1, "y")
    assert notebooks.preceding("plain") == ""
    assert notebooks.notebook_of("plain") is None


def test_cells_of_another_language_are_left_out(documents: DocumentStore, notebooks: NotebookStore) -> None:
    documents.open("sql", "sql", 1, "select 1")
    notebooks.splice(BOOK, 2, 0, 0, [Cell("sql")])
    assert notebooks.preceding("d") == "import os\nx = 1\n"
    assert notebooks.preceding("sql") == ""


def test_an_inserted_cell_counts_for_those_below(documents: DocumentStore, notebooks: NotebookStore) -> None:
    documents.open("new", "python", 1, "y = 2")
    notebooks.splice(BOOK, 2, 3, 0, [Cell("new")])
    assert notebooks.preceding("d") == "import os\nx = 1\ny = 2\n"
    assert notebooks.preceding("new") == "import os\nx = 1\n"


def test_a_last_cell_just_added_has_all_above(documents: DocumentStore, notebooks: NotebookStore) -> None:
    documents.open("last", "python", 1, "")
    notebooks.splice(BOOK, 2, 4, 0, [Cell("last")])
    assert notebooks.preceding("last") == "import os\nx = 1\nprint(x)\n"


def test_a_deleted_cell_counts_no_more(notebooks: NotebookStore) -> None:
    notebooks.splice(BOOK, 2, 0, 1, [])
    assert notebooks.preceding("d") == "x = 1\n"
    assert notebooks.notebook_of("a") is None


def test_a_moved_cell_sees_what_is_above_its_new_place(notebooks: NotebookStore) -> None:
    notebooks.splice(BOOK, 2, 0, 1, [])
    notebooks.splice(BOOK, 3, 3, 0, [Cell("a")])
    assert notebooks.preceding("a") == "x = 1\nprint(x)\n"
    assert notebooks.preceding("c") == ""


def test_a_cell_that_becomes_text_counts_no_more(notebooks: NotebookStore) -> None:
    notebooks.update(BOOK, 2, [Cell("a", code=False)])
    assert notebooks.preceding("d") == "x = 1\n"


def test_closing_a_notebook_closes_its_cells(documents: DocumentStore, notebooks: NotebookStore) -> None:
    notebooks.close(BOOK)
    assert documents.get("d") is None
    assert notebooks.notebook_of("d") is None


def test_a_splice_beyond_the_end_or_of_an_unknown_notebook_does_no_harm(notebooks: NotebookStore) -> None:
    notebooks.splice(BOOK, 2, 99, 99, [Cell("z")])
    notebooks.splice("file:///other.ipynb", 2, 0, 0, [Cell("y")])
    assert notebooks.notebook_of("z") == BOOK
    assert notebooks.notebook_of("y") is None
