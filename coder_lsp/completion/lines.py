"""What one line of code tells by itself: indentation, whether it opens or closes a block, is a comment, an import.

Line heuristics from the language table, without a parser; they decide where no grammar exists, where the file is too
large, and inside half-typed code that no parser understands. Lines come without their line break.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, Language

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TAB_COLUMNS = 4
"""Columns of a tab where tabs and spaces meet in one comparison; within one style the value does not matter."""

UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
"""Characters that nobody sees, or that make text look like another: controls, line breaks that are none, embeddings of
the other direction (https://trojansource.codes), tags. A small model copies them out of the files it is shown."""


def leading(line: str) -> str:
    """The indentation of a line, as it is written."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def width(indentation: str) -> int:
    """Columns of a string of tabs and spaces."""
    return len(indentation.expandtabs(TAB_COLUMNS))


def indent(line: str) -> int:
    """Columns before the first visible character."""
    return width(leading(line))


def code(line: str, language: Language) -> str:
    """The line without indentation, trailing comment and trailing white space."""
    stripped = line.strip()
    for match in _comment_or_string(language).finditer(stripped):
        if match.lastgroup == "comment":
            return stripped[: match.start()].rstrip()
    return stripped


def visible(text: str) -> int:
    """Characters that can be seen."""
    return sum(not character.isspace() for character in text)


def opens_block(line: str, language: Language, *, complete: bool = False) -> bool:
    """Whether a block begins at the end of this line. ``complete``: nothing more will be typed on it."""
    head = code(line, language)
    if not head:
        return False
    if re.search(language.opens_at_end, head):
        return True
    return complete and bool(language.opens_as_line) and re.search(language.opens_as_line, head) is not None


def opens_bracket(line: str, language: Language) -> bool:
    """Whether the line ends inside an expression: after ``(`` or ``[``."""
    return code(line, language).endswith(("(", "["))


def closes_block(line: str, language: Language) -> bool:
    return re.match(language.closes, line.strip()) is not None


def continues_block(line: str, language: Language) -> bool:
    return bool(language.continues) and re.match(language.continues, line.strip()) is not None


def defines(line: str, language: Language) -> bool:
    return bool(language.defines) and re.match(language.defines, line.strip()) is not None


def imports(line: str, language: Language) -> bool:
    return bool(language.imports) and re.match(language.imports, line.strip()) is not None


def is_comment(line: str, language: Language) -> bool:
    """The whole line is a comment, or one line of a block comment in the usual layout (``* …``)."""
    stripped = line.strip()
    if stripped.startswith(language.line_comments) or any(stripped.startswith(o) for o, _ in language.block_comments):
        return True
    ends = tuple(end for _, end in language.block_comments)
    return stripped.endswith(ends) or (stripped.startswith("* ") and ("/*", "*/") in language.block_comments)


def unfinished(line: str, language: Language) -> bool:
    """The statement goes on below: the line ends with an operator, a comma or a backslash."""
    if language.style is BlockStyle.PROSE:
        return False
    head = code(line, language)
    if head.endswith(("++", "--")):
        return False
    return (
        head.endswith(("\\", ",", "=", "+", "&&", "||", "?"))
        or re.search(r"(?:\s[-*/%|&.]|\b(?:and|or))$", head) is not None
    )


def only_closers(text: str) -> bool:
    """Nothing but closing brackets, separators and white space (false for an empty text)."""
    return bool(text.strip()) and not text.strip(" \t\n)]};,")


def expected_indent(above: Sequence[str], language: Language, unit: str) -> int | None:
    """Columns at which a new line below ``above`` should begin; None inside an expression that goes on."""
    for line in reversed(above):
        if not line.strip():
            continue
        if opens_bracket(line, language) or unfinished(line, language):
            return None
        deeper = opens_block(line, language, complete=True)
        return indent(line) + (width(unit) if deeper else 0)
    return 0


def indent_unit(lines: Iterable[str]) -> str | None:
    """One level of indentation as these lines write it: a tab, two to eight spaces, or None without evidence.

    Spaces are counted by the steps between neighbouring lines, so three spaces are as good as four.
    """
    sample = [leading(line) for line in lines if line.strip()]
    tabs = sum(space.startswith("\t") for space in sample)
    spaces = sum(space.startswith("  ") for space in sample)
    if tabs or spaces:
        if tabs >= spaces:
            return "\t"
        steps = Counter(abs(len(one) - len(two)) for one, two in pairwise([""] + [s for s in sample if "\t" not in s]))
        usual = max((step for step in steps if 2 <= step <= 8), key=lambda step: (steps[step], -step), default=4)
        return " " * usual
    return None


@lru_cache(maxsize=128)
def _comment_or_string(language: Language) -> re.Pattern[str]:
    parts = [f"(?P<comment>{'|'.join(map(comment_start, language.line_comments))})"] if language.line_comments else []
    parts += [rf"{re.escape(o)}.*?{re.escape(c)}" for o, c in (*language.long_quotes, *language.block_comments)]
    parts += [rf"{re.escape(quote)}(?:\\.|[^{quote}\\])*(?:{quote}|$)" for quote in language.quotes]
    return re.compile("|".join(parts) or r"(?!)")


def comment_start(opener: str) -> str:
    """A regular expression for where a line comment begins, keeping off the look-alikes of shells, Perl and PHP."""
    if opener == "#":
        return r"(?<![$\w{&\\])#(?!\[)"
    if opener[0].isalpha():
        return rf"(?<!\S){re.escape(opener)}"
    if opener == "//":
        return "(?<!:)//"  # not the one in a bare URL
    return rf"(?<!\\){re.escape(opener)}"
