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


def read_steps(
    request: GenerateRequest, steps: Iterator[Step], *, room: int, on_text: TextSink | None, cancel: CancelToken
) -> Reading:
    """Take steps until the text is complete. ``room``: tokens that fit behind the prompt.

    No step is asked for that is not needed, so a lazy iterator evaluates nothing in vain. One that ends by itself ended
    the text the way an end token does. What it raises passes through.
    """
    reading = Reading(TextStream(request))
    if not cancel.cancelled:
        limit = min(request.max_tokens, room)
        reading.finish = _read(request, steps, reading, limit=limit, on_text=on_text, cancel=cancel)
    return reading


def _read(
    request: GenerateRequest,
    steps: Iterator[Step],
    reading: Reading,
    *,
    limit: int,
    on_text: TextSink | None,
    cancel: CancelToken,
) -> FinishReason:
    started = time.monotonic()
    finish = FinishReason.LENGTH
    text, line = reading.stream, LineConfidence(request.least_logprob)
    while len(reading.token_ids) < limit:
        step = next(steps, None)
        if cancel.cancelled:
            return FinishReason.CANCELLED
        if step is None or (step.ends and text.paid):
            finish = FinishReason.UNSURE if line.unsure(text, ends=True) else FinishReason.STOP_TOKEN
            break
        reading.token_ids.append(step.token)
        reading.logprobs.append(step.logprob)
        counts = text.paid
        if text.append(step.data):
            finish = FinishReason.STOP_STRING
            break
        if counts and line.unsure(text, step.logprob, ends=b"\n" in step.data):
            finish = FinishReason.UNSURE
            break
        if request.deadline_ms > 0:
            late = (time.monotonic() - started) * 1e3 / request.deadline_ms
            if late >= 1 and (text.cut_to_whole_lines() or late >= 2):
                finish = FinishReason.DEADLINE
                break
        delta = text.take()
        if on_text is not None and delta and not on_text(delta):
            text.drop_untaken()
            return FinishReason.ENOUGH
    rest = text.take(final=True)
    if on_text is not None and rest:
        on_text(rest)
    return finish
