"""Between the protocol's types and ours, without a server: properties that hold for any text, encoding and place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types as lsp

from coder_lsp.documents.document import Document
from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import DocumentStore, Edit
from coder_lsp.server import convert
from coder_lsp.server.roots import Location
from coder_lsp.types import Suggestion

texts = st.text(alphabet="ab_ (é€😀\t\r\n\x0c\u2028", max_size=20)
encodings = st.sampled_from(Encoding)


def place_in(text: str, cursor: int, encoding: Encoding, selected: convert.Selected | None = None) -> convert.Place:
    return convert.Place(Document.of("u", "python", 1, text), cursor, encoding, selected=selected)


@st.composite
def places(draw: st.DrawFn) -> convert.Place:
    """A cursor that an LSP position can name, in any text."""
    text, encoding = draw(texts), draw(encodings)
    document = Document.of("u", "python", 1, text)
    cursor = draw(st.integers(0, len(text)).filter(lambda at: text[at - 1 : at + 1] != "\r\n" or at == 0))
    return convert.Place(document, cursor, encoding)


def applied(place: convert.Place, where: lsp.Range, text: str) -> str:
    """What the client's document says after taking the item, by the store's own arithmetic."""
    store = DocumentStore(place.encoding)
    store.open("u", "python", 1, place.document.text)
    change = lsp.TextDocumentContentChangePartial(range=where, text=text)
    document = store.change("u", 2, convert.edits([change]))
    assert document is not None
    return document.text


@given(places(), st.integers(0, 3), texts)
def test_taking_an_item_gives_the_document_that_the_suggestion_meant(
    place: convert.Place, after: int, new: str
) -> None:
    text = place.document.text
    suggestion = Suggestion(new, place.cursor, min(place.cursor + after, len(text)))
    meant = text[: suggestion.start] + new + text[suggestion.end :]
    for item in convert.inline_items(place, [suggestion], "id"):
        assert isinstance(item.insert_text, str)
        assert item.range is not None
        assert item.range.start.line == item.range.end.line
        assert applied(place, item.range, item.insert_text) == meant
    for entry in convert.completion_items(place, [suggestion], "id"):
        assert isinstance(entry.text_edit, lsp.TextEdit)
        assert applied(place, entry.text_edit.range, entry.text_edit.new_text) == meant


@given(places(), texts.filter(lambda text: text.strip() != ""))
def test_an_entry_survives_filtering_by_the_word_before_the_cursor(place: convert.Place, new: str) -> None:
    for entry in convert.completion_items(place, [Suggestion(new, place.cursor, place.cursor)], "id"):
        assert isinstance(entry.text_edit, lsp.TextEdit)
        start = entry.text_edit.range.start
        typed = place.document.text[
            place.document.offset_at(start.line, start.character, place.encoding) : place.cursor
        ]
        assert entry.filter_text is not None
        assert entry.filter_text.startswith(typed)


@given(places(), st.integers(0, 3), st.text("pq", min_size=1, max_size=4), st.text("rs", min_size=1, max_size=4))
def test_with_an_entry_selected_the_item_goes_on_from_it(
    place: convert.Place, back: int, chosen: str, new: str
) -> None:
    start = max(place.document.line_span(place.document.line_at(place.cursor))[0], place.cursor - back)
    selected = convert.Selected(start, place.cursor, chosen)
    place = place_in(place.document.text, place.cursor, place.encoding, selected)
    request = convert.completion_request(place, Location("a.py", "/r"))
    assert request.text == place.document.text[:start] + chosen + place.document.text[place.cursor :]
    assert request.text[: request.cursor].endswith(chosen)
    [item] = convert.inline_items(place, [Suggestion(new, request.cursor, request.cursor)], "id")
    assert item.insert_text == chosen + new
    assert item.range is not None
    assert applied(place, item.range, chosen + new) == (
        place.document.text[:start] + chosen + new + place.document.text[place.cursor :]
    )


def test_each_item_has_an_id_of_its_own() -> None:
    items = convert.inline_items(place_in("x", 1, Encoding.UTF16), [Suggestion("a", 1, 1), Suggestion("b", 1, 1)], "7")
    assert [item.command.arguments for item in items if item.command] == [["7.0"], ["7.1"]]


def test_a_change_without_range_is_the_whole_text() -> None:
    assert convert.edits([lsp.TextDocumentContentChangeWholeDocument("x")]) == [Edit("x")]
