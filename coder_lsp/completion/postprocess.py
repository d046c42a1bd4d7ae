r"""From what the model wrote to what the editor inserts: pure functions on text, in code points.

``clean`` is the entry: it cuts the text where :class:`~coder_lsp.completion.stopping.StopRule` says, makes the
indentation the file's, takes away what already stands after the cursor, and refuses what is not worth showing. An
:class:`Edit` stays on the cursor's line: it may take over characters after the cursor there, never before it, never
below. Texts may have any line breaks; the edit has the file's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coder_lsp.completion.brackets import Scanner, provided, scan_before
from coder_lsp.completion.indentation import fix_indentation
from coder_lsp.completion.lines import (
    leading,
    only_closers,
    visible,
)
from coder_lsp.completion.stopping import StopRule, unix
from coder_lsp.languages import PLAIN, Language, by_id

if TYPE_CHECKING:
    from coder_lsp.completion.brackets import Closer
    from coder_lsp.types import Shape

__all__ = ["Edit", "StopRule", "Verdict", "clean", "drop_suffix_overlap", "examine", "fix_indentation"]

_COPIED_LINES = 3
"""A suggestion that repeats at least so many lines from just above the cursor is a copy, not an idea."""


@dataclass(frozen=True)
class Edit:
    """Insert ``text`` at the cursor in place of the ``replace_after`` code points that follow it on its line."""

    text: str
    replace_after: int = 0


@dataclass(frozen=True)
class Verdict:
    """An edit, or None and why nothing is worth showing."""

    edit: Edit | None
    reason: str = ""


def clean(
    text: str, before: str, after: str, language: str | Language, shape: Shape, *, truncated: bool = False
) -> Edit | None:
    """The edit to offer for what the model wrote between ``before`` and ``after``, None if there is nothing in it."""
    return examine(text, before, after, language, shape, truncated=truncated).edit


def examine(
    text: str,
    before: str,
    after: str,
    language: str | Language,
    shape: Shape,
    *,
    truncated: bool = False,
    settled: bool = False,
) -> Verdict:
    """:func:`clean`, with the reason where there is no edit.

    ``truncated``: the model ran out of tokens or time, so the last of several lines may be half a line; it is left
    out, because a whole line less is better than a broken one. ``settled``: it is decided already where the text ends.
    """
    known = by_id(language) if isinstance(language, str) else language
    line_break = _line_break(before + after[:2000])
    before, after = unix(before), unix(after)
    rest = after.partition("\n")[0]

    kept, reason = (text, "") if settled else ending(StopRule(before, after, known, shape), text, truncated=truncated)
    if not kept.strip():
        return Verdict(None, reason or "empty")
    kept = fix_indentation(kept, before, known)
    kept = kept.rstrip() if not rest or rest[0].isspace() else kept.rstrip("\n")

    edit = _fit(kept, before, after, rest, known)
    if rest[:1].isspace() and not edit.replace_after:
        edit = Edit(edit.text.rstrip())
    reason = _worthless(edit, before, after, rest, known)
    if reason:
        return Verdict(None, reason)
    if line_break != "\n":
        edit = Edit(edit.text.replace("\n", line_break), edit.replace_after)
    return Verdict(edit)


def ending(rule: StopRule, text: str, *, truncated: bool = False) -> tuple[str, str]:
    """What ``rule``, which has seen nothing yet, keeps of a text, and why it ended; ``truncated`` as above."""
    wants_more = rule.feed(text)
    kept = rule.finish()
    if truncated and wants_more and "\n" in kept.strip("\n"):
        kept = kept.rpartition("\n")[0]
    return kept, rule.reason


def drop_suffix_overlap(text: str, suffix: str) -> str:
    """``text`` without its end, as far as that end is the beginning of ``suffix``.

    First the longest exact overlap, then whole lines compared without white space: the last lines of the text
    against the first visible lines of the suffix. An overlap of brackets and separators alone counts only if the text
    itself does not open those brackets, and one that begins inside a word does not count: ``retur`` + ``n`` is not
    an overlap with ``name``.

    >>> drop_suffix_overlap("a, b)", ")")
    'a, b'
    >>> drop_suffix_overlap("f(a)", ")")
    'f(a)'
    """
    text, suffix = unix(text), unix(suffix)
    return _drop_overlap(text, suffix, brackets=True)


def _fit(text: str, before: str, after: str, rest: str, language: Language) -> Edit:
    """Make the text end where what stands after the cursor begins."""
    standing = rest.strip()
    if not standing:
        return Edit(_drop_overlap(text, after, brackets=False))
    scanner = scan_before(before, language)
    closed, on_line = provided(scanner, after, language)
    if "\n" in text:
        text = text.rstrip()
        # The closing bracket stands on the cursor's line and belongs on one of its own below the block.
        head = before.rpartition("\n")[2]
        return Edit(f"{text}\n{leading(head)}" if only_closers(standing[0]) else text)
    if text.rstrip().endswith(standing) and len(standing) > 1 and not only_closers(standing):
        return Edit(text.rstrip()[: -len(standing)])
    quote = scanner.inside
    if quote is not None and quote.kind == "string" and quote.end and standing.startswith(quote.end):
        return _fit_string(text, rest, quote.end, scanner)
    if quote is not None and only_closers(standing[0]):
        # Prose: brackets are paired by the editor and by writers, not by the language.
        prose = [c for c in Scanner(replace(PLAIN, brackets="()[]{}")).feed(text) if c.opener is None]
        return _fit_closers(text, rest, prose, below=False) if prose else Edit(text)
    taken = [c for c in scanner.fork().feed(text) if c.opener is not None and closed[c.level]]
    if taken:
        return _fit_closers(text, rest, taken, below=not on_line[taken[0].level])
    shorter = _drop_exact(text, rest.lstrip() if text[-1:].isspace() else rest, brackets=False, before=before)
    if shorter != text:
        return Edit(shorter)
    at = text.find(standing)
    if at >= 0 and len(standing) > 1 and not standing[0].isalnum() and rest == rest.lstrip():
        return Edit(text.rstrip(), len(rest.rstrip()))
    return Edit(text)


def _fit_closers(text: str, rest: str, taken: list[Closer], *, below: bool) -> Edit:
    """The text closes brackets that are closed after the cursor: ``foo(¦)`` and ``a) + b``.

    If it writes all that stands there and goes on, it takes the rest of the line over, else it ends before them.
    """
    at = taken[0].at
    tail, standing = text[at:].rstrip(), rest.strip()
    if below:
        return Edit(text[:at].rstrip())
    if standing.startswith(tail):
        return Edit(text[:at])
    closes_all = len(taken) == sum(character in ")]}" for character in standing)
    if tail.startswith(standing) or (closes_all and _is_within(standing, tail) and _ends_alike(standing, tail)):
        return Edit(text.rstrip(), len(rest.rstrip()))
    return Edit(text[:at])


def _ends_alike(standing: str, tail: str) -> bool:
    return only_closers(standing) or tail[-1] == standing[-1]


def _is_within(part: str, whole: str) -> bool:
    """Whether the characters of ``part`` come in ``whole`` in this order: editors show ghost text only then."""
    characters = iter(whole)
    return all(character in characters for character in part if not character.isspace())


def _fit_string(text: str, rest: str, quote: str, scanner: Scanner) -> Edit:
    """The cursor is in a string whose closing quote follows. The text may end there, or write it and go on; then it
    takes the rest of the line over, unless it goes on with brackets that are not its to close.
    """
    end = re.search(rf"(?<!\\)(?:\\\\)*({re.escape(quote)})", text)
    if end is None:
        return Edit(text)
    at = end.start(1)
    tail, standing = text[at:].rstrip(), rest.strip()
    foreign = any(closer.opener is None for closer in scanner.fork().feed(text))
    if tail.startswith(standing) and tail != standing and not foreign:
        return Edit(text.rstrip(), len(rest.rstrip()))
    return Edit(text[:at])


def _worthless(edit: Edit, before: str, after: str, rest: str, language: Language) -> str:
    """Why an edit is not worth a user's look; empty if it is."""
    text = edit.text.strip()
    if not text:
        return "nothing new"
    if edit.replace_after and edit.text.strip() == rest.strip():
        return "identical to what follows"
    if not edit.replace_after and _follows(text, rest, after):
        return "identical to what follows"
    if not edit.replace_after and only_closers(text) and after.lstrip().startswith(text[0]):
        scanner = scan_before(before, language)
        closed, _ = provided(scanner, after, language)
        if all(closer.opener is None or closed[closer.level] for closer in scanner.fork().feed(text)):
            return "brackets that already follow"
    if _copies(edit.text, before):
        return "copy of the lines above"
    if visible(text) < 2 and not only_closers(text) and not before.rpartition("\n")[2].strip():
        # Where a statement begins, one character is a guess at a name; behind something it may be all that is missing.
        return "too little"
    if not any(character.isalnum() for character in text) and len(set(text)) == 1 and len(text) > 3:
        return "too little"
    return ""


