"""One open document at one version: an immutable snapshot that a request can keep while the user types on.

Holds text and line starts and converts between offsets and the client's positions. It does not know where versions
come from (:mod:`coder_lsp.documents.store`) nor what the text means. Offsets are code points.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from coder_lsp.documents.lines import line_starts, moved_line_starts
from coder_lsp.documents.positions import Encoding, code_points_before, units_of

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """``text`` at ``version``. Make one with :meth:`of`; a ``repr`` never shows text, so that no log does."""

    uri: str
    language: str
    version: int | None
    text: str = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    """Offset of each line's first code point; at least one."""

    @classmethod
    def of(cls, uri: str, language: str, version: int | None, text: str) -> Document:
        whole = well_formed(text)
        return cls(uri, language, version, whole, line_starts(whole))

    def replaced(self, start: int, end: int, new: str, version: int | None) -> Document:
        """The document with ``new`` in place of ``[start, end)``, ``0 <= start <= end <= len(text)``."""
        new = well_formed(new)
        text = f"{self.text[:start]}{new}{self.text[end:]}"
        starts = moved_line_starts(self.starts, text, start, end, start + len(new))
        return Document(self.uri, self.language, version, text, starts)

    def line_at(self, offset: int) -> int:
        """The line an offset is in; its line end belongs to it."""
        return bisect_right(self.starts, offset) - 1

    def line_span(self, line: int) -> tuple[int, int]:
        """Where ``line`` begins and ends, without its line end."""
        start = self.starts[line]
        if line + 1 == len(self.starts):
            return start, len(self.text)
        end = self.starts[line + 1] - 1
        if end > start and self.text[end] == "\n" and self.text[end - 1] == "\r":
            end -= 1
        return start, end

    def offset_at(self, line: int, character: int, encoding: Encoding) -> int:
        """The offset of a client's position.

        Clamped as LSP wants it: a column beyond the line is the line's end (before its line end), a line beyond the
        document is the document's end, a column inside a code point is that code point's start.
        """
        if line < 0:
            return 0
        if line >= len(self.starts):
            return len(self.text)
        start, end = self.line_span(line)
        # No unit is longer than a code point, so a line need not be read beyond `character` code points.
        end = min(end, start + max(character, 0) + 1)
        return start + code_points_before(self.text[start:end], character, encoding)

    def position_at(self, offset: int, encoding: Encoding) -> tuple[int, int]:
        r"""Line and column, in the client's units, of an offset; between ``\r`` and ``\n`` it is the line's end."""
        offset = min(max(offset, 0), len(self.text))
        line = self.line_at(offset)
        start, end = self.line_span(line)
        return line, units_of(self.text[start : min(offset, end)], encoding)


def well_formed(text: str) -> str:
    """``text`` with each lone surrogate as U+FFFD.

    JSON can carry half a character, no encoder takes one. The length stays the same in UTF-16 units and code points.
    """
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
