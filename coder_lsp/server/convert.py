"""Between the protocol's types and ours: the only place of the server where the client's position units exist.

Edits and cells go to ``documents`` as they come, with the encoding kept there; requests leave here in code points and
suggestions come back in the client's units. Pure functions; a suggestion that the protocol has no form for is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsprotocol import types as lsp

from coder_lsp.documents.notebooks import Cell
from coder_lsp.documents.store import ClientRange, Edit
from coder_lsp.types import CompletionRequest, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coder_lsp.documents.document import Document
    from coder_lsp.documents.positions import Encoding
    from coder_lsp.server.roots import Location
    from coder_lsp.types import Suggestion

ACCEPTED = "coder-lsp.accepted"
"""Command the client runs when a suggestion was taken; its argument is the suggestion's id."""

_LABEL_CHARACTERS = 60
_WORD_BEFORE = re.compile(r"\w*\Z")
_BACKTICKS = re.compile("`+")


@dataclass(frozen=True)
class Selected:
    """The entry highlighted in the client's completion list: ``text`` would replace ``[start, end)``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Place:
    """Where in which snapshot a suggestion is wanted; offsets are code points of ``document``."""

    document: Document
    cursor: int
    encoding: Encoding
    trigger: Trigger = Trigger.AUTOMATIC
    selected: Selected | None = None
    preceding: str = ""
    alternatives: bool = True
    """Whether the client can show more than one suggestion."""


def edits(changes: Iterable[lsp.TextDocumentContentChangeEvent]) -> list[Edit]:
    return [
        Edit(change.text, _client_range(change.range))
        if isinstance(change, lsp.TextDocumentContentChangePartial)
        else Edit(change.text)
        for change in changes
    ]


def cells(notebook_cells: Iterable[lsp.NotebookCell] | None) -> list[Cell]:
    return [Cell(cell.document, code=cell.kind == lsp.NotebookCellKind.Code) for cell in notebook_cells or ()]


def inline_place(
    params: lsp.InlineCompletionParams, document: Document, encoding: Encoding, preceding: str = ""
) -> Place:
    invoked = params.context.trigger_kind == lsp.InlineCompletionTriggerKind.Invoked
    info = params.context.selected_completion_info
    selected = None
    if info is not None:
        start, end = sorted(
            (_offset(document, info.range.start, encoding), _offset(document, info.range.end, encoding))
        )
        selected = Selected(start, end, info.text)
    return Place(
        document,
        _offset(document, params.position, encoding),
        encoding,
        Trigger.INVOKED if invoked else Trigger.AUTOMATIC,
        selected,
        preceding,
    )


def completion_place(
    params: lsp.CompletionParams, document: Document, encoding: Encoding, preceding: str = ""
) -> Place:
    cursor = _offset(document, params.position, encoding)
    kind = params.context.trigger_kind if params.context else lsp.CompletionTriggerKind.Invoked
    # The protocol calls both typing an identifier and asking by hand "invoked"; only a word before the cursor tells.
    by_hand = kind == lsp.CompletionTriggerKind.Invoked and _word_start(document, cursor) == cursor
    trigger = Trigger.INVOKED if by_hand else Trigger.AUTOMATIC
    # One entry is shown; writing others that are not would keep the user waiting.
    return Place(document, cursor, encoding, trigger, None, preceding, alternatives=False)


def offsets(document: Document, given: lsp.Range, encoding: Encoding) -> tuple[int, int]:
    """Where a range begins and ends, in code points; clients may have it the other way round."""
    one, other = sorted((_offset(document, given.start, encoding), _offset(document, given.end, encoding)))
    return one, other


def client_range(document: Document, start: int, end: int, encoding: Encoding) -> lsp.Range:
    """``[start, end)`` in the client's units."""
    return lsp.Range(*(lsp.Position(*document.position_at(at, encoding)) for at in (start, end)))


def completion_request(place: Place, location: Location) -> CompletionRequest:
    """What the completion service is asked.

    With an entry selected in the client's list, the text is the one the document would have after taking it, and the
    cursor is behind it: ghost text has to go on from there. That text has no version.
    """
    document, selected = place.document, place.selected
    text, cursor, version = document.text, place.cursor, document.version
    if selected is not None:
        text = f"{text[: selected.start]}{selected.text}{text[selected.end :]}"
        cursor, version = selected.start + len(selected.text), None
    return CompletionRequest(
        uri=document.uri,
        text=text,
        cursor=cursor,
        language=document.language,
        path=location.path,
        root=location.root,
        version=version,
        trigger=place.trigger,
        preceding=place.preceding,
        alternatives=place.alternatives,
    )


