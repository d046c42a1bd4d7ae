"""How a completed place looks: numbered lines before, ghost text, lines after. Pure; ``cli.demo`` prints it."""

from __future__ import annotations

from dataclasses import dataclass

LINES_BEFORE = 3
LINES_AFTER = 2
TAB_SPACES = 4

CODE = "code"
GHOST = "ghost"


@dataclass(frozen=True)
class Run:
    """Text of one kind, :data:`CODE` or :data:`GHOST`, without line ends."""

    text: str
    kind: str


@dataclass(frozen=True)
class Row:
    """A line as it would stand in the file if the suggestion were accepted; ``number`` counts from 1."""

    number: int
    runs: tuple[Run, ...]


def rows(before: str, ghost: str, after: str) -> list[Row]:
    """The lines around a cursor with the ghost text in place.

    ``after`` is what stays behind the ghost text. Tabs are widened, since a terminal's own would depend on the gutter.
    """
    first = max(0, before.count("\n") - LINES_BEFORE)
    shown_before = "\n".join(before.split("\n")[first:])
    shown_after = "\n".join(after.split("\n")[: LINES_AFTER + 1])
    lines: list[list[Run]] = [[]]
    for text, kind in ((shown_before, CODE), (ghost, GHOST), (shown_after, CODE)):
        for i, piece in enumerate(text.split("\n")):
            if i:
                lines.append([])
            if piece:
                lines[-1].append(Run(piece.replace("\t", " " * TAB_SPACES), kind))
    return [Row(first + 1 + i, tuple(runs)) for i, runs in enumerate(lines)]


def plain(row: Row, width: int) -> str:
    """A row without escape codes: the ghost text stands between « and »."""
    code = "".join(f"«{run.text}»" if run.kind == GHOST else run.text for run in row.runs)
    return f"{row.number:>{width}} | {code}".rstrip()
