"""The store follows the editor: its versions are checked, its text is believed."""

from __future__ import annotations

import logging

import pytest

from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import ClientRange, DocumentStore, Edit

URI = "file:///a.py"


@pytest.fixture
def store() -> DocumentStore:
    store = DocumentStore(Encoding.UTF16)
    store.open(URI, "python", 1, "one\n")
    return store


def insert(line: int, character: int, text: str) -> Edit:
    return Edit(text, ClientRange(line, character, line, character))


def test_an_opened_document_is_there_as_sent(store: DocumentStore) -> None:
    document = store.get(URI)
    assert document is not None
    assert (document.language, document.version, document.text) == ("python", 1, "one\n")


def test_each_edit_of_one_change_is_placed_in_the_result_of_the_one_before(store: DocumentStore) -> None:
    document = store.change(URI, 2, [insert(0, 0, "x\n"), insert(1, 3, "!")])
    assert document is not None
    assert document.text == "x\none!\n"


def test_a_change_without_edits_still_moves_the_version(store: DocumentStore) -> None:
    document = store.change(URI, 2, [])
    assert document is not None
    assert document.version == 2


def test_an_old_version_is_logged_and_applied(store: DocumentStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        document = store.change(URI, 1, [insert(0, 0, "x")])
    assert document is not None
    assert document.text == "xone\n"
    assert "version 1 after 1" in caplog.text


def test_a_gap_is_reported_once(store: DocumentStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for version in (5, 9, 12):
            store.change(URI, version, [insert(0, 0, "x")])
    assert caplog.text.count("follows") == 1


def test_steps_of_one_log_nothing(store: DocumentStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        store.change(URI, 2, [insert(0, 0, "x")])
    assert caplog.text == ""


def test_closing_drops_the_document(store: DocumentStore) -> None:
    store.close(URI)
    assert store.get(URI) is None
    assert not store.is_open(URI)
    assert store.change(URI, 3, [insert(0, 0, "x")]) is None


def test_out_of_step_has_no_snapshot_until_the_whole_text_comes(store: DocumentStore) -> None:
    store.mark_out_of_step(URI)
    assert store.get(URI) is None
    assert store.change(URI, 3, [insert(0, 0, "x")]) is None
    document = store.change(URI, 4, [Edit("whole")])
    assert document is not None
    assert document.text == "whole"


def test_opening_again_ends_being_out_of_step(store: DocumentStore) -> None:
    store.mark_out_of_step(URI)
    store.open(URI, "python", 1, "again")
    assert store.get(URI) is not None


def test_no_log_line_carries_text(store: DocumentStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        store.change(URI, 1, [insert(0, 0, "secret")])
        store.change("file:///other", 1, [insert(0, 0, "secret")])
        store.mark_out_of_step(URI)
    assert "secret" not in caplog.text
