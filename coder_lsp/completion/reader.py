"""One request's view of a stream: is there something to answer yet, and what?

The text behind what was typed goes through the same rules as an answer of the model for this very place
(``stopping``, ``postprocess``), so overlap with the text below, closers and indentation are right for where the cursor
is now. Decides when; waits for nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.completion.postprocess import StopRule, Verdict, examine

if TYPE_CHECKING:
    from coder_lsp.completion.gap import Gap
    from coder_lsp.completion.postprocess import Edit
    from coder_lsp.completion.stream import Stream
    from coder_lsp.languages import Language


@dataclass(frozen=True)
class Answer:
    """Edits, best first, or none and why. ``partial``: whole lines of a text that goes on."""

    edits: tuple[Edit, ...] = ()
    reason: str = ""
    partial: bool = False


class Reader:
    """Reads ``stream`` for the request at ``gap``, ``typed`` behind where the stream was asked."""

    def __init__(self, stream: Stream, gap: Gap, typed: str) -> None:
        self.useless = False
        """The typed text went another way, or nothing is left of the stream: ask the model anew."""
        self._stream = stream
        self._gap = gap
        self._typed = typed
        self._settled = bool(typed) and stream.settles(gap)
        self._rule: StopRule | None = None
        self._fed = ""
        self._looked_at = ""

    def look(self, *, early: bool = False) -> Answer | None:
        """The answer as things stand; None where there is none yet, or never will be (:attr:`useless`).

        ``early``: whole lines are enough.

        :raises Exception: what the stream ended with.
        """
        stream = self._stream
        if not stream.running:
            answer = self._last()
        elif not (rests := stream.rests(self._typed)):
            answer = None
            self.useless = True
        elif stream.full:
            # Its result is about to come, and says more than the text; the text does not grow any more.
            answer = None
            self.useless = rests[0].ahead
        elif self._fills(rests[0].text):
            answer = self._answer(rests[0].text)
            self.useless = answer is None
        else:
            answer = self._whole_lines(rests[0].text) if early else None
        return answer

    def _last(self) -> Answer | None:
        stream = self._stream
        if stream.fault is not None:
            raise stream.fault
        if stream.failed:
            self.useless = True
            return None
        edits: list[Edit] = []
        reasons: list[str] = []
        for rest in stream.rests(self._typed, settled=self._settled):
            text, truncated = rest.text, stream.truncated
            if truncated and self._typed and not self._settled and "\n" in stream.text:
                # What would be left out as half a line behind the lines before it must not be shown without them.
                text, truncated = text[: text.rfind("\n") + 1], False
            # Most often all was typed: not worth the milliseconds.
            verdict = self._examine(text, truncated=truncated) if text.strip() else Verdict(None, "empty")
            reasons.append(verdict.reason)
            if verdict.edit is not None and verdict.edit not in edits:
                edits.append(verdict.edit)
        if edits:
            return Answer(tuple(edits))
        # Where it was asked, "nothing" is the answer; behind that, it says that the text is used up.
        self.useless = bool(self._typed)
        return None if self.useless else Answer(reason=reasons[0])

    def _fills(self, text: str) -> bool:
        """Whether ``text`` fills the gap already."""
        if not text or self._settled:
            return False
        if self._rule is None or not text.startswith(self._fed):
            self._rule, self._fed = StopRule(*self._around, self._stream.shape), ""
        delta, self._fed = text[len(self._fed) :], text
        if delta:
            self._rule.feed(delta)
        return bool(self._rule.reason)

    def _whole_lines(self, text: str) -> Answer | None:
        whole = text[: text.rfind("\n") + 1]
        if not whole.strip() or whole == self._looked_at:
            return None
        self._looked_at = whole
        return self._answer(whole, partial=True)

    def _answer(self, text: str, *, partial: bool = False) -> Answer | None:
        verdict = self._examine(text)
        return None if verdict.edit is None else Answer((verdict.edit,), partial=partial)

    def _examine(self, text: str, *, truncated: bool = False) -> Verdict:
        return examine(text, *self._around, self._stream.shape, truncated=truncated, settled=self._settled)

    @property
    def _around(self) -> tuple[str, str, Language]:
        return self._gap.before, self._gap.after, self._gap.language
