"""What becomes of answered suggestions: told by the client where it tells, else derived from what is written.

One suggestion of a document at a time is on screen. While the user types it, and while answers bring its rest, it stays
the same suggestion. It ends when something else is written: rejected, or ignored if nobody can have read it. Texts are
kept in memory as long as they may be on screen; what is recorded is numbers (``stats.events``).
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from coder_lsp.documents.positions import Encoding, code_points_before
from coder_lsp.stats.events import TIME_STEP_S, Fate, Shown
from coder_lsp.types import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.config import Config
    from coder_lsp.documents.document import Document
    from coder_lsp.types import CompletionOutcome, CompletionRequest

logger = logging.getLogger(__name__)

READ_MS = 500.0
"""On screen for less, a suggestion cannot have been read and refused: to see that there is something new takes a third
of a second, to read it some more."""

_ON_SCREEN = 8
"""Documents with a suggestion. Text of more of them is let go, the oldest first."""
_KNOWN = 128
"""Suggestions whose fate the client may still report or change; without text."""
_UNDO_CHANGES = 3
"""An acceptance that is undone within so many changes was none."""
_LONGEST_MS = 60_000.0
"""The client does not say when a suggestion disappears; nobody looks at one for longer than a minute."""
_SOURCES = frozenset({"model", "stream", "cache"})
_LANGUAGE = re.compile(r"[a-z][a-z0-9+#._-]{0,23}\Z")
"""What clients call languages. The name comes from outside, and the statistics hold no text."""
_PAIRS = frozenset({"()", "[]", "{}", "<>", "''", '""', "``"})
"""What editors insert for one key."""


class Recording(Protocol):
    """Keeps what became of suggestions (``stats.recorder``)."""

    def enable(self, on: bool, /) -> None: ...

    def record(self, row: Shown, /) -> None: ...

    def close(self) -> None:
        """Write what is left; may block for some seconds."""


@dataclass
class _Suggestion:
    """One suggestion over its life. ``text`` is the document when the latest answer for it was given."""

    row: Shown
    uri: str
    texts: tuple[str, ...] = field(repr=False)
    """What would stand behind the cursor after taking it: the suggestion, then its alternatives."""
    text: str = field(repr=False)
    cursor: int
    replaced: int
    """Code points behind the cursor that it replaces."""
    seen_at: float | None
    """Seconds; None until the client has shown it."""
    current: str = field(repr=False)
    """The document after the last change."""
    typed: int = 0
    """How much of it stands behind the cursor by now, however it came there."""
    by_hand: int = 0
    """How much of that came key by key."""
    earlier: int = 0
    """Accepted before the latest answer."""
    settled: bool = False

    def standing(self, text: str) -> str | None:
        """What stands in ``text`` where the suggestion was to go; None if something else changed."""
        # Taken, it stands in place of what it replaces; typed, before that.
        for tail in (self.cursor + self.replaced, self.cursor):
            end = len(text) - (len(self.text) - tail)
            if end >= self.cursor and text.startswith(self.text[: self.cursor]) and text.endswith(self.text[tail:]):
                between = text[self.cursor : end]
                if any(whole.startswith(between) or between.startswith(whole) for whole in self.texts):
                    return between
        return None

    def whole(self, standing: str) -> str:
        """The text that ``standing`` is a part of; the first one if it is none."""
        fits = (text for text in self.texts if text.startswith(standing) or standing.startswith(text))
        return next(fits, self.texts[0])

    def forget_text(self) -> None:
        self.texts, self.text, self.current, self.settled = ("",), "", "", True


class Feedback:
    """Called for every answer and every change, on the event loop; each call takes microseconds.

    ``on_settled`` is told of each suggestion that was accepted (True) or rejected (False).
    """

    def __init__(
        self,
        recording: Recording | None = None,
        on_settled: Callable[[bool], None] = lambda _: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._recording = recording
        self._on_settled = on_settled
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_screen: OrderedDict[str, _Suggestion] = OrderedDict()
        self._known: OrderedDict[str, _Suggestion] = OrderedDict()
        self._undo: tuple[str, str, int, _Suggestion] | None = None
        self._client_shows = False
        self._client_accepts = False
        self._keys = random.Random()  # noqa: S311  (not a secret)

    def configure(self, config: Config) -> None:
        if self._recording is not None:
            self._recording.enable(config.stats.enabled)

    def answered(
        self, identity: str, request: CompletionRequest, outcome: CompletionOutcome, latency_ms: float | None = None
    ) -> None:
        """Suggestions went to the client, as items ``IDENTITY.0``, ``IDENTITY.1`` … ``latency_ms``: since it asked."""
        if not outcome.suggestions:
            return
        first, cursor = outcome.suggestions[0], request.cursor
        # What a suggestion repeats before the cursor is nothing it adds.
        texts = tuple(each.text.removeprefix(request.text[each.start : cursor]) for each in outcome.suggestions)
        shown = self._on_screen.get(request.uri)
        if shown is not None and _goes_on(shown, cursor, texts[0]):
            shown.earlier, shown.typed, shown.by_hand = shown.row.accepted_characters, 0, 0
        else:
            if shown is not None:
                self._end(shown)
            shown = _Suggestion(
                row=self._row(request, outcome, latency_ms),
                uri=request.uri,
                texts=texts,
                text=request.text,
                cursor=cursor,
                replaced=max(0, first.end - cursor),
                seen_at=None if self._client_shows else self._clock(),
                current=request.text,
            )
        shown.texts, shown.text, shown.cursor = texts, request.text, cursor
        shown.replaced, shown.current = max(0, first.end - cursor), request.text
        self._on_screen[request.uri] = self._known[identity] = shown
        self._on_screen.move_to_end(request.uri)
        if len(self._on_screen) > _ON_SCREEN:
            self._end(next(iter(self._on_screen.values())), Fate.IGNORED)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def changed(self, uri: str, document: Document | None) -> None:
        """A document has a new text; None if it is closed or not known any more."""
        if document is None:
            self._forget(uri)
            return
        text = document.text
        self._look_for_undo(uri, text)
        shown = self._on_screen.get(uri)
        if shown is None or text == shown.current:
            return
        standing = shown.standing(text)
        if standing is None:
            self._end(shown)
            return
        whole, before, complete = shown.whole(standing), shown.current, standing.startswith(shown.whole(standing))
        added = standing[shown.typed :]
        shown.typed, shown.current = min(len(standing), len(whole)), text
        if not _inserted_at_once(added, complete=complete):
            shown.by_hand = min(shown.by_hand + len(added), shown.typed)
        elif shown.seen_at is not None:
            self._undo = (uri, before, _UNDO_CHANGES, shown)
            # Where the client reports, a menu or a paste that inserts the same is no acceptance; the report may follow.
            if not self._client_accepts:
                self._accept(shown, shown.typed, reported=False)
        if complete:
            self._end(shown, Fate.TYPED)

    def shown(self, identity: str) -> None:
        """The client has shown an item. From the first such word on, what is not reported was not shown."""
        self._client_shows = True
        shown = self._known.get(_of_item(identity))
        if shown is not None and not shown.settled and shown.seen_at is None:
            shown.seen_at = self._clock()

    def accepted(self, identity: str, units: int | None = None) -> None:
        """The client took an item: all of it, or its first ``units`` UTF-16 units, all parts taken so far together."""
        self._client_accepts = True
        shown = self._known.get(_of_item(identity))
        if shown is None:
            return
        if shown.seen_at is None:
            shown.seen_at = self._clock()
        if shown.settled:
            # Its text is gone; what the document's change showed of it, or all.
            self._accept(shown, max(shown.typed, shown.row.characters - shown.earlier) if units is None else units)
            return
        _, _, number = identity.rpartition(".")
        whole = shown.texts[min(int(number), len(shown.texts) - 1)] if number.isdecimal() else shown.texts[0]
        self._undo = (shown.uri, shown.current, _UNDO_CHANGES, shown)
        self._accept(shown, len(whole) if units is None else code_points_before(whole, units, Encoding.UTF16))

    def rejected(self, identity: str) -> None:
        """The user dismissed an item."""
        shown = self._known.get(_of_item(identity))
        if shown is None or shown.row.fate is Fate.ACCEPTED:
            return
        if shown.seen_at is None:
            shown.seen_at = self._clock()
        if shown.row.fate is not Fate.REJECTED:
            self._settle(shown, Fate.REJECTED, reported=True)
        self._let_go(shown)

    async def close(self) -> None:
        """Settle what is on screen and have everything written."""
        for uri in list(self._on_screen):
            self._forget(uri)
        if self._recording is not None:
            await asyncio.to_thread(self._recording.close)

    def _row(self, request: CompletionRequest, outcome: CompletionOutcome, latency_ms: float | None) -> Shown:
        """What is known when a suggestion is answered; its fate is not, and IGNORED stands for that."""
        text, result, judgement = outcome.suggestions[0].text, outcome.result, outcome.judgement
        language = request.language.lower()
        if latency_ms is None:
            latency_ms = sum(outcome.timings_ms.get(stage, 0.0) for stage in ("delay", "front", "host"))
        row = Shown(
            key=self._keys.getrandbits(62),
            at=int(self._wall_clock()) // TIME_STEP_S * TIME_STEP_S,
            language=language if _LANGUAGE.match(language) else "other",
            shape=outcome.shape.value,
            source=outcome.source if outcome.source in _SOURCES else "model",
            automatic=request.trigger is Trigger.AUTOMATIC,
            fate=Fate.IGNORED,
            latency_ms=round(latency_ms, 1),
            characters=len(text),
            lines=text.count("\n") + 1,
            features=judgement.features if judgement is not None else (),
            weight=judgement.weight if judgement is not None else 1.0,
        )
        if result is None:
            return row
        return replace(
            row,
            prefill_ms=round(result.timings_ms.get("prefill", 0.0), 1),
            decode_ms=round(result.timings_ms.get("decode", 0.0), 1),
            prompt_tokens=result.tokens.prompt,
            reused_tokens=result.tokens.reused,
            evaluated_tokens=result.tokens.evaluated,
            generated_tokens=result.tokens.generated,
        )

    def _accept(self, shown: _Suggestion, length: int, *, reported: bool = True) -> None:
        """The latest answer was taken up to ``length`` code points, some of which may have been typed before."""
        longest = max(shown.row.characters, shown.earlier + len(shown.texts[0]))
        total = min(shown.earlier + max(0, length - shown.by_hand), longest)
        row = shown.row
        if row.fate is Fate.ACCEPTED and total <= row.accepted_characters and (row.reported or not reported):
            return
        self._settle(shown, Fate.ACCEPTED, reported=reported, characters=max(total, row.accepted_characters))

    def _look_for_undo(self, uri: str, text: str) -> None:
        if self._undo is None or self._undo[0] != uri:
            return
        _, before, changes, shown = self._undo
        if text != before:
            self._undo = (uri, before, changes - 1, shown) if changes > 1 else None
            return
        self._undo = None
        if shown.row.fate is Fate.ACCEPTED:
            self._settle(shown, Fate.REJECTED, reported=False)
            self._let_go(shown)

    def _end(self, shown: _Suggestion, fate: Fate | None = None) -> None:
        """It is off the screen. Without a ``fate`` something else was written in its place."""
        if shown.seen_at is not None and shown.row.fate is not Fate.ACCEPTED:
            readable = 1000 * (self._clock() - shown.seen_at) >= READ_MS
            self._settle(shown, fate or (Fate.REJECTED if readable else Fate.IGNORED), reported=False)
        self._let_go(shown)

    def _settle(self, shown: _Suggestion, fate: Fate, *, reported: bool, characters: int = 0) -> None:
        assert shown.seen_at is not None
        before = shown.row.fate
        on_screen_ms = shown.row.shown_ms or 1000 * (self._clock() - shown.seen_at)
        shown.row = replace(
            shown.row,
            fate=fate,
            reported=reported,
            accepted_characters=characters,
            shown_ms=round(min(on_screen_ms, _LONGEST_MS), 0),
        )
        if fate is not before and fate in {Fate.ACCEPTED, Fate.REJECTED}:
            self._on_settled(fate is Fate.ACCEPTED)
        if self._recording is not None:
            self._recording.record(shown.row)

    def _let_go(self, shown: _Suggestion) -> None:
        if self._on_screen.get(shown.uri) is shown:
            del self._on_screen[shown.uri]
        shown.forget_text()

    def _forget(self, uri: str) -> None:
        shown = self._on_screen.get(uri)
        if shown is not None:
            # Whoever leaves a document has not judged what was on screen.
            self._end(shown, Fate.IGNORED)
        if self._undo is not None and self._undo[0] == uri:
            self._undo = None


def _goes_on(shown: _Suggestion, cursor: int, text: str) -> bool:
    """Whether a new answer is the suggestion on screen, or what is left of it."""
    rest = shown.texts[0][shown.typed :]
    at_its_place = cursor == shown.cursor + shown.typed
    return at_its_place and bool(rest.strip()) and (rest.startswith(text) or text.startswith(rest))


def _inserted_at_once(added: str, *, complete: bool) -> bool:
    """Whether an insertion is more than a key does: not an indented new line, not a pair of brackets."""
    visible = "".join(added.split())
    if complete:
        # Taking the last character of a suggestion cannot be told from typing it.
        return len(added) >= 2 and added not in _PAIRS and bool(visible)
    return len(visible) >= 2 and added not in _PAIRS


def _of_item(identity: str) -> str:
    """The answer that an item belongs to."""
    answer, dot, number = identity.rpartition(".")
    return answer if dot and number.isdecimal() else identity
