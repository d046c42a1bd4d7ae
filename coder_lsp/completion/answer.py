"""From what a model answers to code that fits where it goes: without fences and chatter, indented as the place is, and
without the lines that stand there already. Pure functions of text.
"""

from __future__ import annotations

import re

from coder_lsp.completion.lines import indent_unit, leading

FENCE = "```"
_OVERLAP_LINES = 40
_SHORTEST_LOOP, _LONGEST_LOOP, _TIMES, _LETTERS_OF_A_LOOP = 12, 240, 5, 5
"""Characters of what is repeated, how often, and how many different ones: a ruler of dashes is no loop."""
_DECLARATION = re.compile(
    r"\s*(?:@\w|(?:(?:export|default|public|private|protected|static|async|abstract|final|pub(?:\(\w+\))?|override)\s+)*"
    r"(?:def|class|function|func|fn|fun|interface|struct|enum|trait|impl|record|module|type)\b)"
)
_SPACES = 4


def code_of(answer: str, *, begun: bool, done: bool) -> str:
    """The code of an answer so far: of its first fenced block. ``begun``: it begins inside one.

    An answer that is ``done`` and has no fence is taken for code as a whole.
    """
    lines = answer.split("\n")
    if not begun:
        opening = next((number for number, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
        if opening is None:
            return answer.strip("\n") if done else ""
        lines = lines[opening + 1 :]
    closing = next((number for number, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
    if closing is not None:
        lines = lines[:closing]
    elif not done and lines and FENCE.startswith(lines[-1].strip()):
        # It may become the closing fence.
        lines = lines[:-1]
    return "\n".join(lines)


def fit(code: str, *, before: str, after: str, indent: str | None) -> str:
    """Code as whole lines for a place between ``before`` and ``after``, its outermost lines indented by ``indent``;
    None: as it is.

    Lines that it repeats of those above and below are left out: small models begin with the function they were shown.
    """
    lines = [line.rstrip() for line in code.expandtabs(_SPACES).split("\n")]
    lines = _without_ends(_without_repeated(_without_ends(lines), before, after))
    common = min((len(leading(line)) for line in lines if line), default=0) if indent is not None else 0
    indent = indent or ""
    tabs = indent_unit(before.split("\n")) == "\t" or "\t" in indent
    return "\n".join(indent + _indented(line[common:], tabs=tabs) if line else "" for line in lines)


def repeats_itself(answer: str) -> bool:
    """Whether an answer ends with the same text several times over: a small model that has lost the thread."""
    for period in range(_SHORTEST_LOOP, _LONGEST_LOOP):
        unit = answer[-period:]
        if len(answer) < _TIMES * period:
            return False
        if answer.endswith(unit * _TIMES) and len(set(unit)) > _LETTERS_OF_A_LOOP:
            return True
    return False


def indent_at(text: str, offset: int) -> str:
    """The indentation of the line that an offset lies in; of a blank one, what stands before the offset."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end]
    return leading(line) if line.strip() else leading(text[start:offset])


def declares(code: str) -> bool:
    """Whether code begins with a function or a class, however decorated."""
    return any(_DECLARATION.match(line) for line in code.lstrip("\n").split("\n")[:2])


def indent_of_declaration(above: str, indent: str) -> str:
    """The indentation of the nearest function or class above that is less deep than ``indent``; else ``indent``."""
    for line in reversed(above.split("\n")):
        if _DECLARATION.match(line) and len(leading(line)) < len(indent):
            return leading(line)
    return indent


def _indented(line: str, *, tabs: bool) -> str:
    if not tabs:
        return line
    space = leading(line)
    levels, odd = divmod(len(space), _SPACES)
    return "\t" * levels + " " * odd + line[len(space) :]


def _without_ends(lines: list[str]) -> list[str]:
    """Without blank lines at both ends."""
    filled = [number for number, line in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _without_repeated(lines: list[str], before: str, after: str) -> list[str]:
    above = [line.strip() for line in before.split("\n") if line.strip()][-_OVERLAP_LINES:]
    below = [line.strip() for line in after.split("\n") if line.strip()][:_OVERLAP_LINES]
    filled = [number for number, line in enumerate(lines) if line]
    said = [lines[number].strip() for number in filled]
    for count in range(min(len(above), len(said)), 0, -1):
        if above[-count:] == said[:count]:
            lines = lines[filled[count - 1] + 1 :]
            break
    filled = [number for number, line in enumerate(lines) if line]
    said = [lines[number].strip() for number in filled]
    for count in range(min(len(below), len(said)), 0, -1):
        # A lone closing bracket is as likely to be this code's own.
        if below[:count] == said[-count:] and (count > 1 or any(map(str.isalnum, said[-1]))):
            return lines[: filled[-count]]
    return lines
