"""Functions of other files that are like the one being written: the same method of a sibling, a copy for another case.

What stands in their bodies where the cursor stands in this one is the likeliest answer of all, so it is shown in one
piece, nearest to the code. Likeness is of the heads alone (name, class, parameters), for the body is what is missing.
Reads the index through ``signals``' candidates; how much of a block they may take is ``context``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.retrieval.bm25 import tokenize
from coder_lsp.retrieval.place import IDENTIFIER, KEYWORDS, function_of, indent_of
from coder_lsp.retrieval.signals import telling, unspoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.retrieval.index import Hit
    from coder_lsp.retrieval.place import Head, Place
    from coder_lsp.retrieval.signals import Candidates
    from coder_lsp.syntax.outline import Definition

NAME, CLASS, PARAMETERS = 0.4, 0.2, 0.4
"""What each counts for the likeness of two heads, 1.0 in all."""
LEAST_LIKENESS = 0.4
TWIN = 0.85
"""Beside one that is so much alike, others that are less only mislead,"""
NEAR_TWIN = 0.08
"""or are less by so much."""
SAME_LINE = 0.05
"""What each line above a function counts that stands above the one being written, too."""
LOOKED_AT = 8
"""Functions with the likest heads whose text is read."""
MOST = 3
HIT_FILES = 6
"""Files that BM25 found best, in whose functions is looked as well."""
SAME_NAMES = 32
BEFORE_LINES = 2
"""Lines that are shown of a body before the one that answers to the cursor's."""
BODY_LINES = 8
LAST_LINES = 3
"""Last lines above the cursor by which its place in another body is found."""


@dataclass(frozen=True)
class Analogue:
    """The lines of a function that are worth showing, with what stands above it.

    ``likeness`` is 1.0 for an equal head, and more for a copy among copies. ``code`` is what it says of its own.
    """

    file: int
    definition: Definition
    likeness: float
    lines: tuple[int, ...]
    code: str = field(repr=False)


def analogues(candidates: Candidates, place: Place, hits: Sequence[Hit]) -> list[Analogue]:
    """The functions most like the one around a place, best first."""
    own = function_of(place.heads)
    if own is None:
        return []
    outer = next((head.name for head in place.heads if head.kind == "class"), "")
    given = _parameters(own.line, own.name)
    words = frozenset(tokenize(own.name))
    scored = []
    for file, definition in _functions(candidates, own, outer, hits):
        likeness = _likeness(definition, own.name, words, outer, given)
        if likeness >= LEAST_LIKENESS:
            scored.append((likeness, file, definition))
    scored.sort(key=lambda each: (-each[0], each[1], each[2].start_line))
    shown = [_shown(candidates, file, definition, place, likeness) for likeness, file, definition in scored[:LOOKED_AT]]
    ranked = sorted((each for each in shown if each is not None), key=lambda each: -each.likeness)
    least = max(TWIN, ranked[0].likeness - NEAR_TWIN) if ranked and ranked[0].likeness >= TWIN else 0.0
    found: dict[str, Analogue] = {}
    for each in ranked:
        # Copies of a copy say the same once more.
        if each.likeness >= least:
            found.setdefault(each.code, each)
    return list(found.values())[:MOST]


def _functions(candidates: Candidates, own: Head, outer: str, hits: Sequence[Hit]) -> list[tuple[int, Definition]]:
    index = candidates.index
    found: dict[tuple[int, int], tuple[int, Definition]] = {}

    def add(file: int, definition: Definition) -> None:
        if file != candidates.own and definition.kind in {"function", "method"}:
            found[file, definition.start_line] = (file, definition)

    wanted = [own.name, outer] if outer else [own.name]
    named = index.definitions(wanted, limit=SAME_NAMES)
    for file, definition in named.get(own.name, ()):
        add(file, definition)
    if outer:
        # A name such as __init__ has more definitions than are looked at; the class leads to the right one.
        for file, definition in named.get(outer, ())[:HIT_FILES]:
            if definition.kind == "class":
                for member in index.definitions_in(file, parent=outer):
                    add(file, member)
    for file in list(dict.fromkeys(hit.file for hit in hits))[:HIT_FILES]:
        chunks = [hit.chunk for hit in hits if hit.file == file]
        for definition in index.definitions_in(file):
            if any(
                chunk.start_line <= definition.end_line and definition.start_line <= chunk.end_line for chunk in chunks
            ):
                add(file, definition)
    return list(found.values())


def _likeness(definition: Definition, name: str, words: frozenset[str], outer: str, given: frozenset[str]) -> float:
    same = 1.0 if definition.name == name else 0.5 * _jaccard(words, frozenset(tokenize(definition.name)))
    parent = definition.parent.rpartition(".")[2]
    theirs = _parameters(definition.signature, definition.name)
    return NAME * same + CLASS * (parent == outer) + PARAMETERS * _jaccard(given, theirs)


def _parameters(head: str, name: str) -> frozenset[str]:
    return frozenset(IDENTIFIER.findall(head)) - KEYWORDS - {name}


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    either = one | other
    return len(one & other) / len(either) if either else 1.0


def _shown(candidates: Candidates, file: int, definition: Definition, place: Place, likeness: float) -> Analogue | None:
    """Its head and the lines that answer to what is to be written; None if it went another way.

    As they are written, with blank lines: a model copies what goes on like the text that it is to continue.
    """
    head = candidates.head(file, definition)
    if not head:
        return None
    lines = candidates.lines[file]
    body = telling(lines, head[-1] + 1, definition.end_line)
    at = _answering([lines.text[line].strip() for line in body], place.written)
    if at is None or at == len(body):
        return None
    shown = body[max(0, at - BEFORE_LINES) : at + BODY_LINES]
    between = [line for line in range(shown[0], shown[-1] + 1) if line not in unspoken(lines)]
    own = (*range(head[0], head[-1] + 1), *between)
    above, same = _same_above(lines.text, head[0], place.above)
    return Analogue(
        file,
        definition,
        likeness + SAME_LINE * same,
        (*(above or _class_line(lines.text, head[0], definition)), *own),
        "\n".join(lines.text[line].strip() for line in own),
    )


def _same_above(text: Sequence[str], head: int, above: Sequence[str]) -> tuple[tuple[int, ...], int]:
    """Lines right above a function that stand above the one being written, too, and how many say something.

    Where there are such, one is a copy of the other.
    """
    first = head
    same = 0
    for line in range(head - 1, -1, -1):
        if not text[line].strip():
            continue
        if same == len(above) or text[line].strip() != above[-1 - same]:
            break
        first = line
        same += 1
    return tuple(range(first, head)), same


def _class_line(text: Sequence[str], head: int, definition: Definition) -> tuple[int, ...]:
    """Where the class of a method begins: it says which of several cases this is."""
    name = definition.parent.rpartition(".")[2]
    column = indent_of(text[head])
    for line in range(head - 1, -1, -1) if name and column else ():
        if text[line].strip() and indent_of(text[line]) < column and text[line].strip()[0] not in ")}]#@/*":
            return (line,) if name in IDENTIFIER.findall(text[line]) else ()
    return ()


def _answering(body: Sequence[str], written: Sequence[str]) -> int | None:
    """Where in a body one stands who wrote ``written`` in another: behind the last of its last lines that is there."""
    if not written:
        return 0
    for back, line in enumerate(reversed(written[-LAST_LINES:])):
        if line in body:
            return min(body.index(line) + 1 + back, len(body))
    return 0 if len(written) <= LAST_LINES else None
