r"""The indentation of a suggestion made the file's own: tabs or spaces, and nothing doubled at the cursor.

Pure functions of the text before the cursor and the model's text; part of what ``postprocess.clean`` does.
"""

from __future__ import annotations

import math

from coder_lsp.completion.brackets import scan_before
from coder_lsp.completion.lines import expected_indent, indent_unit, leading, width
from coder_lsp.completion.stopping import ABOVE_CHARACTERS, unix
from coder_lsp.languages import Language, by_id


def fix_indentation(text: str, before: str, language: str | Language) -> str:
    r"""``text`` with the file's own indentation: tabs where it has tabs, and no white space doubled at the cursor.

    Lines inside strings that span lines are left alone. What stands between the cursor and the first visible
    character is cut to what the line still needs: after four columns of typed indentation, ``"    return x"`` becomes
    ``"return x"`` unless the line belongs deeper. In the middle of a line a leading space goes if one is already there.
    """
    known = by_id(language) if isinstance(language, str) else language
    before, text = unix(before), unix(text)
    head = before.rpartition("\n")[2]
    above = before[-ABOVE_CHARACTERS:].split("\n")[:-1]
    unit = indent_unit(above)
    if unit is None:
        unit = _unit_of_cursor(head) or ("\t" if known.tabs else "")
    first, newline, others = text.partition("\n")
    if others and unit:
        others = _convert(first, others, before, unit, known)
    if not head.strip():
        return _fit_first(first + newline + others, head, above, unit, known)
    if head[-1] in " \t" and first[:1] in {" ", "\t"} and not _aligned(head, above) and not _in_literal(before, known):
        first = first.lstrip(" \t")
    return first + newline + others


def _convert(first: str, others: str, before: str, unit: str, language: Language) -> str:
    """Continuation lines in the file's style of indentation, except inside strings that span lines."""
    lines = others.split("\n")
    foreign = " " if unit == "\t" else "\t"
    if not any(foreign in leading(line) for line in lines):
        return others
    columns = _columns([leading(line) for line in lines if line.strip()])
    scanner = scan_before(before, language)
    scanner.feed(first + "\n")
    result = []
    for line in lines:
        literal = scanner.inside is not None and scanner.inside.long and scanner.inside.kind == "string"
        scanner.feed(line + "\n")
        if literal or not line.strip():
            result.append(line)
            continue
        space = leading(line)
        result.append(_convert_space(space, unit, columns) + line[len(space) :])
    return "\n".join(result)


def _columns(spaces: list[str]) -> int:
    """Columns of one level in indentation written with spaces: two or three if all are multiples of it.

    Otherwise four: eight columns are more often two levels of four than one, and five are four and an alignment.
    """
    divisor = math.gcd(*(len(space) for space in spaces if space and "\t" not in space))
    return divisor if divisor in {2, 3} else 4


def _unit_of_cursor(head: str) -> str | None:
    return "\t" if head.startswith("\t") else None


def _fit_first(text: str, head: str, above: list[str], unit: str, language: Language) -> str:
    """The first line's own indentation, no more than the line still needs behind what is typed already.

    The next line tells whether the model wrote the typed indentation again; if there is none, the lines above do.
    """
    first, newline, others = text.partition("\n")
    space = leading(first)
    if not space or not first.strip():
        return text
    body = first[len(space) :]
    foreign = " " if unit == "\t" else "\t"
    if not head:
        space = _convert_space(space, unit, _columns([space])) if unit and foreign in space else space
        return space + body + newline + others
    following = next((line for line in others.split("\n") if line.strip()), "")
    expected = expected_indent(above, language, unit or "    ")
    typed, total = width(head), width(head + space)
    if following and width(leading(following)) in {typed, total}:
        expected = width(leading(following))
    if expected is None:  # inside an expression its author aligns as he likes; only an exact repetition goes
        return text if space != head else body + newline + others
    needed = max(0, expected - typed)
    if width(space) > needed:
        space = "\t" * (needed // width("\t")) if unit == "\t" else " " * needed
    return space + body + newline + others


def _convert_space(space: str, unit: str, columns: int) -> str:
    if unit == "\t":
        levels, odd = divmod(len(space.expandtabs(columns)), columns)
        return "\t" * levels + " " * odd
    return space.replace("\t", unit)


def _aligned(head: str, above: list[str]) -> bool:
    """The line above has two spaces where the cursor is: a column of values is being lined up."""
    column = len(head)
    line = next((line for line in reversed(above) if line.strip()), "")
    return line[column - 1 : column + 1] == "  " or line[column : column + 2] == "  "


def _in_literal(before: str, language: Language) -> bool:
    return scan_before(before, language).inside is not None
