"""The places a model is ready to go on from: which prompt serves each document, and what is made ready behind it.

Reading a prompt is what costs seconds on a processor without a GPU, so it is done before somebody waits for it. A
document has a *serving* frame, evaluated in one sequence of the engine. Where the text has moved on too far for it, or
other snippets are to be shown, a *target* is evaluated in another sequence while nobody waits, and takes over when it
is whole. In a place of which next to nothing is evaluated, a short frame of the lines around the cursor answers first,
then one of the document alone: the block of other files comes last, as it costs a third of the time and brings least.
What is evaluated of the last few documents is written to disk (``host.saved``) and taken up again next time.

Belongs to the model's thread, like the engine it drives. ``host.worker`` turns requests into answers with it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.errors import CoderLspError, ContextOverflow
from coder_lsp.types import PromptKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from coder_lsp.config import IdleConfig, PromptConfig
    from coder_lsp.engine.base import CancelToken, Engine
    from coder_lsp.host.saved import SavedPlaces
    from coder_lsp.prompt.anchor import Placement
    from coder_lsp.prompt.builder import Frame, Prompt, PromptBuilder
    from coder_lsp.types import FimRequest, Snippet

logger = logging.getLogger(__name__)

SLICE_TOKENS = 16
"""Prompt tokens evaluated ahead in one go, some 90 ms on two cores. Somebody who comes meanwhile does not wait for them
(a call ends within 50 ms), but they are lost: the shorter, the more is left of the time between two keys."""
_PLACES_KEPT = 16
"""Twice as many as the disk keeps: of others nothing is evaluated any more, and each holds half a megabyte."""
_WORTH_SHORT = 1.5
"""A short prompt answers first where the full one costs more than so many times its budget."""
_WORTH_RESTORING = 64
"""Tokens that must be gained by reading a saved place: that takes some 40 ms, as long as evaluating six tokens."""


@dataclass
class _Place:
    """What is known of one document. Sequences are -1 where there is none."""

    request: FimRequest
    """The newest one."""
    serving: Frame | None = None
    sequence: int = -1
    full: Frame | None = None
    """The newest full frame, for its window: what it shares with the next one need not be evaluated again."""
    target: Frame | None = None
    target_sequence: int = -1
    stuck: FimRequest | None = None
    """A request no frame can be made for, or whose adapters cannot be used."""
    waiting: tuple[Snippet, ...] | None = None
    """Snippets that cannot be shown at once, because too much would have to be evaluated."""
    unsaved: bool = False

    @property
    def placement(self) -> Placement | None:
        """What the next full frame shares as much as it can with."""
        return self.full.placement if self.full else None


class Places:
    """See the module. ``idle`` off: every request waits for its full prompt, and nothing is done ahead."""

    def __init__(
        self,
        engine: Engine,
        builder: PromptBuilder,
        prompt: PromptConfig,
        idle: IdleConfig,
        saved: SavedPlaces | None = None,
    ) -> None:
        self._engine = engine
        self._builder = builder
        self._ahead = prompt.anchored and idle.enabled and engine.options.sequences > 1
        self._ladder_tokens = prompt.ladder_tokens if self._ahead else 0
        self._saved = saved
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._turns = 0
        self._used = [0] * engine.options.sequences
        self._owners = [""] * engine.options.sequences

    # -- for requests

    def prompt(self, request: FimRequest) -> tuple[Prompt, int | None]:
        """The prompt to answer with, and the sequence to evaluate it in (None: the engine chooses).

        :raises ContextOverflow: the budgets do not fit the engine's context.
        """
        place = self._place(request)
        self._engine.adapt(request.adapters)
        frame = place.serving
        if frame is None or not self._serves(frame, request) or self._is_cheap_to_renew(place, frame):
            frame = self._choose(place, request)
            place.serving = frame
            place.sequence = self._sequence_for(place) if frame.kind is PromptKind.SHORT else -1
        return self._builder.prompt(request, frame), place.sequence if place.sequence >= 0 else None

    def evaluated(self, document: str, sequence: int) -> None:
        """Where the engine evaluated the prompt of a document."""
        place = self._places[document]
        place.sequence = sequence
        place.unsaved = place.unsaved or (place.serving is not None and place.serving.kind is not PromptKind.SHORT)
        self._occupy(sequence, document)

    def note(self, request: FimRequest) -> None:
        """Somebody is at this place and will ask; its prompt is made ready by :meth:`work`."""
        self._place(request)

    # -- ahead of requests

    def work(self, cancel: CancelToken) -> bool:
        """Do one piece of what can be done ahead; False if there is nothing to do. Returns soon after ``cancel``."""
        if not self._ahead or not self._places:
            return False
        newest = next(reversed(self._places.values()))
        idle = newest.request is newest.stuck or not self._adapted(newest)
        frame = None if idle else self._next_frame(newest)
        if frame is not None:
            self._prepare(newest, frame, cancel)
            return True
        return self._save_one(besides=newest)

    def save(self) -> None:
        """Write all that is not on disk yet."""
        while self._save_one():
            pass

    def _place(self, request: FimRequest) -> _Place:
        place = self._places.get(request.document)
        if place is None:
            place = self._places[request.document] = _Place(request)
            if len(self._places) > _PLACES_KEPT:
                self._places.popitem(last=False)
        else:
            self._places.move_to_end(request.document)
        place.request = request
        return place

    def _adapted(self, place: _Place) -> bool:
        """Whether the adapters of a place lie over the model now; where one cannot be used, its requests say why."""
        try:
            self._engine.adapt(place.request.adapters)
        except CoderLspError as error:
            logger.info("no prompt is made ahead: %s", error.message)
            place.stuck = place.request
            return False
        return True

    def _choose(self, place: _Place, request: FimRequest) -> Frame:
        """The best frame of which little is new; what is better than that is made ready behind it."""
        previous, full = place.placement, place.target
        if full is None or full.kind is not PromptKind.FULL or not self._builder.holds(request, full):
            full = self._builder.frame(request, previous)
        place.full = full
        if self._is_near(request, full) or request.patient or not self._ladder_tokens:
            place.target = None
            return full
        place.target = full
        if request.snippets:
            file = self._builder.file_frame(request, previous)
            if self._is_near(request, file):
                return file
            # It is there sooner than the full one, and most of what makes that one better is in the file itself.
            place.target = file
        return self._builder.short_frame(request)

    def _is_near(self, request: FimRequest, frame: Frame) -> bool:
        """Whether so much of a frame is evaluated that somebody may wait for the rest."""
        missing = self._missing(frame)
        if missing > _WORTH_RESTORING and self._restore(request, frame):
            missing = self._missing(frame)
        return missing <= _WORTH_SHORT * self._ladder_tokens

    def _serves(self, frame: Frame, request: FimRequest) -> bool:
        if request.patient and (frame.kind is not PromptKind.FULL or frame.given != request.snippets):
            return False
        return self._builder.holds(request, frame) and self._is_evaluated(frame)

    def _is_cheap_to_renew(self, place: _Place, frame: Frame) -> bool:
        """Whether other snippets can be shown at once, because there is little to read: a small file, a small block."""
        request = place.request
        if request.snippets in (frame.given, place.waiting) or frame.kind is not PromptKind.FULL:
            return False
        cheap = self._missing(self._builder.frame(request, frame.placement)) <= self._ladder_tokens
        # Looked at once, not at every key: building a frame costs milliseconds.
        place.waiting = None if cheap else request.snippets
        return cheap

    def _next_frame(self, place: _Place) -> Frame | None:
        """What is to be evaluated next where the user is; None if what is there is good enough.

        In a place of which nothing is evaluated that is the short frame, then the document's, then the full one.
        """
        request, serving = place.request, place.serving
        if serving is None or not self._serves(serving, request):
            first = self._choose(place, request)
            if first.kind is PromptKind.SHORT:
                return first
        elif not self._builder.is_due(request, serving):
            return None
        target = place.target
        if target is None or self._is_stale(request, target):
            target = place.target = self._builder.frame(request, place.placement, ahead=True)
        place.full = target
        return target

    def _is_stale(self, request: FimRequest, target: Frame) -> bool:
        """Whether something else than a target that was begun should be evaluated."""
        if target.kind is PromptKind.FULL and target.given != request.snippets:
            return True
        return not self._builder.holds(request, target) or self._builder.lags(request, target)

    def _prepare(self, place: _Place, frame: Frame, cancel: CancelToken) -> None:
        """Evaluate a frame, a slice at a time; it serves from when it is whole."""
        try:
            tokens = self._builder.prompt(place.request, frame).tokens
        except ContextOverflow as error:
            logger.info("no prompt is made ahead: %s", error.message)
            place.stuck = place.request
            return
        short = frame.kind is PromptKind.SHORT
        if not short:
            self._restore(place.request, frame)
        sequence = self._sequence_for(place) if short else self._target_sequence(place)
        end = self._engine.reusable(tokens)
        evaluated = 0
        while end < len(tokens) and not cancel.cancelled:
            end = min(end + SLICE_TOKENS, len(tokens))
            evaluated += self._engine.prefill(tokens[:end], sequence, cancel)
        kind = frame.kind.value
        if cancel.cancelled:
            logger.info("broken off: %s tokens=%d evaluated=%d sequence=%d", kind, len(tokens), evaluated, sequence)
            return
        # All of it may lie in another sequence already, and no token was due: it belongs into this one.
        evaluated += self._engine.prefill(tokens, sequence, cancel)
        place.serving, place.sequence = frame, sequence
        self._occupy(sequence, place.request.document)
        if not short:
            place.target, place.target_sequence, place.unsaved = None, -1, True
        logger.info("made ready: %s tokens=%d evaluated=%d sequence=%d", kind, len(tokens), evaluated, sequence)

    # -- sequences

    def _is_evaluated(self, frame: Frame) -> bool:
        """Whether a sequence still holds it: other places may have needed the room."""
        return self._missing(frame) * 2 <= len(frame.tokens)

    def _missing(self, frame: Frame) -> int:
        return len(frame.tokens) - self._engine.reusable(frame.tokens)

    def _sequence_for(self, place: _Place) -> int:
        """For a short frame: not where the full one is, of which most will be needed again."""
        held = [number for number, owner in enumerate(self._owners) if owner == place.request.document]
        keep = max(held, key=lambda number: len(self._engine.history(number)), default=-1)
        return self._least_used(besides={keep})

    def _target_sequence(self, place: _Place) -> int:
        """For a target: where it was begun, else where the document had its full frame, never where it is served."""
        if place.target_sequence < 0 or place.target_sequence == place.sequence:
            mine = [
                n for n, owner in enumerate(self._owners) if owner == place.request.document and n != place.sequence
            ]
            place.target_sequence = mine[0] if mine else self._least_used(besides={place.sequence})
        self._occupy(place.target_sequence, place.request.document)
        return place.target_sequence

    def _least_used(self, besides: Collection[int]) -> int:
        return min((n for n in range(len(self._used)) if n not in besides), key=self._used.__getitem__)

    def _occupy(self, sequence: int, document: str) -> None:
        self._turns += 1
        self._used[sequence] = self._turns
        self._owners[sequence] = document

    # -- on disk

    def _restore(self, request: FimRequest, frame: Frame) -> bool:
        """Take up what an earlier session evaluated of a document, where that is more than what is here."""
        if self._saved is None:
            return False
        here = self._engine.reusable(frame.tokens)
        name = _saved_name(request)
        if self._saved.shared(name, frame.tokens) < here + _WORTH_RESTORING:
            return False
        kept = self._saved.load(name)
        if kept is None:
            return False
        place = self._places[request.document]
        sequence = self._least_used(besides={place.sequence})
        if not self._engine.restore_sequence(sequence, kept.tokens, kept.state):
            self._saved.forget(name)
            return False
        self._occupy(sequence, request.document)
        logger.info("taken up from disk: tokens=%d sequence=%d", len(kept.tokens), sequence)
        return True

    def _save_one(self, besides: _Place | None = None) -> bool:
        """Write one place that changed since it was written; tells whether there was one."""
        if self._saved is None:
            return False
        for document, place in self._places.items():
            if place is besides or not place.unsaved:
                continue
            place.unsaved = False
            frame = place.full
            if frame is None or place.sequence < 0 or self._owners[place.sequence] != document:
                continue
            if not self._adapted(place):
                continue
            tokens = self._engine.history(place.sequence)
            if tokens[: len(frame.tokens)] == frame.tokens:
                self._saved.save(_saved_name(place.request), tokens, self._engine.sequence_state(place.sequence))
                return True
        return False


def _saved_name(request: FimRequest) -> str:
    """What was evaluated under adapters is of use under these alone."""
    versions = [f"{each.path}\n{each.version}\n{each.scale}" for each in request.adapters]
    return "\0".join([request.document, *versions])