def _follows(text: str, rest: str, after: str) -> bool:
    """The rest of the line is the text, or begins with it as a whole word; or the next lines are, white space apart."""
    if only_closers(text):
        return False
    if rest.strip():
        standing = rest.strip()
        splits_word = _is_word(text[-1]) and _is_word(standing[len(text) :][:1] or " ")
        return standing.startswith(text) and not splits_word
    wanted = [_squeeze(line) for line in text.split("\n") if line.strip()]
    below = [_squeeze(line) for line in after[: 4 * len(text) + 2000].split("\n") if line.strip()]
    return below[: len(wanted)] == wanted


def _copies(text: str, before: str) -> bool:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) < _COPIED_LINES:
        return False
    above = [line.strip() for line in before[-len(text) * 3 - 2000 :].split("\n") if line.strip()]
    return above[-len(lines) :] == lines


def _drop_overlap(text: str, suffix: str, *, brackets: bool) -> str:
    shorter = _drop_exact(text, suffix, brackets=brackets)
    return shorter if text[len(shorter) :].strip() else _drop_lines(shorter, suffix)


def _drop_exact(text: str, suffix: str, *, brackets: bool = True, before: str = "") -> str:
    """Without the longest end that ``suffix`` begins with. ``brackets`` False: they were counted already."""
    for size in range(min(len(text), len(suffix), 2000), 0, -1):
        end = text[len(text) - size :]
        if end[0] != suffix[0] or not suffix.startswith(end):
            continue
        shorter = text[: len(text) - size]
        solid = end.strip()
        if not solid:
            return shorter
        if _splits_word(shorter, end):
            continue
        if only_closers(solid) and solid.strip(";,"):
            if brackets and not _opens(shorter, solid):
                return shorter
            continue
        if solid in {'"', "'", "`"}:
            line = before.rpartition("\n")[2] + shorter.rpartition("\n")[2]
            if before and line.count(solid) % 2 == 0:
                continue  # it opens or stands alone; only a closing quote repeats the one after the cursor
            return shorter
        if len(solid) < 3 and (solid.isalnum() or suffix[:1] == "\n"):
            continue
        if solid == ">" and text.count("<") < text.count(">") and text[-2:] not in {"->", "=>"}:
            return shorter  # of a tag or of type arguments
        if len(solid) == 1 and (solid not in ";,:" or suffix.startswith("::")):
            continue  # half of an operator as likely as a repetition: ``=`` before ``= 1`` makes ``==``
        return shorter
    return text


