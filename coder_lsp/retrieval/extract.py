"""From the text of one file to what the index keeps of it. Pure: runs in worker processes, reads no disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.languages import by_path
from coder_lsp.retrieval.bm25 import pack
from coder_lsp.retrieval.chunk import Chunk, cut
from coder_lsp.syntax.outline import outline

if TYPE_CHECKING:
    from coder_lsp.syntax.outline import Outline


@dataclass(frozen=True)
class Extract:
    """What the index keeps of a file, its text apart. ``terms`` are the packed BM25 terms of ``chunks``, in order."""

    language: str
    lines: int
    chunks: tuple[Chunk, ...]
    terms: bytes
    outline: Outline


def extract(path: str, text: str) -> Extract:
    """Chunks, terms, definitions and imports of a file. ``path`` tells the language; never raises."""
    language = by_path(path)
    found = outline(language, text)
    # Only "\n" ends a line here, as in the syntax tree: str.splitlines also splits at form feeds.
    lines = text.split("\n")
    chunks = cut(lines, {definition.start_line for definition in found.definitions})
    terms = pack(["\n".join(lines[chunk.start_line : chunk.end_line]) for chunk in chunks])
    return Extract(language.id, len(lines), chunks, terms, found)
