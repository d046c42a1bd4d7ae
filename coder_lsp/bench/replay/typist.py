"""The typist: presses the keys of a visit when the trace says, and takes what he meant to type anyway.

He takes a suggestion when what it shows equals what comes next, to the end of the line at least, and of a longer one as
many whole lines as are right; he needs a moment to notice it. At a line's end he rests as long as planned. At the start
of a line he looks for a suggestion as long as his patience lasts; a wrong one makes him type on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from coder_lsp.bench.replay.screen import Screen
    from coder_lsp.bench.replay.trace import Visit

NOTICE_S = 0.15
"""From ghost text being there to doing something about it; a simple visual reaction takes 0.2 s, a habit less."""
PAUSE_S = 0.3
"""Shorter rests are part of typing."""


@dataclass(frozen=True)
class ModelRequest:
    """One evaluation by the model, as its server tells: tokens, and whether anybody waited for it."""

    evaluated: int
    generated: int
    background: bool = False
    cancelled: bool = False
    prompt: int = 0
    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    client: str = field(default="", compare=False)
    """For whom, at a server that several share; who that was makes it no other evaluation."""
    queued_ms: int = field(default=0, compare=False)


class Subject(Protocol):
    """An editor with something behind it that suggests. Lives on one event loop."""

    name: str
    screen: Screen

    async def enter(self, visit: Visit) -> None:
        """Go to the place; nothing is typed yet."""
        ...

    def press(self, text: str) -> None:
        """A key inserted ``text`` at the cursor."""
        ...

    def accept(self, text: str) -> None:
        """The beginning of the ghost text was taken."""
        ...

    async def leave(self) -> None:
        """Save the file; return once nothing is under way that was asked for."""
        ...

    def requests(self) -> list[ModelRequest]:
        """What the model was asked since the last call."""
        ...


@dataclass(frozen=True)
class Stop:
    """A rest: ``waited_s`` until a suggestion was on screen (0: it was there already), None if none came in time."""

    line_start: bool
    planned_s: float
    waited_s: float | None
    taken: int = 0
    """Characters that were accepted in it."""


@dataclass
class VisitRecord:
    """What happened in one visit. Characters are counted in keys."""

    characters: int
    returning: bool
    saved: int = 0
    accepted: int = 0
    """Suggestions taken."""
    keys: int = 0
    """Keys pressed and suggestions taken: how often a suggestion was due."""
    stops: list[Stop] = field(default_factory=list)
    first_shown_s: float | None = None
    """From the first key to the first suggestion; None: there was none in the whole visit."""
    elapsed_s: float = 0.0
    """From the first key to the last."""


class Typist:
    """Types visits on one subject. ``patience_s`` is how long he waits for a suggestion at the start of a line."""

    def __init__(self, subject: Subject, patience_s: float) -> None:
        self._subject = subject
        self._screen = subject.screen
        self._patience_s = patience_s

    async def type(self, visit: Visit) -> VisitRecord:
        """One visit, from coming to the place to leaving it."""
        subject, screen, keys = self._subject, self._screen, visit.keys
        record = VisitRecord(len(keys), visit.returning)
        text = visit.text
        ends = [0, *accumulate(len(key.text) for key in keys)]
        await subject.enter(visit)
        await asyncio.sleep(visit.look_s)
        before = len(screen.shown)
        began_s = _now()
        position = 0
        while position < len(keys):
            ahead = text[ends[position] :]
            if position:
                taken = await self._rest(record, visit, position, ahead)
                if taken:
                    subject.accept(taken)
                    after = ends.index(ends[position] + len(taken))
                    record.accepted += 1
                    record.saved += after - position
                    record.keys += 1
                    position = after
                    continue
            subject.press(keys[position].text)
            record.keys += 1
            position += 1
        record.elapsed_s = _now() - began_s
        if len(screen.shown) > before:
            record.first_shown_s = screen.shown[before].shown_s - began_s
        await subject.leave()
        return record

    async def _rest(self, record: VisitRecord, visit: Visit, position: int, ahead: str) -> str:
        """The time between two keys; returns what is taken of a suggestion in it."""
        key = visit.keys[position]
        line_start = visit.keys[position - 1].ends_line
        duration_s = self._patience_s if line_start else key.after_s
        began_s = _now()
        seen = bool(self._screen.ghost)
        shown = len(self._screen.shown)
        taken = await self._watch(duration_s, ahead, leave=line_start)
        if line_start and not taken:
            # A wrong suggestion at once must not make him type faster than he can.
            await asyncio.sleep(max(0.0, began_s + key.after_s - _now()))
        if line_start or (key.ends_line and duration_s >= PAUSE_S):
            waited_s = 0.0 if seen else None
            if not seen and len(self._screen.shown) > shown:
                waited_s = self._screen.shown[shown].shown_s - began_s
            record.stops.append(Stop(line_start, duration_s, waited_s, len(taken)))
        return taken

    async def _watch(self, seconds: float, ahead: str, *, leave: bool) -> str:
        """Look at the screen; what of it is right, as soon as that is noticed. ``leave``: at any suggestion."""
        screen = self._screen
        deadline_s = _now() + seconds
        while True:
            noticed_s = screen.since_s + NOTICE_S
            if screen.ghost and _now() >= noticed_s:
                right = right_lines(screen.ghost, ahead)
                if right or leave:
                    return right
                noticed_s = deadline_s
            elif not screen.ghost:
                noticed_s = deadline_s
            until_s = noticed_s if leave else min(noticed_s, deadline_s)
            if _now() >= until_s:
                return ""
            await screen.change(until_s)


def right_lines(ghost: str, ahead: str) -> str:
    r"""The beginning of ``ghost`` that is right, in whole lines: ``right_lines("a)\n  b", "a)\n  c") == "a)"``.

    Empty where not even the first line is, or where only blank lines are.
    """
    ends = [at for at, character in enumerate(ghost) if character == "\n"] + [len(ghost.rstrip()), len(ghost)]
    right = 0
    for end in sorted(ends):
        fits = ahead.startswith(ghost[:end]) and (end == len(ahead) or ahead[end : end + 1] == "\n")
        if fits and ghost[:end].strip():
            right = end
    return ghost[:right]


def _now() -> float:
    return asyncio.get_running_loop().time()
