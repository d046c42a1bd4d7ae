"""Edits of every kind against a document that is too simple to be wrong, over the wire and in all three encodings.

What the server has in the end is what the editor has, character by character, and a position means the same to both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import ALPHABET, drive, session
from hypothesis import strategies as st
from support.naive_document import NaiveDocument

from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import ClientRange, Edit

URI = "file:///a.py"

# Halves of characters are for lsp-orders: a document that has them has no length in UTF-8.
whole = ALPHABET.replace("\ud83d", "").replace("\ude00", "")
lines = st.text(alphabet=whole, max_size=12)
texts = lines | st.lists(lines, max_size=30).map("\n".join) | st.lists(lines, max_size=30).map("\r\n".join)
places = st.tuples(st.integers(0, 12), st.integers(0, 14)) | st.tuples(st.integers(-1, 60), st.integers(-1, 2**31))
ranges = st.builds(lambda one, other: (*min(one, other), *max(one, other)), places, places)
changes = st.lists(st.tuples(ranges, texts) | st.tuples(ranges, lines), max_size=5)
whole_texts = st.lists(st.tuples(st.none(), texts), min_size=1, max_size=1)
documents = st.tuples(
    st.sampled_from([encoding.value for encoding in Encoding]),
    texts,
    st.lists(changes | changes | changes | whole_texts, max_size=25),
    places,
)


def ours(place: int) -> int:
    """As the server reads it: a number below zero is none of LSP's."""
    return max(place, 0)


@target("lsp-edits", documents, share=80)
def lsp_edits(_: Path) -> Iterator[Check]:
    async def talk(spelled: str, text: str, notifications: list[Any], place: tuple[int, int]) -> None:
        naive = NaiveDocument(text, Encoding(spelled))
        async with session() as it:
            capabilities = {"general": {"positionEncodings": [spelled]}, "textDocument": {"inlineCompletion": {}}}
            answer = await it.client.initialize(capabilities)
            assert answer["capabilities"]["positionEncoding"] == spelled
            it.client.open(URI, text)
            for version, edits in enumerate(notifications, start=2):
                it.client.change(URI, version, *edits)
                for where, new in edits:
                    naive.apply(Edit(new, ClientRange(*map(ours, where)) if where else None))
            line, character = map(ours, place)
            at = {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}}
            await it.client.request("textDocument/inlineCompletion", at)
            asked = (await it.client.request("test/requests"))[-1]
            assert asked["text"] == naive.text
            assert asked["cursor"] == naive.offset(line, character)
            assert await it.client.end() == 0

    def check(document: tuple[Any, ...]) -> None:
        watch = drive(lambda: talk(*document))
        assert not watch.harm, watch.harm

    yield check
