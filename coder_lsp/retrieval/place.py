"""What a place in a document asks the workspace for: weighted terms, names in use, what encloses it.

Looks at lines and indentation only, so it works on half-typed code in every language and takes well below a
millisecond. Knows no index; ``context`` does the asking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from coder_lsp.retrieval.bm25 import tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

IDENTIFIER = re.compile(r"[^\W\d]\w+")
"""Names of two characters and more. Shorter ones say nothing about another file."""

_WORDS = """
    abstract and any as assert async auto await base bool boolean break byte case catch char class const
    constexpr continue crate def default defer del delete do double elif else elsif end endif enum except
    export extends extern False false final finally float fn for foreach from func function global go goto if
    impl implements import in include inline instanceof int interface internal is lambda let local long loop
    match mod module mut namespace new nil None none nonlocal not null nullptr object of open operator or out
    override package pass private protected pub public raise range readonly ref require return self Self short
    signed sizeof static std str string struct super switch template then this throw throws trait True true
    try type typedef typename typeof undefined union unless unsafe unsigned until use using val var virtual
    void volatile when where while with yield cls len print
"""
KEYWORDS = frozenset(_WORDS.split())
"""Words that are in every file of some language: showing where else they occur helps nobody."""

QUERY_LINES = 10
"""Last non-blank lines that are searched for, as CrossCodeEval does (arXiv 2310.11248, §3)."""
LINE_DECAY = 0.8
"""Each line further up counts for so much of the one below it."""
FUNCTION_WEIGHT = 2.0
"""The head of the enclosing function counts for as much as two last lines: it names what is being written."""
OUTER_WEIGHT = 1.0
"""The head of a class around it; an ``if`` or a loop says nothing about other files."""
CALLED_LINES = 3
ABOVE_LINES = 4
NAMES_LINES = 10
NAMES_DECAY = 0.9

_LOOK_BACK_LINES = 2_000
_LOOK_BACK_CHARACTERS = 100_000
_HEADS = 8
_HEAD_LINES = 40
_CLOSING = tuple("})]")
_OPENING = (":", "{", "=>")
_QUOTES = ('"""', "'''")
_COMMENTS = ("#", "//", "/*", "*")
_CONTROL = re.compile(
    r"(?:\}\s*)?(?:if|elif|else|elsif|for|foreach|while|until|switch|case|match|try|catch|except|finally|with|do|loop|when|"
    r"unless|using|lock|select|return|await|yield|unsafe|synchronized)\b"
)
_NAMED_FUNCTION = re.compile(r"\b(?:def|func|fn|function|fun|sub|proc|method|macro)\s+(?:\([^)]*\)\s*)?([^\W\d]\w*)")
_NAMED_TYPE = re.compile(
    r"\b(?:class|struct|interface|trait|enum|record|object|protocol|module|namespace|impl(?:<[^>]*>)?)\s+([^\W\d]\w*)"
)
_CALLED = re.compile(r"([^\W\d]\w+)\s*\(")
_CALL_LIKE = re.compile(r"([^\W\d]\w*)\s*(?:<[^<>]*>)?\s*\(")
_ASSIGNED_FUNCTION = re.compile(r"([^\W\d]\w*)\s*[:=]\s*(?:async\s+)?(?:function\b|\([^()]*\)\s*(?::[^=]+)?=>)")


@dataclass(frozen=True)
class Head:
    """A line that opens a block around the place. ``name`` is what it declares, empty for an ``if`` or a loop."""

    name: str
    kind: str
    """``function``, ``class`` or ``block``."""
    line: str
    """All of a head that is written over several lines, as one."""
    first: int = field(default=0, compare=False)
    last: int = field(default=0, compare=False)
    """Where it is written, among the non-blank lines above the place."""


@dataclass(frozen=True)
class Place:
    """See the module. Weights are at least 0; the nearer to the cursor, the larger."""

    terms: dict[str, float] = field(repr=False)
    """BM25 terms and what each counts."""
    names: dict[str, float] = field(repr=False)
    """Identifiers in use before the cursor."""
    called: frozenset[str] = field(repr=False)
    """Those with a bracket behind them on the last lines; not the function that is being written."""
    heads: tuple[Head, ...]
    """What encloses the place, the innermost first."""
    known: frozenset[str] = field(repr=False)
    """Every identifier of the document: what it has already it need not be shown."""
    written: tuple[str, ...] = field(default=(), repr=False)
    """The lines of the enclosing function's body above the cursor's, stripped, without blank ones and comments."""
    above: tuple[str, ...] = field(default=(), repr=False)
    """The non-blank lines right above that function, stripped."""

    @property
    def function(self) -> str:
        """Name of the enclosing function, empty outside of one."""
        found = function_of(self.heads)
        return found.name if found else ""


def function_of(heads: Sequence[Head]) -> Head | None:
    """The innermost function."""
    return next((head for head in heads if head.kind == "function"), None)


def scope(text: str, cursor: int) -> str:
    """The head of the function around a place, after that of its class; empty outside of functions."""
    heads = enclosing(_lines_up_to(text, cursor), _column(text, cursor))
    named = [head.line for head in heads if head.kind != "block"]
    return "\n".join(reversed(named)) if function_of(heads) else ""