def inline_items(place: Place, suggestions: Sequence[Suggestion], identity: str) -> list[lsp.InlineCompletionItem]:
    """Ghost texts; each begins with the selected entry, if there is one, and replaces what that would replace."""
    items: list[lsp.InlineCompletionItem] = []
    for number, suggestion in enumerate(suggestions):
        placed = _in_document(place, suggestion)
        if placed is None:
            continue
        start, end, text = placed
        items.append(
            lsp.InlineCompletionItem(
                insert_text=text,
                range=_range(place, start, end),
                command=_accepted(f"{identity}.{number}"),
            )
        )
    return items


def completion_items(place: Place, suggestions: Sequence[Suggestion], identity: str) -> list[lsp.CompletionItem]:
    """One entry of a completion list, for clients without ghost text: the first suggestion, whole.

    The edit begins at the word before the cursor, and ``filter_text`` is what the line will say from there on: clients
    match it against that word, also when more of it is typed before the next answer.
    """
    placed = _in_document(place, suggestions[0]) if suggestions else None
    if placed is None:
        return []
    document = place.document
    start, end, text = placed
    word = min(start, _word_start(document, place.cursor))
    text = document.text[word:start] + text
    typed = document.text[word : place.cursor]
    first_line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not first_line:
        return []
    label = first_line if len(first_line) <= _LABEL_CHARACTERS else first_line[: _LABEL_CHARACTERS - 1] + "…"
    return [
        lsp.CompletionItem(
            label=label,
            # Not a snippet, though it is one in everyday words: Helix 25 then takes its text for a template, whatever
            # the format says, and indents all lines once more.
            kind=lsp.CompletionItemKind.Text,
            detail="coder-lsp",
            documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, _fenced(text, document.language)),
            filter_text=first_line if first_line.startswith(typed) else typed,
            insert_text=text,
            insert_text_format=lsp.InsertTextFormat.PlainText,
            insert_text_mode=lsp.InsertTextMode.AsIs,
            text_edit=lsp.TextEdit(_range(place, word, end), text),
            command=_accepted(f"{identity}.0"),
        )
    ]


def _in_document(place: Place, suggestion: Suggestion) -> tuple[int, int, str] | None:
    """Start, end and text of a suggestion in the document itself; None where it cannot be said.

    Both must lie around the cursor on its line (the protocol's rule), and the text begin with a selected entry.
    """
    start, end, text = suggestion.start, suggestion.end, suggestion.text
    document, cursor, selected = place.document, place.cursor, place.selected
    if selected is not None:
        behind = selected.start + len(selected.text)
        if not selected.start <= start <= behind <= end:
            return None
        text = selected.text[: start - selected.start] + text
        start, end = selected.start, selected.end + (end - behind)
        if not text.startswith(selected.text) or text == selected.text:
            return None
    line_start, line_end = document.line_span(document.line_at(cursor))
    if not text or not line_start <= start <= cursor <= end <= line_end:
        return None
    if text == document.text[start:end]:
        return None
    return start, end, text


def _accepted(identity: str) -> lsp.Command:
    return lsp.Command(title="coder-lsp: suggestion accepted", command=ACCEPTED, arguments=[identity])


def _word_start(document: Document, cursor: int) -> int:
    line_start = document.line_span(document.line_at(cursor))[0]
    word = _WORD_BEFORE.search(document.text[line_start:cursor])
    assert word is not None
    return line_start + word.start()


def _fenced(text: str, language: str) -> str:
    """A Markdown code block whose fence is longer than any row of backticks in it."""
    fence = "`" * max(3, 1 + max((len(row) for row in _BACKTICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _client_range(where: lsp.Range) -> ClientRange:
    return ClientRange(where.start.line, where.start.character, where.end.line, where.end.character)


def _offset(document: Document, position: lsp.Position, encoding: Encoding) -> int:
    return document.offset_at(position.line, position.character, encoding)


def _range(place: Place, start: int, end: int) -> lsp.Range:
    return client_range(place.document, start, end, place.encoding)
