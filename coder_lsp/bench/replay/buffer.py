"""The text of the document that is typed into, around the cursor."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Buffer:
    """One open document; the cursor is between ``before`` and ``after``."""

    path: str = ""
    before: str = field(default="", repr=False)
    after: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        return self.before + self.after

    @property
    def line(self) -> int:
        """Of the cursor, counted from 0."""
        return self.before.count("\n")

    @property
    def column(self) -> int:
        """Of the cursor, in characters; files that are replayed are ASCII, so these are units of any encoding."""
        return len(self.before) - (self.before.rfind("\n") + 1)

    def insert(self, text: str) -> None:
        self.before += text
