"""Lines of other files worth showing, and which of them to show when not all fit.

What a model can take from another file are names: the field it could not know, the helper nobody imported yet. So a
passage is worth the names it brings that the document does not have, each by how strongly the workspace's answers
point at it (the more relevant lines hold a name, the likelier it is needed: a relevance model, Lavrenko & Croft 2001),
and passages are taken by worth per token until the budget is full, each name counted once. That is the greedy solution
of budgeted maximum coverage; it drops near-duplicates, of each other and of the document, by itself.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.retrieval.place import IDENTIFIER, KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coder_lsp.languages import Language

WINDOW_LINES = 3
"""Lines that are taken or left together. With one more, or with every second window only, fewer names fit."""
_GAP_LINES = 4
"""Lines further apart are not taken together."""
_FILE_TOKENS = 10.0
"""What introducing a file costs, about: its path and a control token."""


@dataclass
class Lines:
    """Candidate lines of one file. ``weights`` by line number; ``sources`` says which answer weighs most."""

    file: int
    text: list[str] = field(repr=False)
    """All lines of the file."""
    language: Language
    weights: dict[int, float] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)

    def weigh(self, number: int, weight: float, source: str) -> None:
        """A line counts as much as the best answer it is part of."""
        if weight > self.weights.get(number, 0.0):
            self.weights[number] = weight
            self.sources[number] = source


@dataclass(frozen=True)
class Passage:
    """Lines of one file that were chosen together; ``score`` is worth per token, for order and explanation."""

    file: int
    lines: tuple[int, ...]
    score: float
    source: str


def estimated_tokens(line: str) -> float:
    """Tokens of a line with its end, by its length: within 5 % over a block of code (Qwen2.5-Coder's vocabulary).

    The front has no vocabulary; the host cuts the block exactly.
    """
    return 0.22 * len(line.strip()) + 2.7


def choose(
    candidates: Mapping[int, Lines], known: frozenset[str], budget: float, *, share: float, least: float
) -> list[Passage]:
    """Passages within ``budget`` tokens, in the order they were chosen. ``share``: most of it for one file; passages
    worth less than ``least`` a token are not taken, whatever room there is.
    """
    return _Choice(candidates, known, budget, share, least).run()


@dataclass(frozen=True)
class _Window:
    """Candidate lines of one file that are taken together."""

    file: int
    lines: tuple[int, ...]
    names: frozenset[str]
    """What they bring that the document does not have."""
    weight: float


class _Choice:
    """One greedy run: a heap of windows by worth, looked at again when names they bring were taken meanwhile."""

    def __init__(
        self, candidates: Mapping[int, Lines], known: frozenset[str], budget: float, share: float, least: float
    ) -> None:
        self._candidates = candidates
        self._left = budget
        self._share = share * budget
        self._least = least
        self._mass: dict[str, float] = {}
        """How strongly all candidates together point at a name; 0 once it is brought."""
        self._costs: dict[int, dict[int, float]] = {}
        """Tokens of each candidate line; 0 once it is taken."""
        self._spent: dict[int, float] = {}
        self._windows: list[_Window] = []
        for file, lines in sorted(candidates.items()):
            self._prepare(file, lines, known)

    def run(self) -> list[Passage]:
        heap = [(-self._worth(window), number) for number, window in enumerate(self._windows)]
        heapq.heapify(heap)
        chosen: list[Passage] = []
        while heap and self._left > _FILE_TOKENS:
            _, number = heapq.heappop(heap)
            window = self._windows[number]
            worth = self._worth(window)
            if worth <= self._least:
                continue
            if heap and worth < -heap[0][0]:
                heapq.heappush(heap, (-worth, number))
            elif self._take(window):
                lines = self._candidates[window.file]
                best = max(window.lines, key=lines.weights.__getitem__)
                chosen.append(Passage(window.file, window.lines, worth, lines.sources[best]))
        return chosen

    def _prepare(self, file: int, lines: Lines, known: frozenset[str]) -> None:
        names: dict[int, set[str]] = {}
        costs: dict[int, float] = {}
        for number, weight in lines.weights.items():
            text = lines.text[number]
            new = names[number] = set(IDENTIFIER.findall(text)) - known - KEYWORDS
            costs[number] = estimated_tokens(text)
            for name in new:
                self._mass[name] = self._mass.get(name, 0.0) + weight
        self._costs[file] = costs
        for window in _windows(sorted(names)):
            brings = frozenset[str]().union(*(names[number] for number in window))
            if brings:
                self._windows.append(_Window(file, window, brings, max(lines.weights[line] for line in window)))

    def _take(self, window: _Window) -> bool:
        """Spend the tokens of a window; False if it does not fit."""
        cost = self._cost(window)
        spent = self._spent.get(window.file, 0.0) + cost
        if cost > self._left or spent > self._share:
            return False
        self._left -= cost
        self._spent[window.file] = spent
        for line in window.lines:
            self._costs[window.file][line] = 0.0
        for name in window.names:
            self._mass[name] = 0.0
        return True

    def _worth(self, window: _Window) -> float:
        mass = self._mass
        gain = 0.0
        for name in window.names:
            gain += mass[name]
        return gain * window.weight / (self._cost(window) + 1e-9) if gain else 0.0

    def _cost(self, window: _Window) -> float:
        costs = self._costs[window.file]
        cost = 0.0 if window.file in self._spent else _FILE_TOKENS
        for line in window.lines:
            cost += costs[line]
        return cost


def _windows(numbers: list[int]) -> list[tuple[int, ...]]:
    """Runs of up to :data:`WINDOW_LINES` candidate lines, one from each."""
    windows = []
    for start in range(len(numbers)):
        window = [numbers[start]]
        for number in numbers[start + 1 : start + WINDOW_LINES]:
            if number - window[-1] > _GAP_LINES:
                break
            window.append(number)
        windows.append(tuple(window))
    return windows
