"""The reference: context as CrossCodeEval retrieves it (Ding et al. 2023, arXiv 2310.11248, §3).

Blank lines are dropped, the other files of the language cut into chunks of ten lines, the last ten non-blank lines
before the cursor searched for with Okapi BM25, and of each of the five best chunks the one that follows is shown (the
chunk itself at the end of its file), commented out, with the paper's headers, cut to the budget. Written from the
paper, for comparison only; uses nothing of ``retrieval``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError
from coder_lsp.languages import by_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coder_lsp.evaluate.tasks import Task

CHUNK_LINES = 10
QUERY_LINES = 10
TOP = 5
INTRODUCTION = "Here are some relevant code fragments from other files of the repo:"
HEADER = "the below code fragment can be found in:"


@dataclass(frozen=True)
class Fragment:
    """A chunk of one file; ``start_line`` and ``end_line`` count its non-blank lines."""

    path: str
    start_line: int
    end_line: int
    lines: tuple[str, ...]
    score: float = 0.0


class Reference:
    """The recipe over one repository; ``texts`` are its files by path.

    :raises CoderLspError: rank_bm25 is not installed.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._bm25 = _okapi()
        self._chunks: dict[str, list[Fragment]] = {}
        self._tokens: dict[str, list[list[str]]] = {}
        for path, text in sorted(texts.items()):
            self._chunks[path] = chunks = cut(path, text)
            self._tokens[path] = [tokens("\n".join(chunk.lines)) for chunk in chunks]
        self._indexes: dict[str, tuple[list[Fragment], list[Fragment], Any]] = {}

    def fragments(self, task: Task) -> list[Fragment]:
        """What is shown for a task, the best first."""
        found, following, index = self._index(task.path)
        if index is None:
            return []
        scores = [float(score) for score in index.get_scores(tokens("\n".join(_last(task.prefix))))]
        best = sorted(range(len(found)), key=lambda number: -scores[number])[:TOP]
        return [_scored(following[number], scores[number]) for number in best]

    def block(self, task: Task) -> str:
        """The same as text, not cut yet."""
        comment = next(iter(by_path(task.path).line_comments), "#")
        return written(self.fragments(task), comment)

    def _index(self, path: str) -> tuple[list[Fragment], list[Fragment], Any]:
        """Chunks of all files but one, what follows each, and a search over them."""
        if path not in self._indexes:
            language = by_path(path).id
            others = [other for other in self._chunks if other != path and by_path(other).id == language]
            found = [chunk for other in others for chunk in self._chunks[other]]
            following = []
            for other in others:
                chunks = self._chunks[other]
                following += [*chunks[1:], *chunks[-1:]]
            corpus = [words for other in others for words in self._tokens[other]]
            self._indexes[path] = (found, following, self._bm25(corpus) if corpus else None)
        return self._indexes[path]


def cut(path: str, text: str) -> list[Fragment]:
    """Ten non-blank lines each, the last one what is left."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = range(0, len(lines), CHUNK_LINES)
    return [
        Fragment(path, start, min(start + CHUNK_LINES, len(lines)), tuple(lines[start : start + CHUNK_LINES]))
        for start in starts
    ]


def tokens(text: str) -> list[str]:
    return [word for word in re.split(r"\W+", text) if word]


def written(fragments: list[Fragment], comment: str = "#") -> str:
    """Fragments as the paper's prompts have them; nothing without any."""
    if not fragments:
        return ""
    parts = [f"{comment} {INTRODUCTION}\n\n"]
    for fragment in fragments:
        body = "".join(f"{comment} {line}\n" for line in fragment.lines)
        parts.append(f"{comment} {HEADER}\n{comment} {fragment.path}\n{body}\n")
    return "".join(parts)


def _last(prefix: str) -> list[str]:
    return [line for line in prefix.splitlines() if line.strip()][-QUERY_LINES:]


def _scored(fragment: Fragment, score: float) -> Fragment:
    return Fragment(fragment.path, fragment.start_line, fragment.end_line, fragment.lines, score)


def _okapi() -> Any:
    try:
        from rank_bm25 import BM25Okapi
    except ImportError as error:
        raise CoderLspError(
            "the reference recipe needs rank_bm25, which is not installed",
            hint="pip install 'coder-lsp[eval]', or leave it out with --no-reference",
        ) from error
    return BM25Okapi
