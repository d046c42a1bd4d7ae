"""One line or a block? Decided by syntax and place alone, so the same place always gets the same answer, with a reason.

The rules are tried in the order in which :func:`decide_shape` reads. Line heuristics come first, because they work in
half-typed code; the syntax tree is asked only whether the place lies in a string or comment and whether a blank line
stands between statements. Nothing here knows models or budgets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.completion.brackets import scan_before
from coder_lsp.completion.lines import imports, is_comment, opens_block, opens_bracket, unfinished
from coder_lsp.completion.stopping import unix
from coder_lsp.languages import BlockStyle, Language, resolve
from coder_lsp.syntax import tree as syntax
from coder_lsp.types import Shape, Trigger

if TYPE_CHECKING:
    from coder_lsp.completion.brackets import Scanner

AROUND_CHARACTERS = 48_000
"""Text before the cursor that is looked at; lines further up do not change what a line is."""
PARSE_MS = 15.0
"""A keystroke waits for the tree; past this the lines decide."""


@dataclass(frozen=True)
class ShapeDecision:
    """``reason`` is a short phrase for the log; ``by`` says what decided: ``rule``, ``lines`` or ``tree``."""

    shape: Shape
    reason: str
    by: str = "lines"


def decide_shape(
    text: str,
    cursor: int,
    language: str | Language,
    trigger: Trigger = Trigger.AUTOMATIC,
    *,
    multiline: bool = True,
    path: str = "",
) -> ShapeDecision:
    """How much to suggest at ``cursor``, a code point offset into ``text``.

    ``path`` names the language where the client's id does not. A user who asks (``Trigger.INVOKED``) gets a block at
    every line end, also where only a line comes by itself: inside brackets, prose and comments.
    """
    known = _language(language, path)
    if not multiline:
        return ShapeDecision(Shape.LINE, "multi-line is off", "rule")
    before = unix(text[max(0, cursor - AROUND_CHARACTERS) : cursor])
    after = unix(text[cursor : cursor + AROUND_CHARACTERS // 4])
    lines = before.split("\n")
    head, rest = lines[-1], after.partition("\n")[0].strip()
    invoked = trigger is Trigger.INVOKED
    if not _closers_only(rest):
        return ShapeDecision(Shape.LINE, "text after the cursor")

    scanner = scan_before(before, known)
    enclosed = _inside(text, cursor, head, known, scanner)
    if enclosed is not None:
        if invoked and enclosed.long and not rest:
            return ShapeDecision(Shape.BLOCK, f"asked for inside a {enclosed.kind} of several lines", enclosed.by)
        return ShapeDecision(Shape.LINE, f"inside a {enclosed.kind}", enclosed.by)
    if head.strip():
        return _on_line(head, rest, known, invoked=invoked)
    return _on_blank_line(lines[:-1], rest, known, scanner, invoked=invoked)


@dataclass(frozen=True)
class _Enclosed:
    kind: str
    long: bool
    by: str


def _on_line(head: str, rest: str, language: Language, *, invoked: bool) -> ShapeDecision:
    """The cursor stands behind something on its line."""
    if imports(head, language):
        return ShapeDecision(Shape.LINE, "import")
    if is_comment(head, language):
        return ShapeDecision(Shape.LINE, "inside a comment")
    if opens_bracket(head, language):
        if invoked and not rest:
            return ShapeDecision(Shape.BLOCK, "asked for at a line end")
        return ShapeDecision(Shape.LINE, "inside brackets")
    value_follows = language.id == "yaml" and head.endswith(": ")
    if opens_block(head, language) and _fits(head, rest) and not value_follows:
        return ShapeDecision(Shape.BLOCK, "line opens a block")
    if invoked and not rest:
        return ShapeDecision(Shape.BLOCK, "asked for at a line end")
    return ShapeDecision(Shape.LINE, "mid-statement")


def _on_blank_line(
    above: list[str], rest: str, language: Language, scanner: Scanner, *, invoked: bool
) -> ShapeDecision:
    """Only white space before the cursor; ``rest`` is empty or closing brackets."""
    previous = next((line for line in reversed(above) if line.strip()), "")
    nearest = above[-1] if above else ""
    bracket = scanner.open[-1].character if scanner.open else ""
    if opens_bracket(previous, language) or (bracket and bracket in "(["):
        if invoked and not rest:
            return ShapeDecision(Shape.BLOCK, "asked for inside brackets")
        if _is_data(language):
            return ShapeDecision(Shape.BLOCK, "entries of a list")
        return ShapeDecision(Shape.LINE, "inside brackets")
    if opens_block(previous, language, complete=True):
        return ShapeDecision(Shape.BLOCK, "body just opened")
    if language.style is BlockStyle.PROSE and not invoked:
        return ShapeDecision(Shape.LINE, "prose")
    if is_comment(nearest, language) or _ends_docstring(nearest):
        return ShapeDecision(Shape.BLOCK, "after a comment")
    if imports(nearest, language):
        return ShapeDecision(Shape.LINE, "among imports")
    if unfinished(previous, language) and not _is_data(language) and not bracket:
        return ShapeDecision(Shape.LINE, "the statement above goes on")
    if not above and not previous:
        return ShapeDecision(Shape.BLOCK, "start of the file")
    return ShapeDecision(Shape.BLOCK, "blank line between statements")


def _inside(text: str, cursor: int, head: str, language: Language, scanner: Scanner) -> _Enclosed | None:
    """The string or comment around the cursor. The scanner sees unfinished ones, which a tree shows as errors; the
    tree is right where quotes are not what they seem (a regular expression, a lifetime).
    """
    inside = scanner.inside
    quote = any(mark in head for mark in "\"'`") or inside is not None
    if not quote:
        return None
    if inside is not None and inside.kind == "comment" and not inside.long:
        return _Enclosed("comment", long=False, by="lines")
    tree = syntax.parse(language, text, around=cursor, limit_ms=PARSE_MS)
    kind = syntax.inside(tree, cursor) if tree is not None else ""
    if tree is None or (not kind and tree.has_error):
        return None if inside is None else _Enclosed(inside.kind, inside.long, "lines")
    if not kind:
        return None
    # A place inside a string whose line has no opening quote lies in one that spans lines.
    long = inside.long if inside is not None else not re.search("[\"'`]", head)
    return _Enclosed(kind, long, "tree")


def _closers_only(rest: str) -> bool:
    """Nothing, or brackets, quotes and separators that close what is open at the cursor."""
    return not rest.strip(" \t)]};,\"'`:>")


def _fits(head: str, rest: str) -> bool:
    """A block fits before ``rest``: nothing, or brackets that begin with the one that closes the block."""
    return not rest or (rest[0] == "}" and head.rstrip().endswith("{")) or rest in {";", ","}


def _ends_docstring(line: str) -> bool:
    return line.rstrip().endswith(('"""', "'''"))


def _is_data(language: Language) -> bool:
    return language.id in {"json", "jsonc", "yaml", "toml", "css", "scss"}


def _language(language: str | Language, path: str) -> Language:
    if isinstance(language, Language):
        return language
    return resolve(language, path)
