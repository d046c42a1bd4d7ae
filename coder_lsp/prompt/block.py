"""The part of a prompt that shows other files: which snippets fit, and their tokens, exactly.

The front ranks snippets and estimates; here they are cut by the model's own tokens, headers included. What matters
least (``score``) goes first, line by line from its end; the order in which the rest is shown stays the given one.
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

    def text(self, block: ContextBlock) -> str:
        """The block as text, control tokens spelled out: for people to look at."""
        vocabulary = self._cache.vocabulary
        spelled = {token: control.spellings[0] for control, token in self._template.ids.items()}
        parts, plain = [], b""
        for token in block.tokens:
            if token in spelled:
                parts += [plain.decode("utf-8", "replace"), spelled[token]]
                plain = b""
            else:
                plain += vocabulary.token_bytes(token)
        return "".join([*parts, plain.decode("utf-8", "replace")])

    def _fitted(self, request: FimRequest, budget: int) -> ContextBlock:
        """Whole snippets by score, the first that does not fit cut; then exactly, by lines off the least."""
        by_score = sorted(range(len(request.snippets)), key=lambda number: -request.snippets[number].score)
        kept: dict[int, list[str]] = {}
        left = budget
        for number in by_score:
            lines = request.snippets[number].text.rstrip("\n").split("\n")
            costs = [self._cache.count(line + "\n") for line in lines]
            while lines and sum(costs[: len(lines)]) > left:
                lines.pop()
            if lines:
                kept[number] = lines
                left -= sum(costs[: len(lines)])
        while kept:
            snippets = tuple(_with(request.snippets[number], kept[number]) for number in sorted(kept))
            tokens = self._ids(request, snippets)
            if len(tokens) <= budget:
                return ContextBlock(snippets, tuple(sorted(kept)), tokens)
            self._shorten(kept, by_score, len(tokens) - budget)
        return ContextBlock()

    def _shorten(self, kept: dict[int, list[str]], by_score: Sequence[int], surplus: int) -> None:
        """Take lines off the ends of the least snippets, as many as ``surplus`` tokens ask for."""
        for number in reversed(by_score):
            lines = kept.get(number, [])
            while lines and surplus > 0:
                surplus -= max(1, self._cache.count(lines.pop() + "\n"))
            if not lines:
                kept.pop(number, None)
            if surplus <= 0:
                return

    def _ids(self, request: FimRequest, snippets: Sequence[Snippet]) -> tuple[int, ...]:
        template = self._template.template
        ids: list[int] = []
        for piece in template.repository:
            ids.extend(self._piece(piece, request))
        # Snippets of one file that follow each other stand under one header.
        for path, group in groupby(snippets, key=lambda snippet: snippet.path):
            text = "\n".join(snippet.text.rstrip("\n") + "\n" for snippet in group)
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


def _with(snippet: Snippet, lines: Sequence[str]) -> Snippet:
    text = "\n".join(lines) + "\n"
    return snippet if text == snippet.text else replace(snippet, text=text)


def _comment(language: str) -> str:
    """What begins a comment line, which heads every file in DeepSeek-Coder's format; ``#`` where there is none."""
    return next(iter(by_id(language).line_comments), "#")