def _splits_word(shorter: str, end: str) -> bool:
    return bool(shorter) and _is_word(shorter[-1]) and _is_word(end[0])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _opens(text: str, closers: str) -> bool:
    """Whether the first of ``closers`` closes something that ``text`` opened."""
    scanner = Scanner(by_id("c"))
    scanner.feed(text)
    bracket = next((character for character in closers if character in ")]}"), "")
    return bool(scanner.open) and scanner.open[-1].character + bracket in {"()", "[]", "{}"}


def _drop_lines(text: str, suffix: str) -> str:
    """Without last lines that are the first visible lines of ``suffix``, white space apart.

    One line must have three letters or digits to count, so that a brace or an operator is never taken by accident.
    """
    lines = text.split("\n")
    head = [line for line in suffix[: len(text) * 2 + 2000].split("\n") if line.strip()]
    visible_at = [index for index, line in enumerate(lines) if line.strip()]
    for count in range(min(len(visible_at), len(head)), 0, -1):
        start = visible_at[-count]
        if start == 0 and len(lines) > 1 and not suffix.startswith("\n"):
            continue
        tail = [lines[index] for index in visible_at[-count:]]
        if [_squeeze(line) for line in tail] != [_squeeze(line) for line in head[:count]]:
            continue
        if sum(character.isalnum() for character in "".join(tail)) < 3:
            continue
        if count == 1 and leading(tail[0]) != leading(head[0]) and start > 0 and visible(tail[0]) < 12:
            continue  # ``return x`` of an inner block is not the outer one's
        return "\n".join(lines[:start]).rstrip("\n")
    return text


def _squeeze(line: str) -> str:
    return "".join(line.split())


def _line_break(text: str) -> str:
    if "\r" not in text:
        return "\n"
    return "\r\n" if text.count("\r\n") * 2 >= text.count("\n") and "\n" in text else ("\n" if "\n" in text else "\r")
