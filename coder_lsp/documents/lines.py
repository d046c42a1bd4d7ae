r"""Where lines start. Only ``\n``, ``\r\n`` and ``\r`` end a line, as in LSP; ``str.splitlines`` also breaks at form
feeds, U+0085 and U+2028, and an edit placed by its count then lands in another line.

Pure functions on code point offsets; :mod:`coder_lsp.documents.document` keeps what they compute.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

_LINE_END = re.compile(r"\r\n|\r|\n")


def line_starts(text: str) -> tuple[int, ...]:
    r"""Offset of each line's first code point; a text that ends with a line end has an empty last line.

    >>> line_starts("a\r\nb\rc\n")
    (0, 3, 5, 7)
    """
    return (0, *(found.end() for found in _LINE_END.finditer(text)))


def moved_line_starts(starts: tuple[int, ...], text: str, start: int, old_end: int, new_end: int) -> tuple[int, ...]:
    r"""The line starts of ``text``, where ``[start, old_end)`` of the text of ``starts`` became ``[start, new_end)``.

    Only the edited range and one code point on each side are read: an edit can join or part a ``\r`` and a ``\n``
    there. A start up to ``start - 1`` depends on nothing that changed, neither does one from ``old_end + 2`` on.
    """
    kept = bisect_right(starts, start - 1) or 1
    resumed = bisect_left(starts, old_end + 2, lo=kept)
    since = max(starts[kept - 1], start - 1)
    # The window holds one code point more than is asked for, so that no "\r\n" is seen as a "\r" at its end.
    window = _LINE_END.finditer(text, since, min(len(text), new_end + 2))
    found = [at for at in (match.end() for match in window) if starts[kept - 1] < at <= new_end + 1]
    delta = new_end - old_end
    return (*starts[:kept], *found, *[at + delta for at in starts[resumed:]])
