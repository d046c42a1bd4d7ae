"""How far the reading of many files is, told now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Progress:
    """How far the reading of files is. ``total`` grows while ``walking``; the last one has ``finished``."""

    done: int
    total: int
    walking: bool
    finished: bool


class Reporter:
    """Counts, and tells ``on_progress`` ten times a second at most. What is read at once is not worth telling."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress
        self._done = self._total = 0
        self._at = 0.0

    def begin(self, files: int) -> None:
        """So many more are to be read."""
        self._total += files

    def end(self) -> None:
        """One less."""
        self._done += 1

    def tell(self, *, walking: bool, finished: bool) -> None:
        now = time.monotonic()
        if not self._total or (not finished and now < self._at):
            return
        self._at = now + _INTERVAL_S
        self._on_progress(Progress(self._done, self._total, walking, finished))
        if finished:
            self._done = self._total = 0
