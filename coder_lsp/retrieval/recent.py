"""Where the user was: ranges of lines that were edited or looked at a moment ago, over all documents.

Ranges near each other become one; they move with the lines that are inserted or deleted above them; only a few are
kept, and each counts for less the older it is. Pure: the clock is passed in, in seconds, and files are whatever the
caller names them by. Lines are counted from 0, ranges half-open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

File = TypeVar("File", bound="Hashable")

# Small on purpose: a chunk that BM25 finds has up to 1.0, and where someone was is a weaker hint than what is written.
EDITED = 0.4
VIEWED = 0.15

HALF_LIFE_S = 300.0
MOST_RANGES = 16
JOIN_LINES = 10
"""Ranges of a file with at most so many lines between them are one."""
LONGEST_LINES = 40
"""A range that grew beyond keeps the lines around the latest change; an edit longer than that (a file formatted, a
branch switched) says nothing about where the user is."""
_LEAST = 0.005
"""Lighter ranges are forgotten: half an hour after an edit."""


@dataclass(frozen=True)
class RecentRange(Generic[File]):
    """Lines ``[start_line, end_line)`` of ``file``, and what they count now."""

    file: File
    start_line: int
    end_line: int
    weight: float


@dataclass
class _Kept(Generic[File]):
    file: File
    start_line: int
    end_line: int
    weight: float
    """What it counted ``at`` that time."""
    at: float

    def weight_at(self, now: float) -> float:
        return self.weight * math.pow(0.5, max(0.0, now - self.at) / HALF_LIFE_S)


class RecentRanges(Generic[File]):
    """The last :data:`MOST_RANGES`, the latest first."""

    def __init__(self) -> None:
        self._ranges: list[_Kept[File]] = []

    def edited(self, file: File, start_line: int, old_end_line: int, end_line: int, now: float) -> None:
        """Lines ``[start_line, old_end_line)`` of a file became ``[start_line, end_line)``."""
        self._move(file, start_line, old_end_line, end_line)
        if max(old_end_line, end_line) - start_line <= LONGEST_LINES:
            # What was deleted leaves the place where it was.
            self._add(file, start_line, max(end_line, start_line + 1), EDITED, now)

    def viewed(self, file: File, start_line: int, end_line: int, now: float) -> None:
        """The user looked at these lines."""
        self._add(file, start_line, end_line, VIEWED, now)

    def elsewhere(self, file: File | None, now: float) -> list[RecentRange[File]]:
        """Ranges of all files but this one, the latest first."""
        return [
            RecentRange(kept.file, kept.start_line, kept.end_line, kept.weight_at(now))
            for kept in self._ranges
            if kept.file != file and kept.weight_at(now) >= _LEAST
        ]

    def _move(self, file: File, start: int, old_end: int, end: int) -> None:
        """Ranges go where their lines went; those whose lines are gone go with them."""
        for kept in self._ranges:
            if kept.file == file:
                if kept.start_line >= start:
                    kept.start_line = _moved(kept.start_line, old_end, end)
                # The end is behind the last line: what is inserted there is not in the range.
                if kept.end_line > start:
                    kept.end_line = _moved(kept.end_line, old_end, end)
        self._ranges = [kept for kept in self._ranges if kept.start_line < kept.end_line]

    def _add(self, file: File, start: int, end: int, weight: float, now: float) -> None:
        first, last = start, end
        others = []
        for kept in self._ranges:
            if kept.file == file and kept.start_line <= last + JOIN_LINES and kept.end_line >= first - JOIN_LINES:
                first, last = min(first, kept.start_line), max(last, kept.end_line)
                weight = max(weight, kept.weight_at(now))
            else:
                others.append(kept)
        if last - first > LONGEST_LINES:
            first = max(first, (start + end - LONGEST_LINES) // 2)
            last = min(last, first + LONGEST_LINES)
        self._ranges = [_Kept(file, first, last, weight, now), *others][:MOST_RANGES]


def _moved(line: int, old_end: int, end: int) -> int:
    """Where a line went that is not above the edit."""
    return line + end - old_end if line >= old_end else min(line, end)
