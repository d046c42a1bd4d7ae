"""From the bytes of tokens to the text of a generation: what native/src/text_stream.cpp and decoding.cpp do, in Python.

Forced bytes left out, stop strings cut off, whole characters, whole lines, lines the model is not sure of. For engines
that decode in Python; ``engine.decoding`` drives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coder_lsp.engine.base import GenerateRequest


class TextStream:
    """What ``native/src/text_stream.cpp`` does: forced bytes, stop strings, whole characters."""

    def __init__(self, request: GenerateRequest) -> None:
        self._owed = len(request.forced)
        self._stops = [stop.encode("utf-8", "replace") for stop in request.stop if stop]
        self._bytes = bytearray()
        self._taken = 0

    @property
    def paid(self) -> bool:
        """Whether all forced bytes have come."""
        return self._owed == 0

    def append(self, data: bytes) -> bool:
        """Take the bytes of a token; True if a stop string was reached, which is cut off."""
        payment = min(len(data), self._owed)
        self._owed -= payment
        self._bytes += data[payment:]
        found = [at for at in (self._bytes.find(stop) for stop in self._stops) if at >= 0]
        if found:
            del self._bytes[min(found) :]
        return bool(found)

    def take(self, *, final: bool = False) -> str:
        """Text that is certain by now and was not taken yet; ``final``: nothing follows, so all of it is."""
        certain = len(self._bytes)
        if not final:
            for start in range(self._taken, len(self._bytes)):
                if any(stop.startswith(self._bytes[start:]) for stop in self._stops):
                    certain = start
                    break
        pending = bytes(self._bytes[self._taken : certain])
        used = len(pending) if final else len(pending) - _incomplete(pending)
        self._taken += used
        return pending[:used].decode("utf-8", "replace")

    @property
    def line_start(self) -> int:
        """Where the last line begins, in bytes."""
        return self._bytes.rfind(b"\n") + 1

    def cut_to_whole_lines(self) -> bool:
        """Drop the line that is being written; False, and nothing is dropped, where no line with text would be left."""
        return self.cut_to_lines_before(self.line_start)

    def cut_to_lines_before(self, line_start: int) -> bool:
        if line_start == 0 or not self._bytes[: line_start - 1].strip():
            return False
        del self._bytes[line_start - 1 :]
        return True

    def drop_untaken(self) -> None:
        del self._bytes[self._taken :]

    def final(self) -> str:
        return self._bytes.decode("utf-8", "replace")


class LineConfidence:
    """How sure the model is of the line that is being written, as ``native/src/decoding.cpp`` counts it."""

    _LEAST_TOKENS = 4
    _LONG_TOKENS = 12

    def __init__(self, least_logprob: float) -> None:
        self._least = least_logprob
        self._logprobs: list[float] = []
        self._start = 0

    def unsure(self, text: TextStream, *logprobs: float, ends: bool) -> bool:
        """Count a token; True if the text was cut to the lines before this one."""
        self._logprobs += logprobs
        count = len(self._logprobs)
        judged = count >= self._LEAST_TOKENS and (ends or count > self._LONG_TOKENS)
        if judged and sum(self._logprobs) / count < self._least and text.cut_to_lines_before(self._start):
            return True
        if ends:
            self._start = text.line_start
            self._logprobs.clear()
        return False


def _incomplete(data: bytes) -> int:
    """Bytes at the end that begin a character and do not finish it."""
    for length in range(1, min(4, len(data) + 1)):
        tail = data[-length:]
        try:
            tail.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data" and error.start == 0:
                return length
    return 0
