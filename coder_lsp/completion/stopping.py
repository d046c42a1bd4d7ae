r"""When a suggestion is enough: :class:`StopRule` reads the stream line by line and ends it where the gap is filled.

Small instruct-tuned models run on past the gap and write the suffix again, so most of the quality of a suggestion is
decided here. Decisions are made on whole lines only, and depend on nothing that comes later: the text is the same in
whatever pieces it arrives. Works on text with ``\n``; ``postprocess`` gives the file its own line breaks back.

LINE is what remains of the cursor's line. If that line is already complete and the model starts with a line break,
it is that break and one more line: the user pressed nothing yet, but the next line is what comes next.

BLOCK ends before a line that is indented less than the block, except for what closes the block (``}``, ``end``) and
what goes on with its statement (``else``), and these only if the text below does not have them already; before a
bracket that the text below closes; before the next definition; where the text below begins; where lines repeat.
Blank lines inside the block are part of it.

Either ends before a line that holds what cannot be seen: nobody could judge such a suggestion by looking at it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coder_lsp.completion.brackets import provided, scan_before
from coder_lsp.completion.lines import (
    UNSEEN,
    closes_block,
    continues_block,
    defines,
    expected_indent,
    indent,
    indent_unit,
    is_comment,
    leading,
    only_closers,
    opens_block,
    visible,
    width,
)
from coder_lsp.languages import BlockStyle, Language, by_id
from coder_lsp.types import Shape

if TYPE_CHECKING:
    from coder_lsp.completion.brackets import Closer

MAX_LINES = 24
MAX_LINE_CHARACTERS = 500
"""No model we know writes a longer line on purpose; data and runaway repetitions are cut here."""
ABOVE_CHARACTERS = 6_000
"""Text before the cursor that decides about indentation."""

_SAME_INDENT_VISIBLE = 6
"""Visible characters that make a line of the suggestion the first line of the text below, equally indented."""
_OTHER_INDENT_VISIBLE = 20

_CONTAINER = r"\b(?:class|struct|interface|enum|impl|trait|module|namespace|object|record|contract|protocol|describe)\b"
"""A definition whose body is definitions, of which one is enough."""


class StopRule:
    """Made once for a request, then the stream's sink (:meth:`feed`), then :meth:`finish`. Never raises."""

    def __init__(
        self, before: str, after: str, language: str | Language, shape: Shape, *, max_lines: int = MAX_LINES
    ) -> None:
        self.reason = ""
        """Why the text ended, in a few words; empty while it goes on."""
        self._language = by_id(language) if isinstance(language, str) else language
        self._shape = shape
        self._max_lines = max_lines
        before, after = unix(before), unix(after)
        self._head = before.rpartition("\n")[2]
        self._rest, _, below = after.partition("\n")
        # Where something stands after the cursor, the text below is not what comes next.
        self._below = (
            [] if self._rest.strip() else [line for line in below[:ABOVE_CHARACTERS].split("\n") if line.strip()]
        )
        self._scanner = scan_before(before, self._language)
        self._provided, self._on_line = provided(self._scanner, after, self._language)
        self._plan(before)
        self._pending = ""
        self._kept: list[str] = []
        self._blanks = 0
        self._closed = False
        self._matched = 0
        self._matched_visible = 0
        self._result: str | None = None

    def feed(self, delta: str) -> bool:
        """Take some more text; False when it is enough. What comes after that is ignored."""
        if self._result is not None or self.reason:
            return False
        self._pending += delta.replace("\r", "")
        while not self.reason:
            line, newline, remainder = self._pending.partition("\n")
            if UNSEEN.search(line, 0, MAX_LINE_CHARACTERS):
                self._pending = ""
                self._end("holds what cannot be seen")
            elif len(line) > MAX_LINE_CHARACTERS:
                self._take(line[:MAX_LINE_CHARACTERS])
                self._end("line too long")
            elif newline:
                self._pending = remainder
                self._take(line)
            else:
                break
        return not self.reason

    def finish(self) -> str:
        """The text to keep, the same however it was fed. Without line breaks at its end."""
        if self._result is None:
            if not self.reason and self._pending:
                self._take(self._pending, last=True)
            self._result = "\n".join(self._kept)
        return self._result

    def _plan(self, before: str) -> None:
        """Where the block starts (``_base`` columns) and what it hangs from (``_parent`` columns, -1: nothing)."""
        above = before[-ABOVE_CHARACTERS:].split("\n")[:-1]
        column = indent(self._head)
        self._starts_line = not self._head.strip()
        opens = not self._starts_line and opens_block(self._head, self._language)
        self._base = column + 1 if opens else column
        unit = indent_unit(above) or "    "
        self._expected = expected_indent(above, self._language, unit)
        self._above = [line for line in reversed(above) if line.strip()]
        self._opens = opens
        if opens:
            self._hang_from(self._head)
        else:
            self._hang_from_above()

    def _hang_from_above(self) -> None:
        """The block hangs from the nearest line above that is indented less."""
        self._hang_from(next((line for line in self._above if indent(line) < self._base), None))

    def _hang_from(self, line: str | None) -> None:
        self._parent = -1 if line is None else indent(line)
        self._in_function = line is not None and defines(line, self._language) and re.search(_CONTAINER, line) is None

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _take(self, line: str, *, last: bool = False) -> None:
        if self._shape is Shape.LINE:
            self._take_line(line)
        else:
            self._take_block_line(line, last=last)

    # LINE

    def _take_line(self, line: str) -> None:
        first = not self._kept
        if line.strip():
            if self._starts_line and self._blanks and indent(line) < width(self._head):
                self._end("indented less than the cursor")
                return
            if not first and self._below and line.strip() == self._below[0].strip():
                self._kept = [self._kept[0]] if self._kept[0].strip() else []
                self._end("the text below begins")
                return
            self._kept.append(self._cut_closer(line))
            self._end("line end" if self._kept[-1] else "closed below")
        elif self._rest.strip() or self._blanks > 1:
            self._kept = []
            self._end("line end")
        else:
            self._blanks += 1
            if not self._starts_line:
                self._kept.append("")

    def _cut_closer(self, line: str) -> str:
        """The line before a bracket that a line below closes. (One on this line: see ``postprocess``.)"""
        if self._starts_line and self._reopens(line):
            return line
        for closer in self._scanner.fork().feed(line):
            if closer.opener is not None and self._provided[closer.level] and not self._on_line[closer.level]:
                return line[: closer.at].rstrip()
        return line

    # BLOCK

    def _take_block_line(self, line: str, *, last: bool) -> None:
        at_line_start = bool(self._kept) or self._blanks > 0 or self._starts_line
        if not line.strip():
            self._take_blank()
            return
        literal = self._scanner.inside is not None and self._scanner.inside.long
        first = not any(kept.strip() for kept in self._kept)
        if self._starts_line and first and not literal:
            self._settle_base(line)
        if at_line_start and not literal and not (first and self._starts_line and not self._blanks):
            reason = self._refuse(line)
            if reason:
                self._end(reason)
                return
        cut = None if at_line_start and not literal and self._reopens(line) else self._scan(line)
        if cut is not None and not line[:cut].strip():
            self._end("closed below")
            return
        self._keep(line if cut is None else line[:cut].rstrip())
        if cut is not None:
            self._end("closed below")
            return
        if self._repeats():
            self._end("repetition")
        elif self._reaches_below(self._head + line if first and self._starts_line else line):
            self._end("the text below begins")
        elif not last and len(self._kept) >= self._max_lines:
            self._end("enough lines")

    def _take_blank(self) -> None:
        if self._starts_line and not self._kept:
            self._blanks = 1  # the cursor is on a blank line already: more of them add nothing
            return
        self._blanks += 1
        if not self._kept:
            self._kept.append("")  # the rest of the cursor's line
            self._blanks = 0
        elif self._blanks > 2:
            self._end("blank lines")

    def _keep(self, line: str) -> None:
        dropped_first = self._starts_line and not self._kept
        if not dropped_first:
            self._kept.extend([""] * self._blanks)
        self._blanks = 0
        self._kept.append(line)

    def _settle_base(self, line: str) -> None:
        """The block starts where its first line does: the cursor may stand too far left, or the model may have
        written the cursor's indentation again.
        """
        head = width(self._head)
        total = indent(line) if self._blanks else head + indent(line)
        limit = total if self._expected is None or not head else max(head, self._expected)
        self._base = max(head, min(total, limit))
        self._hang_from_above()

    def _refuse(self, line: str) -> str:
        """Why a line that starts at column 0 cannot belong to the block; empty if it can."""
        column = indent(line)
        inside_own = self._scanner.opened_since_mark > 0
        if self._closed and not continues_block(line, self._language) and not only_closers(line):
            return "block closed"
        if column >= self._base:
            if inside_own:
                return ""
            if column == self._base and self._next_definition(line):
                return "next definition"
            if column == self._base and not self._starts_line and closes_block(line, self._language):
                return self._refuse_closing(line, column, inside_own=False)
            if column == self._base == 0 and self._blanks >= 2 and any(kept.strip() for kept in self._kept):
                return "blank lines"
            return ""
        return self._refuse_dedent(line, column, inside_own=inside_own)

    def _refuse_dedent(self, line: str, column: int, *, inside_own: bool) -> str:
        if only_closers(line):
            self._closed = self._closed or (not inside_own and column <= self._parent)
            return ""  # also of what is further out: _scan takes no bracket but one that is owed
        if self._blanks >= 2 or column < self._parent or self._language.style is BlockStyle.PROSE:
            return "dedent"
        if closes_block(line, self._language):
            return self._refuse_closing(line, column, inside_own=inside_own)
        if inside_own or self._is_label(line):
            return ""
        if self._language.style is BlockStyle.BRACE and column > self._parent:
            return ""  # careless indentation: braces say where this block ends
        if column != max(self._parent, 0) or self._parent < 0:
            return "dedent"
        if continues_block(line, self._language):
            return self._refuse_continuing(column)
        return "dedent"

    def _refuse_closing(self, line: str, column: int, *, inside_own: bool) -> str:
        if self._reopens(line):
            return self._refuse_continuing(column)
        hangs_from = self._parent if self._opens or self._starts_line else self._base
        if line.strip()[0] in ")]}":
            # Whose bracket it is, and whether the text below has it, is decided in _scan.
            if not inside_own and line.strip()[-1] not in "{[(":
                self._closed = column <= hangs_from
            return ""
        if hangs_from < 0:
            return "nothing to close"
        next_line = self._below[0] if self._below else ""
        if indent(next_line) == column and closes_block(next_line, self._language):
            return "closed below"
        if next_line and indent(next_line) > column:
            return "block goes on below"
        self._closed = column <= hangs_from
        return ""

    def _refuse_continuing(self, column: int) -> str:
        next_line = self._below[0] if self._below else ""
        if next_line and indent(next_line) > column:
            return "block goes on below"
        if indent(next_line) == column and continues_block(next_line, self._language):
            return "goes on below"
        self._closed = False
        return ""

    def _reopens(self, line: str) -> bool:
        """``} else {``: closes the block and opens the next in one line, so that no bracket is owed or taken."""
        stripped = line.strip()
        return stripped[0] == "}" and stripped[-1] == "{" and continues_block(line, self._language)

    def _is_label(self, line: str) -> bool:
        """Preprocessor lines and access specifiers stand further left than what surrounds them."""
        if self._language.line_comments[:1] != ("//",):
            return False
        return re.match(r"#\s*\w|(?:public|private|protected)\s*:", line.strip()) is not None

    def _next_definition(self, line: str) -> bool:
        """A definition after something that is more than what belongs to it (decorators, comments, modifiers)."""
        if self._in_function or not defines(line, self._language):
            return False  # a function may have functions of its own
        body = [kept for kept in self._kept if kept.strip()]
        if not body:
            return False
        deeper = any(indent(kept) > self._base for kept in body[1:])
        return deeper or (self._blanks > 0 and not is_comment(body[-1], self._language))

    def _scan(self, line: str) -> int | None:
        """Feed the bracket scanner; where a bracket comes that the text below closes, or that nothing opened."""
        for closer in self._scanner.feed(line + "\n"):
            if self._is_foreign(closer):
                return closer.at
        return None

    def _is_foreign(self, closer: Closer) -> bool:
        if closer.opener is None:
            return self._language.style is not BlockStyle.PROSE
        return self._provided[closer.level]

    def _repeats(self) -> bool:
        """The same line three times, or the last two to six lines twice over; only the first copy is kept."""
        lines = [line for line in self._kept if line.strip()]
        if self._starts_line:
            lines[0] = self._head + lines[0]
        if len(lines) >= 3 and lines[-1] == lines[-2] == lines[-3] and not only_closers(lines[-1]):
            self._drop_tail(2)
            return True
        for period in range(2, 7):
            tail = lines[-period:]
            if len(lines) >= 2 * period and tail == lines[-2 * period : -period] and visible("".join(tail)) >= 12:
                self._drop_tail(period)
                return True
        return False

    def _reaches_below(self, line: str) -> bool:
        """Whether the text below has begun; what is its beginning is dropped."""
        if self._matched >= len(self._below) or line.strip() != self._below[self._matched].strip():
            self._matched = self._matched_visible = 0
            if not self._below or line.strip() != self._below[0].strip():
                return False
        if self._matched == 0 and (only_closers(line) or closes_block(line, self._language)):
            return False  # brackets are counted, not compared
        same_indent = leading(line) == leading(self._below[self._matched])
        self._matched += 1
        self._matched_visible += visible(line)
        enough = _SAME_INDENT_VISIBLE if same_indent or self._matched > 1 else _OTHER_INDENT_VISIBLE
        if self._matched_visible < enough:
            return False
        self._drop_tail(self._matched)
        return True

    def _drop_tail(self, lines: int) -> None:
        """Drop the last so many visible lines, and the blank ones among and before them."""
        while lines and self._kept:
            lines -= bool(self._kept.pop().strip())
        while self._kept and not self._kept[-1].strip():
            self._kept.pop()


def unix(text: str) -> str:
    r"""The text with ``\n`` line breaks only."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
