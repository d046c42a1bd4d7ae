"""Builds the tokens of one prompt: template, budget, anchor and the healed end.

A prompt is a *frame*, everything that stays while the user types, and the *tail*, what was typed since the anchor. The
caller keeps the frames of its documents; a frame that still holds makes a prompt without looking at the rest again.

The tokens at the end of what was typed are artefacts of where the typing stopped: "seen_respons" ends in "pons", but no
vocabulary continues that to "ponse" where "_response" is one token. So they are not evaluated: they are backed over,
and what is generated must begin with their bytes (token healing). Backing over the last piece of a word, up to its last
underscore, is more often right than over one token: 58 against 44 of 100 cuts inside words, and an anchored prompt
without any healing is worse than an ordinary one (docs/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from coder_lsp.errors import ContextOverflow
from coder_lsp.prompt.anchor import Placement, holds, is_due, last_piece, place
from coder_lsp.prompt.block import BlockWriter, ContextBlock, filled
from coder_lsp.prompt.templates import BoundTemplate, Control, Piece, Slot
from coder_lsp.prompt.tokens import TokenCache
from coder_lsp.types import PromptKind, PromptPreview

if TYPE_CHECKING:
    from coder_lsp.config import PromptConfig
    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.types import FimRequest, Snippet

_HEALED_TOKENS = 6
"""Most tokens backed over; each is decoded again, at 25 ms on two cores. Words in use have fewer (1.4 on average)."""
_SHORT_SUFFIX = 0.25
"""Share of a short prompt's budget that the text after the cursor may take."""


@dataclass(frozen=True)
class Frame:
    """A prompt up to its tail. ``given`` are the snippets it was asked to show, ``block`` what of them fitted."""

    tokens: tuple[int, ...]
    placement: Placement
    kind: PromptKind = PromptKind.FULL
    given: tuple[Snippet, ...] = ()
    block: ContextBlock = field(default_factory=ContextBlock)


@dataclass(frozen=True)
class Prompt:
    """What an engine evaluates. ``forced`` are the bytes of the healed tokens, owed before anything new."""

    tokens: tuple[int, ...]
    forced: bytes
    stop_tokens: frozenset[int]
    frame: Frame

    @property
    def placement(self) -> Placement:
        return self.frame.placement

    @property
    def block(self) -> ContextBlock:
        return self.frame.block


