"""The loop of one generation, for engines that decode in Python: when it ends, and what its text is.

An engine says which token comes next (:class:`Step`); everything an engine's contract says about the text is here, so
that engines cannot differ in it: end tokens, stop strings, the deadline at a line's end, unsure lines, a reader that
has enough. The native engine has the same loop in ``native/src/decoding.cpp``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from coder_lsp.engine.text_stream import LineConfidence, TextStream
from coder_lsp.types import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.engine.base import CancelToken, GenerateRequest
    from coder_lsp.types import TextSink


class Step(NamedTuple):
    """One token: its bytes, its logprob, and whether it ends a text (it is then no part of it)."""

    token: int
    data: bytes
    logprob: float = 0.0
    ends: bool = False


@dataclass
class Reading:
    """What came of a generation so far."""

    stream: TextStream
    finish: FinishReason = FinishReason.CANCELLED
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.stream.final()

    @property
    def paid(self) -> bool:
        """Whether all forced bytes have come."""
        return self.stream.paid


class Reader:
    """Takes the steps of one text as they come, until it is complete. ``room``: tokens that fit behind the prompt."""

    def __init__(self, request: GenerateRequest, *, room: int, on_text: TextSink | None) -> None:
        self.reading = Reading(TextStream(request))
        self.ended = False
        self._request, self._on_text = request, on_text
        self._limit = min(request.max_tokens, room)
        self._line = LineConfidence(request.least_logprob)
        self._started = time.monotonic()
        if self._limit <= 0:
            self._end(FinishReason.LENGTH)

    def take(self, step: Step | None) -> None:
        """One more token; None: there is none, which ends the text the way an end token does."""
        request, reading = self._request, self.reading
        text = reading.stream
        if step is None or (step.ends and text.paid):
            self._end(FinishReason.UNSURE if self._line.unsure(text, ends=True) else FinishReason.STOP_TOKEN)
            return
        reading.token_ids.append(step.token)
        reading.logprobs.append(step.logprob)
        counts = text.paid
        if text.append(step.data):
            self._end(FinishReason.STOP_STRING)
            return
        if counts and self._line.unsure(text, step.logprob, ends=b"\n" in step.data):
            self._end(FinishReason.UNSURE)
            return
        if request.deadline_ms > 0:
            late = (time.monotonic() - self._started) * 1e3 / request.deadline_ms
            if late >= 1 and (text.cut_to_whole_lines() or late >= 2):
                self._end(FinishReason.DEADLINE)
                return
        delta = text.take()
        if self._on_text is not None and delta and not self._on_text(delta):
            text.drop_untaken()
            reading.finish, self.ended = FinishReason.ENOUGH, True
        elif len(reading.token_ids) >= self._limit:
            self._end(FinishReason.LENGTH)

    def _end(self, finish: FinishReason) -> None:
        self.reading.finish, self.ended = finish, True
        rest = self.reading.stream.take(final=True)
        if self._on_text is not None and rest:
            self._on_text(rest)


def read_steps(
    request: GenerateRequest, steps: Iterator[Step], *, room: int, on_text: TextSink | None, cancel: CancelToken
) -> Reading:
    """Take steps until the text is complete. ``room``: tokens that fit behind the prompt.

    No step is asked for that is not needed, so a lazy iterator evaluates nothing in vain. One that ends by itself ended
    the text the way an end token does. What it raises passes through.
    """
    if cancel.cancelled:
        return Reading(TextStream(request))
    reader = Reader(request, room=room, on_text=on_text)
    _read(reader, steps, cancel)
    return reader.reading


def _read(reader: Reader, steps: Iterator[Step], cancel: CancelToken) -> None:
    while not reader.ended:
        step = next(steps, None)
        if cancel.cancelled:
            return
        reader.take(step)