def look(text: str, cursor: int) -> Place:
    """What the place ``cursor`` (a code point offset) of a document asks for."""
    before = _lines_up_to(text, cursor)
    heads = enclosing(before, _column(text, cursor))
    terms: dict[str, float] = {}
    weight = 1.0
    for line in reversed(before[-QUERY_LINES:]):
        _add(terms, tokenize(line), weight)
        weight *= LINE_DECAY
    called = {name for line in before[-CALLED_LINES:] for name in _CALLED.findall(line)}
    called -= {head.name for head in heads}
    names: dict[str, float] = {}
    weight = 1.0
    for line in reversed(before[-NAMES_LINES:]):
        for name in IDENTIFIER.findall(line):
            names.setdefault(name, weight)
        weight *= NAMES_DECAY
    for head in heads:
        if head.kind != "block":
            _add(terms, tokenize(head.line), FUNCTION_WEIGHT if head.kind == "function" else OUTER_WEIGHT)
            names.update(dict.fromkeys(IDENTIFIER.findall(head.line), 1.0))
    for word in KEYWORDS & names.keys():
        del names[word]
    begun = text[text.rfind("\n", 0, cursor) + 1 : cursor].strip()
    function = function_of(heads)
    return Place(
        terms,
        names,
        frozenset(called),
        heads,
        known=frozenset(IDENTIFIER.findall(text)),
        written=_statements(before[function.last + 1 : -1 if begun else None]) if function else (),
        above=tuple(map(str.strip, before[max(0, function.first - ABOVE_LINES) : function.first])) if function else (),
    )


def _lines_up_to(text: str, cursor: int) -> list[str]:
    """The non-blank lines up to a place, its own as far as it goes."""
    near = text[max(0, cursor - _LOOK_BACK_CHARACTERS) : cursor]
    return [line for line in near.split("\n")[-_LOOK_BACK_LINES:] if line.strip()]


def enclosing(before: list[str], column: int) -> tuple[Head, ...]:
    """Heads of the blocks around a place, by indentation: ``before`` are the non-blank lines above and at it."""
    heads: list[Head] = []
    indentation = column
    for number in range(len(before) - 1, -1, -1):
        line = before[number]
        here = indent_of(line)
        if here >= indentation:
            continue
        indentation = here
        first = last = number
        if line.strip() in {"{", "(", "begin", "do"} and number:
            first = last = number - 1
            line = before[last]
        if line.strip()[:1] in _CLOSING:
            first = _opened_at(before, last, alone=last == number)
            line = " ".join(part.strip() for part in before[first : last + 1])
        if first <= last:
            heads.append(replace(_head(line.strip()), first=first, last=number))
        if not here or len(heads) == _HEADS:
            break
    return tuple(heads)


def _opened_at(before: Sequence[str], last: int, *, alone: bool) -> int:
    """Where a head over several lines begins whose last one begins with ``)``; behind ``last`` if that ends no head.

    ``alone``: what opens the block stands there, too, and not in a line of its own.
    """
    line = before[last]
    if line.strip()[0] == ")" and (not alone or line.rstrip().endswith(_OPENING)):
        column = indent_of(line)
        for first in range(last - 1, max(-1, last - _HEAD_LINES), -1):
            if indent_of(before[first]) <= column:
                if indent_of(before[first]) == column and before[first].rstrip().endswith("("):
                    return first
                break
    return last + 1


def _statements(body: Sequence[str]) -> tuple[str, ...]:
    """Lines without white space around them, without comments and what is a docstring of Python's."""
    lines: list[str] = []
    quote = ""
    for line in map(str.strip, body):
        if quote:
            quote = "" if quote in line else quote
        elif line.startswith(_QUOTES):
            quote = "" if line[:3] in line[3:] else line[:3]
        elif not line.startswith(_COMMENTS):
            lines.append(line)
    return tuple(lines)


def _head(line: str) -> Head:
    if _CONTROL.match(line):
        return Head("", "block", line)
    for pattern, kind in (
        (_NAMED_FUNCTION, "function"),
        (_NAMED_TYPE, "class"),
        (_ASSIGNED_FUNCTION, "function"),
        (_CALL_LIKE, "function"),
    ):
        found = pattern.search(line)
        if found:
            return Head(found[1], kind, line)
    return Head("", "block", line)


def _column(text: str, cursor: int) -> int:
    """Indentation of the cursor's line; on a blank one the cursor's own column, or that of the block just opened.

    At the beginning of an empty line right below another one, nothing says yet that the other's block is at its end.
    """
    line = text[text.rfind("\n", 0, cursor) + 1 : cursor]
    if line.strip():
        return indent_of(line)
    above = text[:cursor].rstrip()
    last = above[above.rfind("\n") + 1 :]
    opened = last.endswith((":", "{", "(", "[", "=>", "then", "do"))
    if opened:
        return max(len(line.expandtabs(4)), indent_of(last) + 1)
    below = text.count("\n", len(above), cursor) == 1
    return len(line.expandtabs(4)) or (indent_of(last) if below else 0)


def indent_of(line: str) -> int:
    """Columns before the first visible character."""
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _add(terms: dict[str, float], found: list[str], weight: float) -> None:
    for term in found:
        terms[term] = terms.get(term, 0.0) + weight
