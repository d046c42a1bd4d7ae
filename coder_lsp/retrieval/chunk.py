"""Cuts a file into the chunks that BM25 searches: at most ten lines that say something, beginning anew at definitions.

Ten non-blank lines is the size CrossCodeEval retrieves (arXiv 2310.11248); overlapping ones doubled the index and found
nothing more on the repositories we tried (docs/log.md). What is shown to the model is not a chunk: ``context``
chooses lines in and behind the chunks that were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CHUNK_LINES = 10
"""Non-blank lines of one chunk, at most."""
LEAST_LINES = 4
"""A definition starts a new chunk only if the one before it has so many; else a class of one-liners would be dust."""


@dataclass(frozen=True)
class Chunk:
    """Lines ``[start_line, end_line)``, counted from 0; the first and the last are not blank."""

    start_line: int
    end_line: int


def cut(lines: Sequence[str], starts: Collection[int] = ()) -> tuple[Chunk, ...]:
    """The chunks of a file in order; ``starts`` are the lines on which definitions begin. Blank lines belong to none.

    >>> cut(["a", "", "b"])
    (Chunk(start_line=0, end_line=3),)
    """
    chunks: list[Chunk] = []
    start = end = count = 0
    for number, line in enumerate(lines):
        if not line or line.isspace():
            continue
        if count >= CHUNK_LINES or (count >= LEAST_LINES and number in starts):
            chunks.append(Chunk(start, end))
            count = 0
        if not count:
            start = number
        count += 1
        end = number + 1
    if count:
        chunks.append(Chunk(start, end))
    return tuple(chunks)
