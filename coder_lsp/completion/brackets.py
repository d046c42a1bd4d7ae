"""Which brackets, strings and comments are open at a place: a small scanner that never fails and costs milliseconds.

It knows the delimiters of the language table and nothing of grammar, so it also works in code that is being typed.
``StopRule`` runs it over the text before the cursor, the suggestion and the text after the cursor, to tell a closing
bracket that is owed from one that already stands below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from coder_lsp.completion.lines import comment_start, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.languages import Language

BEFORE_CHARACTERS = 12_000
"""How far back brackets are looked for: some 300 lines, about 2 ms."""
AFTER_CHARACTERS = 6_000


@dataclass(frozen=True)
class Opener:
    """An open bracket; ``column`` is the indentation of its line."""

    character: str
    column: int


@dataclass(frozen=True)
class Closer:
    """A closing bracket whose opener lies before the scanned text, or nowhere (``opener`` None)."""

    character: str
    at: int
    """Offset into the text given to :meth:`Scanner.feed`."""
    first: bool
    """Nothing visible stands before it on its line."""
    column: int
    opener: Opener | None
    level: int
    """Index of ``opener`` in the stack at the last :meth:`Scanner.mark`, -1 without opener."""


@dataclass(frozen=True)
class Inside:
    """The string or comment a place lies in, by the delimiter that ends it (empty: the end of the line)."""

    kind: str
    end: str
    long: bool


class Scanner:
    """State of a left-to-right scan; feed it text in any pieces that are cut at line breaks or where scanning stops.

    ``blank``: only white space stands before the scanned text on its line. ``inside``: where the scan begins.
    """

    def __init__(self, language: Language, *, inside: Inside | None = None, blank: bool = True) -> None:
        self.inside = inside
        self._language = language
        self._tokens = _tokens(language)
        self._stack: list[Opener] = []
        self._floor = 0
        self._indentation = ""
        self._blank = blank

    @property
    def open(self) -> tuple[Opener, ...]:
        """Open brackets, outermost first."""
        return tuple(self._stack)

    @property
    def opened_since_mark(self) -> int:
        return len(self._stack) - self._floor

    def mark(self) -> None:
        """From here on, :meth:`feed` reports closers of what is open now."""
        self._floor = len(self._stack)

    def fork(self) -> Scanner:
        other = Scanner(self._language)
        other.__dict__.update(self.__dict__)
        other._stack = list(self._stack)
        return other

    def feed(self, text: str) -> list[Closer]:
        """Scan on; the closers of brackets that were open at the mark, in order."""
        found: list[Closer] = []
        start = 0
        while start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            self._line(text[start:end], start, found)
            start = end
        return found

    def _line(self, line: str, offset: int, found: list[Closer]) -> None:
        if self._blank:
            body = line.lstrip(" \t")
            self._indentation += line[: len(line) - len(body)]
            first_visible = len(line) - len(body) if body.rstrip("\n") else -1
        else:
            first_visible = -1
        tokens = self._tokens
        at = 0
        while at < len(line):
            if self.inside is not None:
                at = self._inside(line, at)
                continue
            match = tokens.search(line, at)
            if match is None:
                break
            at = match.end()
            kind, token = match.lastgroup, match.group()
            if kind == "bracket":
                self._bracket(token, match.start() == first_visible, offset + match.start(), found)
            elif kind == "line":
                self.inside = Inside("comment", "", long=False)
            elif kind in {"block", "long", "quote"}:
                self.inside = _entered(self._language, kind, token)
        if line.endswith("\n"):
            if self.inside is not None and not self.inside.long:
                self.inside = None
            self._indentation, self._blank = "", True
        elif line.strip():
            self._blank = False

    def _inside(self, line: str, at: int) -> int:
        assert self.inside is not None
        if not self.inside.end:
            return len(line)
        while True:
            end = line.find(self.inside.end, at)
            if end < 0:
                return len(line)
            if self.inside.kind == "string" and _escaped(line, at, end):
                at = end + 1
                continue
            after = end + len(self.inside.end)
            self.inside = None
            return after

    def _bracket(self, token: str, first: bool, at: int, found: list[Closer]) -> None:
        column = width(self._indentation)
        if token in "([{":
            self._stack.append(Opener(token, column))
            return
        wanted = {")": "(", "]": "[", "}": "{"}[token]
        # A closer of another kind than the innermost opener: half-typed code, or a scan that lost its way. Believe
        # it if its opener is somewhere below; the brackets above that were never closed.
        for level in range(len(self._stack) - 1, -1, -1):
            if self._stack[level].character == wanted:
                opener = self._stack[level]
                del self._stack[level:]
                if level < self._floor:
                    self._floor = level
                    found.append(Closer(token, at, first, column, opener, level))
                return
        found.append(Closer(token, at, first, column, None, -1))


def scan_before(text: str, language: Language) -> Scanner:
    """A scanner that stands at the end of ``text``, marked there. Long texts are scanned from a line that starts at
    column 0, which is hardly ever inside a bracket or a string.
    """
    if len(text) > BEFORE_CHARACTERS:
        text = text[-BEFORE_CHARACTERS:]
        top = re.search(r"\n(?=[\w@#])", text)
        text = text[top.end() :] if top else text[text.find("\n") + 1 :]
    above = text.rfind("\n") + 1
    scanner = _scan_lines(text[:above], language).fork()
    scanner.feed(text[above:])
    scanner.mark()
    return scanner


@lru_cache(maxsize=4)
def _scan_lines(text: str, language: Language) -> Scanner:
    """A scan of whole lines, not to be fed any further. One request scans the lines above the cursor four times, and
    the next key does not change them: 3 ms each for 16,000 characters.
    """
    scanner = Scanner(language)
    scanner.feed(text)
    return scanner


def provided(scanner: Scanner, after: str, language: Language) -> tuple[list[bool], list[bool]]:
    """For each bracket open at the cursor: does the text after the cursor close it? And does the cursor's line?

    What is not closed there is owed by the suggestion. Closers are aligned with openers in order, so that as many as
    possible match, those that start a line preferably with an opener on an equally indented line: in
    ``class A {`` / ``  void f() {|`` / ``}`` the brace below is the class's and the method's is owed.
    """
    rest_end = after.find("\n")
    rest_end = len(after) if rest_end < 0 else rest_end
    complete = len(after) <= AFTER_CHARACTERS
    ahead = Scanner(language, inside=scanner.inside, blank=False)
    closers = [closer for closer in ahead.feed(after[:AFTER_CHARACTERS]) if closer.opener is None]
    inner_first = list(reversed(scanner.open))
    pairs = _align(inner_first[:64], closers[:64], skip_inner=complete)
    closed = [False] * len(inner_first)
    on_line = [False] * len(inner_first)
    for opener, closer in pairs.items():
        closed[opener] = True
        on_line[opener] = closers[closer].at < rest_end
    if not complete:
        deepest = max(pairs, default=-1)
        least = _least_indent(after[rest_end:AFTER_CHARACTERS])
        for index in range(deepest + 1, len(inner_first)):
            unseen = inner_first[index]
            # A brace may be closed where we did not look, if all we saw is indented as its content.
            closed[index] = unseen.character == "{" and unseen.column < least
    return closed[::-1], on_line[::-1]


def _least_indent(text: str) -> int:
    """Columns of the least indented line, preprocessor lines apart; many if there is none."""
    lines = text.split("\n")[:-1]  # the last one may be cut
    columns = [width(line[: len(line) - len(line.lstrip())]) for line in lines if line.strip() and line[0] != "#"]
    return min(columns, default=1_000)


def _align(openers: Sequence[Opener], closers: Sequence[Closer], *, skip_inner: bool) -> dict[int, int]:
    """Order-preserving best matching, index of opener to index of closer; both innermost first.

    Ten points a pair, three more or four less where a closer starts a line and indentation agrees or not.
    """
    rows, columns = len(openers), len(closers)
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + _points(openers[i], closers[j]))
    pairs: dict[int, int] = {}
    i = j = 0
    while i < rows and j < columns:
        points = _points(openers[i], closers[j])
        may_match = points > 0 and best[i][j] == best[i + 1][j + 1] + points
        if skip_inner and best[i][j] == best[i + 1][j]:
            i += 1
        elif may_match:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _points(opener: Opener, closer: Closer) -> int:
    if opener.character + closer.character not in {"()", "[]", "{}"}:
        return 0
    if not closer.first:
        return 10
    return 13 if opener.column == closer.column else 6


def _escaped(line: str, start: int, at: int) -> bool:
    slashes = 0
    while at - slashes > start and line[at - slashes - 1] == "\\":
        slashes += 1
    return slashes % 2 == 1


def _entered(language: Language, kind: str, token: str) -> Inside:
    if kind == "block":
        return Inside("comment", dict(language.block_comments)[token], long=True)
    if kind == "long":
        return Inside("string", dict(language.long_quotes)[token], long=True)
    return Inside("string", token, long=False)


@lru_cache(maxsize=128)
def _tokens(language: Language) -> re.Pattern[str]:
    parts = [
        ("block", [re.escape(opener) for opener, _ in language.block_comments]),
        ("line", [comment_start(opener) for opener in language.line_comments]),
        ("long", [re.escape(opener) for opener, _ in language.long_quotes]),
        # A character literal ('{') where ' does not quote strings: Rust lifetimes and Haskell primes are no quotes.
        ("literal", [] if "'" in language.quotes or not language.brackets else [r"'(?:\\[^'\n]+|[^'\\\n])'"]),
        ("quote", [re.escape(quote) for quote in language.quotes]),
        ("bracket", [re.escape(bracket) for bracket in language.brackets]),
    ]
    return re.compile("|".join(f"(?P<{name}>{'|'.join(some)})" for name, some in parts if some) or "(?!)")
