"""What every document and every edit is compared with: slow, and too simple to be wrong."""

from __future__ import annotations

from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import Edit

WIDTH = {
    Encoding.UTF8: lambda c: len(c.encode()),
    Encoding.UTF16: lambda c: len(c.encode("utf-16-le")) // 2,
    Encoding.UTF32: lambda _: 1,
}


class NaiveDocument:
    """The reference: lists of characters, walked one at a time, nothing cached."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.text, self.width = text, WIDTH[encoding]

    def offset(self, line: int, character: int) -> int:
        if line < 0:
            return 0
        at = 0
        for _ in range(line):
            while at < len(self.text) and self.text[at] not in "\r\n":
                at += 1
            if at == len(self.text):
                return at
            at += 2 if self.text[at : at + 2] == "\r\n" else 1
        used = 0
        while at < len(self.text) and self.text[at] not in "\r\n":
            used += self.width(self.text[at])
            if used > character:
                break
            at += 1
        return at

    def apply(self, edit: Edit) -> None:
        if edit.range is None:
            self.text = edit.text
            return
        where = edit.range
        start = self.offset(where.start_line, where.start_character)
        end = self.offset(where.end_line, where.end_character)
        start, end = min(start, end), max(start, end)
        self.text = self.text[:start] + edit.text + self.text[end:]
