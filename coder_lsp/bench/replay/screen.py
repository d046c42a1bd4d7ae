"""What the typist sees: one piece of ghost text at the cursor, and when it appeared.

Every subject has one. It keeps ghost text as editors do: text that agrees with what is typed stays, shorter by it.
Times are the event loop's, in seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """Ghost text that appeared: when the key was pressed that asked for it, and when it was there."""

    asked_s: float
    shown_s: float
    characters: int
    lines: int

    @property
    def waited_ms(self) -> float:
        return (self.shown_s - self.asked_s) * 1000


class Screen:
    """``ghost`` is empty when there is none; ``since_s`` says when it appeared."""

    def __init__(self) -> None:
        self.ghost = ""
        self.since_s = 0.0
        self.shown: list[Shown] = []
        self._changed = asyncio.Event()

    def show(self, text: str, asked_s: float) -> None:
        """Put text at the cursor in place of what is there; the same text again is not a new one."""
        if text == self.ghost or not text:
            return
        self.ghost = text
        self.since_s = _now()
        self.shown.append(Shown(asked_s, self.since_s, len(text), text.count("\n") + 1))
        self._changed.set()

    def clear(self) -> None:
        self.ghost = ""

    def typed(self, text: str) -> None:
        """Text was inserted at the cursor; what does not go on with it disappears."""
        self.ghost = self.ghost[len(text) :] if self.ghost.startswith(text) else ""

    async def change(self, until_s: float) -> None:
        """Return when ghost text appears, or at ``until_s``."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, until_s - _now()))
        except asyncio.TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
