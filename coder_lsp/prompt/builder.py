"""Builds the tokens of one prompt: template, budget, anchor and the healed last token.

The last token of what was typed is an artefact of where the typing stopped ("retu" is not how "return" begins in any
vocabulary), so it is not evaluated: it is backed over, and the first generated token is constrained to agree with its
bytes (token healing). With an anchored prompt this is what makes the difference between 18 and 30 of 43 exact places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.errors import ContextOverflow
from coder_lsp.languages import by_id
from coder_lsp.prompt.anchor import Placement, place
from coder_lsp.prompt.templates import BoundTemplate, Control, Piece, Slot, Text
from coder_lsp.prompt.tokens import TokenCache

if TYPE_CHECKING:
    from coder_lsp.config import PromptConfig
    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.types import FimRequest, Snippet


@dataclass(frozen=True)
class Prompt:
    """What an engine evaluates. ``forced`` are the bytes of the healed token, owed before anything new."""

    tokens: tuple[int, ...]
    forced: bytes
    stop_tokens: frozenset[int]
    placement: Placement


class PromptBuilder:
    """Builds prompts for one model. Remembers tokens, not documents: the caller keeps each document's placement."""

    def __init__(
        self, vocabulary: Vocabulary, template: BoundTemplate, config: PromptConfig, context_tokens: int
    ) -> None:
        self._cache = TokenCache(vocabulary)
        self._template = template
        self._config = config
        self._context_tokens = context_tokens

    def build(self, request: FimRequest, previous: Placement | None = None) -> Prompt:
        """The prompt for a request; reuses ``previous`` (this document's last placement) where it still holds.

        :raises ContextOverflow: prompt and answer do not fit a sequence even with the budgets as configured.
        """
        snippets = self._within_budget(request)
        suffix = request.suffix if self._template.fills_middle else ""
        placement = place(self._cache, self._config, request.prefix, suffix, snippets=snippets, previous=previous)
        fixed: list[int] = []
        for piece in self._template.template.layout:
            fixed.extend(self._evaluate(piece, request, placement))
        tail = self._cache.vocabulary.tokenize(placement.tail(request.prefix))
        forced = b""
        if tail:
            forced = self._cache.vocabulary.token_bytes(tail.pop())
        elif not fixed:
            # A plain model at the very start of a file without a BOS token has nothing to continue.
            fixed.extend(self._cache.tokenize("\n"))
        tokens = (*fixed, *tail)
        if len(tokens) + request.max_tokens > self._context_tokens:
            raise ContextOverflow(
                f"the prompt has {len(tokens)} tokens and {request.max_tokens} are to be generated, "
                f"but a sequence holds {self._context_tokens}",
                hint="lower prompt.prefix_tokens, or raise engine.context_tokens",
            )
        return Prompt(tokens, forced, self._template.stop_tokens, placement)

    def _within_budget(self, request: FimRequest) -> tuple[Snippet, ...]:
        """The first snippets whose tokens, headers included, fit the context budget."""
        if not self._template.takes_snippets_as_files:
            return ()
        used = 0
        kept: list[Snippet] = []
        for snippet in request.snippets:
            cost = sum(len(self._piece(piece, request, snippet)) for piece in self._template.template.snippet)
            if used + cost > self._config.context_tokens:
                continue
            used += cost
            kept.append(snippet)
        return tuple(kept)

    def _evaluate(self, piece: Piece, request: FimRequest, placement: Placement) -> tuple[int, ...]:
        template = self._template.template
        if piece is Slot.BOS:
            bos = self._cache.vocabulary.bos
            return () if bos is None else (bos,)
        if piece is Slot.PREFIX:
            return self._cache.tokenize(placement.head) if placement.head else ()
        if piece is Slot.SUFFIX:
            return self._cache.tokenize(placement.suffix) if placement.suffix else ()
        if piece is Slot.CONTEXT:
            if not placement.snippets:
                return ()
            ids: list[int] = []
            for part in template.repository:
                ids.extend(self._piece(part, request, None))
            for snippet in placement.snippets:
                for part in template.snippet:
                    ids.extend(self._piece(part, request, snippet))
            for part in template.current:
                ids.extend(self._piece(part, request, None))
            return tuple(ids)
        return self._piece(piece, request, None)

    def _piece(self, piece: Piece, request: FimRequest, snippet: Snippet | None) -> tuple[int, ...]:
        if isinstance(piece, Control):
            return (self._template.ids[piece],)
        assert isinstance(piece, Text)
        text = piece.form.format(
            repository=request.repository or "repository",
            path=snippet.path if snippet else request.path,
            text=snippet.text.rstrip("\n") if snippet else "",
            comment=_comment(request.language),
        )
        return self._cache.tokenize(text)


def _comment(language: str) -> str:
    """What begins a comment line, which heads every file in DeepSeek-Coder's format; ``#`` where there is none."""
    return next(iter(by_id(language).line_comments), "#")
