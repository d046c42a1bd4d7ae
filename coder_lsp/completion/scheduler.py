"""When to ask the model: at once, or a moment later because the next key is on its way.

An answer that comes before the next key is worth asking for at every key. A model that is slower than the keys answers
none of them, and only the request behind the last key of a burst counts; so while that is how things are, a request
waits until the gap between keys is over. Waiting is only worth it where it can outlast a gap, so a user whose keys
come more slowly than :data:`MOST_DELAY_S` waits for nothing.

Time comes through a :class:`Clock`, so that a test decides what time it is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

MOST_DELAY_S = 0.15
PAUSE_S = 0.5
"""A longer gap is no typing: the user reads or thinks."""
_GAPS = 4
"""Keys that make a burst; fewer say nothing about the next one."""
_LATENCIES = 8
_OUTLASTS = 1.2
"""How much longer than the usual gap the wait is, as gaps vary."""
_KEEPS_UP = 0.9
"""Share of a gap within which an answer has to come to be seen before the next key."""
_AT_A_STOP = 0.5
"""What is left of the wait where people stop: at the start of a line, at the end of a word, of an expression."""


class Clock(Protocol):
    """Seconds, and waiting for them to pass."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float, /) -> None: ...


class LoopClock:
    """The real one."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float, /) -> None:
        await asyncio.sleep(seconds)


class Pace:
    """How fast keys come and answers follow, in seconds."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._last: float | None = None
        self.pause = 0.0
        """Between the last two keys, however long."""

    def key(self, now: float) -> None:
        """A request came by itself, which is a key."""
        if self._last is not None:
            gap = self.pause = now - self._last
            if gap > PAUSE_S:
                self._gaps.clear()
            else:
                self._gaps.append(gap)
        self._last = now

    def answered(self, seconds: float) -> None:
        """The model took so long."""
        self._latencies.append(seconds)

    def overtaken(self, seconds: float) -> None:
        """The next key came when the model had worked so long; it would have needed longer still."""
        if seconds > self.latency:
            self._latencies.append(seconds)

    @property
    def gap(self) -> float:
        """Mean gap between the latest keys; 0 outside a burst."""
        return sum(self._gaps) / len(self._gaps) if len(self._gaps) == _GAPS else 0.0

    @property
    def latency(self) -> float:
        """Mean time of the latest answers, overtaken ones included; 0 before the first."""
        return sum(self._latencies) / len(self._latencies) if self._latencies else 0.0

    def delay(self, head: str) -> float:
        """How long to wait before the model is asked; ``head`` is the cursor's line before it.

        Keys 0.1 s apart and answers that take 0.4 s make 0.12 s inside a word, 0.06 s behind a bracket; with answers
        in 0.08 s, or keys 0.2 s apart, there is nothing to wait for.
        """
        gap = self.gap
        wait = gap * _OUTLASTS
        if not gap or self.latency < gap * _KEEPS_UP or wait > MOST_DELAY_S:
            return 0.0
        in_word = head[-1:].isalnum() or head.endswith("_")
        return wait if in_word else wait * _AT_A_STOP
