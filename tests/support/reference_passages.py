"""Which lines of other files to show, the slow way: what ``native/src/passages.cpp`` must give, bit by bit.

Sums go from left to right, a line's names in the order of the line: that is how C++ adds, whatever Python's ``sum`` or
the order of a set make of it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.retrieval.passages import Lines, Passage, estimated_tokens
from coder_lsp.retrieval.place import IDENTIFIER, KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW_LINES = 3
GAP_LINES = 4
FILE_TOKENS = 10.0


def choose(
    candidates: Mapping[int, Lines], known: frozenset[str], budget: float, *, share: float, least: float
) -> list[Passage]:
    """As ``coder_lsp.retrieval.passages.choose``."""
    return _Choice(candidates, known | KEYWORDS, budget, share, least).run()


@dataclass(frozen=True)
class _Window:
    file: int
    lines: tuple[int, ...]
    weight: float


class _Choice:
    """One greedy run: a heap of windows by worth, looked at again when names they bring were taken meanwhile."""

    def __init__(
        self, candidates: Mapping[int, Lines], known: frozenset[str], budget: float, share: float, least: float
    ) -> None:
        self.candidates = dict(sorted(candidates.items()))
        self.left = budget
        self.share = share * budget
        self.least = least
        self.mass: dict[str, float] = {}
        self.names: dict[tuple[int, int], list[str]] = {}
        self.costs: dict[tuple[int, int], float] = {}
        self.spent: dict[int, float] = {}
        for file, lines in self.candidates.items():
            for number, weight in sorted(lines.weights.items()):
                found = [name for name in dict.fromkeys(IDENTIFIER.findall(lines.text[number])) if name not in known]
                self.names[file, number] = found
                self.costs[file, number] = estimated_tokens(lines.text[number])
                for name in found:
                    self.mass[name] = self.mass.get(name, 0.0) + weight

    def run(self) -> list[Passage]:
        windows = [window for file, lines in self.candidates.items() for window in _windows(file, lines)]
        heap = [(-self.worth_at_most(window), number) for number, window in enumerate(windows)]
        heap = [(worth, number) for worth, number in heap if worth]
        heapq.heapify(heap)
        chosen: list[Passage] = []
        while heap and self.left > FILE_TOKENS:
            _, number = heapq.heappop(heap)
            window = windows[number]
            worth = self.worth(window)
            if worth <= self.least:
                continue
            if heap and worth < -heap[0][0]:
                heapq.heappush(heap, (-worth, number))
            elif self.take(window):
                lines = self.candidates[window.file]
                best = max(window.lines, key=lines.weights.__getitem__)
                chosen.append(Passage(window.file, window.lines, worth, lines.sources[best]))
        return chosen

    def worth_at_most(self, window: _Window) -> float:
        """As if its lines shared no name and no other line of its file were taken."""
        gain = _total(_total(self.mass[name] for name in self.names[window.file, line]) for line in window.lines)
        return gain * window.weight / (FILE_TOKENS + self.line_costs(window))

    def worth(self, window: _Window) -> float:
        names = dict.fromkeys(name for line in window.lines for name in self.names[window.file, line])
        gain = _total(self.mass[name] for name in names)
        return gain * window.weight / (self.cost(window) + 1e-9) if gain else 0.0

    def cost(self, window: _Window) -> float:
        return (0.0 if window.file in self.spent else FILE_TOKENS) + self.line_costs(window)

    def line_costs(self, window: _Window) -> float:
        return _total(self.costs[window.file, line] for line in window.lines)

    def take(self, window: _Window) -> bool:
        cost = self.cost(window)
        spent = self.spent.get(window.file, 0.0) + cost
        if cost > self.left or spent > self.share:
            return False
        self.left -= cost
        self.spent[window.file] = spent
        for line in window.lines:
            self.costs[window.file, line] = 0.0
            for name in self.names[window.file, line]:
                self.mass[name] = 0.0
        return True


def _windows(file: int, lines: Lines) -> list[_Window]:
    """Runs of up to three candidate lines, one from each."""
    numbers = sorted(lines.weights)
    windows = []
    for start in range(len(numbers)):
        end = start + 1
        while end < min(start + WINDOW_LINES, len(numbers)) and numbers[end] - numbers[end - 1] <= GAP_LINES:
            end += 1
        window = tuple(numbers[start:end])
        windows.append(_Window(file, window, max(lines.weights[line] for line in window)))
    return windows


def _total(values: Iterable[float]) -> float:
    """``sum`` compensates for rounding since Python 3.12."""
    total = 0.0
    for value in values:
        total += value
    return total