class PromptBuilder:
    """Builds prompts for one model. Remembers tokens, not documents: the caller keeps each document's frame."""

    def __init__(
        self, vocabulary: Vocabulary, template: BoundTemplate, config: PromptConfig, context_tokens: int
    ) -> None:
        self._cache = TokenCache(vocabulary)
        self._blocks = BlockWriter(self._cache, template)
        self._template = template
        self._config = config
        self._context_tokens = context_tokens

    def build(self, request: FimRequest, previous: Placement | None = None) -> Prompt:
        """The full prompt for a request; reuses ``previous`` (this document's last placement) where it still holds.

        :raises ContextOverflow: prompt and answer do not fit a sequence even with the budgets as configured.
        """
        return self.prompt(request, self.frame(request, previous))

    def frame(self, request: FimRequest, previous: Placement | None = None, *, ahead: bool = False) -> Frame:
        """The full frame of a request: the budgets as configured. Shares with ``previous`` what it can.

        ``ahead``: nobody waits for it, so what is due for being made better is made better.
        """
        block = self._blocks.write(request, self._config.context_tokens)
        placement = self._place(request, block, previous, ahead=ahead)
        return self._frame(request, placement, PromptKind.FULL, block)

    def file_frame(self, request: FimRequest, previous: Placement | None = None) -> Frame:
        """The same without a block of other files: ready a third sooner."""
        return self._frame(request, self._place(request, ContextBlock(), previous), PromptKind.FILE, ContextBlock())

    def short_frame(self, request: FimRequest) -> Frame:
        """The lines around the cursor alone, ``prompt.ladder_tokens`` of them."""
        budget = self._config.ladder_tokens
        config = replace(self._config, prefix_tokens=budget, suffix_tokens=int(budget * _SHORT_SUFFIX))
        placement = place(self._cache, config, request.prefix, self._suffix(request))
        return self._frame(request, placement, PromptKind.SHORT, ContextBlock())

    def preview(self, request: FimRequest) -> PromptPreview:
        """The full prompt for a request, made for people to look at.

        :raises ContextOverflow: as :meth:`build`.
        """
        prompt = self.build(request)
        return PromptPreview(
            prompt=self._blocks.text(prompt.tokens) + prompt.forced.decode("utf-8", "replace"),
            tokens=len(prompt.tokens),
            context=self._blocks.text(prompt.block.tokens),
            context_tokens=len(prompt.block.tokens),
            snippets=prompt.block.snippets,
        )

    def holds(self, request: FimRequest, frame: Frame) -> bool:
        """Whether the text that a frame shows is still there, so that it can serve this request.

        Other snippets than it was given do not matter here: a block of a minute ago is better than waiting for a new
        one. They matter for :meth:`is_due`.
        """
        suffix = self._suffix(request)
        return self._config.anchored and holds(self._cache, self._config, frame.placement, request.prefix, suffix)

    def is_due(self, request: FimRequest, frame: Frame) -> bool:
        """Whether a better frame for this request is worth making while nobody waits."""
        if frame.kind is not PromptKind.FULL or frame.given != request.snippets:
            return True
        return self.lags(request, frame)

    def lags(self, request: FimRequest, frame: Frame) -> bool:
        """Whether so much was typed below its anchor that the same frame with another one would be better."""
        return is_due(self._config, frame.placement, request.prefix)

    def prompt(self, request: FimRequest, frame: Frame) -> Prompt:
        """A frame that holds, with the tail of this request.

        :raises ContextOverflow: as :meth:`build`.
        """
        tail, forced = self._heal(frame.placement.tail(request.prefix))
        tokens = (*frame.tokens, *tail)
        if not tokens:
            # A plain model at the very start of a file without a BOS token has nothing to continue.
            tokens = self._cache.tokenize("\n")
        if len(tokens) + request.max_tokens > self._context_tokens:
            raise ContextOverflow(
                f"the prompt has {len(tokens)} tokens and {request.max_tokens} are to be generated, "
                f"but a sequence holds {self._context_tokens}",
                hint="lower prompt.prefix_tokens, or raise engine.context_tokens",
            )
        return Prompt(tokens, forced, self._template.stop_tokens, frame)

    def _frame(self, request: FimRequest, placement: Placement, kind: PromptKind, block: ContextBlock) -> Frame:
        fixed: list[int] = []
        for piece in self._template.template.layout:
            fixed.extend(self._evaluate(piece, request, placement, block))
        return Frame(tuple(fixed), placement, kind, request.snippets, block)

    def _place(
        self, request: FimRequest, block: ContextBlock, previous: Placement | None, *, ahead: bool = False
    ) -> Placement:
        return place(
            self._cache,
            self._config,
            request.prefix,
            self._suffix(request),
            snippets=block.snippets,
            previous=previous,
            ahead=ahead,
        )

    def _suffix(self, request: FimRequest) -> str:
        return request.suffix if self._template.fills_middle else ""

    def _heal(self, text: str) -> tuple[list[int], bytes]:
        """Tokens of ``text`` without those of its last piece of a word, and the bytes of what was left out."""
        vocabulary = self._cache.vocabulary
        # Remembered since the anchor was checked: the same text is not tokenised twice a keystroke.
        tokens = list(self._cache.tokenize(text))
        piece_bytes = len(last_piece(text).encode())
        forced = b""
        for _ in range(_HEALED_TOKENS):
            if not tokens or (forced and len(forced) >= piece_bytes):
                break
            forced = vocabulary.token_bytes(tokens.pop()) + forced
        return tokens, forced

    def _evaluate(
        self, piece: Piece, request: FimRequest, placement: Placement, block: ContextBlock
    ) -> tuple[int, ...]:
        if piece is Slot.BOS:
            bos = self._cache.vocabulary.bos
            return () if bos is None else (bos,)
        if piece is Slot.PREFIX:
            return self._cache.tokenize(placement.head) if placement.head else ()
        if piece is Slot.SUFFIX:
            return self._cache.tokenize(placement.suffix) if placement.suffix else ()
        if piece is Slot.CONTEXT:
            return block.tokens
        if isinstance(piece, Control):
            return (self._template.ids[piece],)
        return self._cache.tokenize(filled(piece, request))
