"""The part of a prompt that shows other files: which snippets fit, and their tokens, exactly.

The front ranks lines and estimates; here they are cut by the model's own tokens, headers included. What matters least
goes first; the order in which the rest is shown stays the given one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from coder_lsp.languages import by_id
from coder_lsp.prompt.templates import Control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.prompt.templates import BoundTemplate, Piece
    from coder_lsp.prompt.tokens import TokenCache
    from coder_lsp.types import FimRequest, Snippet

_KEPT = 16
"""Blocks remembered: one a document that is being worked on."""


@dataclass(frozen=True)
class ContextBlock:
    """Snippets as the model sees them; ``used`` are their places in what was given, ``tokens`` the ids of all of it."""

    snippets: tuple[Snippet, ...] = ()
    used: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()


class BlockWriter:
    """Writes blocks in one template's format. Remembers the last few: they do not change while the user types."""

    def __init__(self, cache: TokenCache, template: BoundTemplate) -> None:
        self._cache = cache
        self._template = template
        self._blocks: OrderedDict[tuple[object, ...], ContextBlock] = OrderedDict()

    def write(self, request: FimRequest, budget: int) -> ContextBlock:
        """The block of a request's snippets, at most ``budget`` tokens."""
        if not request.snippets or budget <= 0 or not self._template.takes_snippets_as_files:
            return ContextBlock()
        key = (request.snippets, request.repository, request.path, request.language, budget)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = self._fitted(request, budget)
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens of a prompt as text, control tokens spelled out: for people to look at."""
        vocabulary = self._cache.vocabulary
        spelled = {token: control.spellings[0] for control, token in self._template.ids.items()}
        parts, plain = [], b""
        for token in tokens:
            if token in spelled:
                parts += [plain.decode("utf-8", "replace"), spelled[token]]
                plain = b""
            else:
                plain += vocabulary.token_bytes(token)
        return "".join([*parts, plain.decode("utf-8", "replace")])

    def _fitted(self, request: FimRequest, budget: int) -> ContextBlock:
        """The lines that matter most and fit, by the tokens of each alone; then exactly, without the least of them."""
        texts = [snippet.text.rstrip("\n").split("\n") for snippet in request.snippets]
        best_first = sorted(
            (-_score(snippet, line), number, line)
            for number, snippet in enumerate(request.snippets)
            for line in range(len(texts[number]))
        )
        kept: list[tuple[int, int]] = []
        introduced: set[str] = set()
        left = budget - len(self._ids(request, ()))
        cut_off: set[int] = set()
        for _, number, line in best_first:
            if number in cut_off:
                continue
            path = request.snippets[number].path
            cost = self._cache.count(texts[number][line] + "\n")
            if path not in introduced:
                cost += self._header_tokens(request, path)
            if cost <= left:
                left -= cost
                introduced.add(path)
                kept.append((number, line))
            elif not request.snippets[number].line_scores:
                # Where lines go from the end, a short one is not shown without the longer one before it.
                cut_off.add(number)
        while kept:
            shown: dict[int, list[str]] = {}
            for number, line in sorted(kept):
                shown.setdefault(number, []).append(texts[number][line])
            snippets = tuple(_with(request.snippets[number], lines) for number, lines in shown.items())
            tokens = self._ids(request, snippets)
            if len(tokens) <= budget:
                return ContextBlock(snippets, tuple(shown), tokens)
            surplus = len(tokens) - budget
            while kept and surplus > 0:
                number, line = kept.pop()
                surplus -= max(1, self._cache.count(texts[number][line] + "\n"))
        return ContextBlock()

    def _header_tokens(self, request: FimRequest, path: str) -> int:
        # The line end after the text is counted with its last line.
        pieces = self._template.template.snippet
        return sum(len(self._piece(piece, request, path)) for piece in pieces) - self._cache.count("\n")

    def _ids(self, request: FimRequest, snippets: Sequence[Snippet]) -> tuple[int, ...]:
        template = self._template.template
        ids: list[int] = []
        for piece in template.repository:
            ids.extend(self._piece(piece, request))
        # Snippets of one file that follow each other stand under one header.
        for path, group in groupby(snippets, key=lambda snippet: snippet.path):
            text = "\n".join(snippet.text.rstrip("\n") for snippet in group)
            for piece in template.snippet:
                ids.extend(self._piece(piece, request, path, text))
        for piece in template.current:
            ids.extend(self._piece(piece, request))
        return tuple(ids)

    def _piece(self, piece: Piece, request: FimRequest, path: str = "", text: str = "") -> tuple[int, ...]:
        if isinstance(piece, Control):
            return (self._template.ids[piece],)
        return self._cache.tokenize(filled(piece, request, path, text))


def filled(piece: Piece, request: FimRequest, path: str = "", text: str = "") -> str:
    """The literal text of a template's piece for a request, or for one file (``path``, ``text``) of its context."""
    form: str = piece.form  # type: ignore[union-attr]  # slots and controls are the caller's
    return form.format(
        repository=request.repository or "repository",
        path=path or request.path,
        text=text.rstrip("\n"),
        comment=_comment(request.language),
    )


def _score(snippet: Snippet, line: int) -> float:
    return snippet.line_scores[line] if line < len(snippet.line_scores) else snippet.score


def _with(snippet: Snippet, lines: Sequence[str]) -> Snippet:
    text = "\n".join(lines) + "\n"
    return snippet if text == snippet.text else replace(snippet, text=text)


def _comment(language: str) -> str:
    """What begins a comment line, which heads every file in DeepSeek-Coder's format; ``#`` where there is none."""
    return next(iter(by_id(language).line_comments), "#")
