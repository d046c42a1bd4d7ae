"""Lines of other files worth showing, and which of them to show when not all fit.

What a model can take from another file are names: the field it could not know, the helper nobody imported yet. So a
passage is worth the names it brings that the document does not have, each by how strongly the workspace's answers
point at it (the more relevant lines hold a name, the likelier it is needed: a relevance model, Lavrenko & Croft 2001),
and passages are taken by worth per token until the budget is full, each name counted once. That is the greedy solution
of budgeted maximum coverage; it drops near-duplicates, of each other and of the document, by itself. The loop is in C++
(``native/src/passages.h``) without the GIL: in Python it was half of the time that a block takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.retrieval import _bm25
from coder_lsp.retrieval.place import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coder_lsp.languages import Language

_KEYWORDS = " ".join(sorted(KEYWORDS))


@dataclass
class Lines:
    """Candidate lines of one file. ``weights`` by line number; ``sources`` says which answer weighs most."""

    file: int
    text: list[str] = field(repr=False)
    """All lines of the file."""
    language: Language
    weights: dict[int, float] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    notes: dict[str, frozenset[int]] = field(default_factory=dict, repr=False)
    """What was worked out of the text, by name."""

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


FILE_TOKENS = 10.0
"""What introducing a file costs, about: its path and a control token. The same as in ``native/src/passages.cpp``."""


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
    files = [candidates[file] for file in sorted(candidates)]
    taken = " ".join((*known, _KEYWORDS))
    found = _bm25.choose_passages([_given(lines) for lines in files], taken, budget, share, least)
    return [_passage(files[file], tuple(numbers), worth) for file, numbers, worth in found]


def _given(lines: Lines) -> tuple[list[str], list[int], list[float], list[float]]:
    numbers = sorted(lines.weights)
    text = [lines.text[number] for number in numbers]
    return text, numbers, [lines.weights[number] for number in numbers], [estimated_tokens(line) for line in text]


def _passage(lines: Lines, numbers: tuple[int, ...], worth: float) -> Passage:
    best = max(numbers, key=lines.weights.__getitem__)
    return Passage(lines.file, numbers, worth, lines.sources[best])
