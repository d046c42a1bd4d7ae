"""What points at lines of other files for a place: each signal is a weight on lines, and ``context`` chooses.

Functions of the name that is being written, body and all (an override, the same verb for another noun); definitions of
the names in use, as signatures, with the members of classes; chunks that BM25 finds for the lines around the cursor,
and the lines that follow them. Reads the index; decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, by_id
from coder_lsp.retrieval.imports import Catalogue, resolve
from coder_lsp.retrieval.passages import Lines
from coder_lsp.retrieval.place import IDENTIFIER, KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.languages import Language
    from coder_lsp.retrieval.index import Hit, Index
    from coder_lsp.retrieval.place import Place
    from coder_lsp.syntax.outline import Definition, Import

CHUNKS = 40
"""Chunks that BM25 is asked for. Twice as many found nothing more."""
FOLLOWING_LINES = 10
"""Lines behind a chunk that count with it: what follows code like this is what is about to be written."""
FOLLOWING_DECAY = 0.97
SHARPNESS = 2.0
"""A chunk counts as (its score / the best score) to this power."""
SAME_NAME = 1.0
"""Weight of functions of the name being written, divided by the root of how many there are."""
SAME_NAMES = 12
SIGNATURE = 1.0
MEMBERS = 0.5
BASE_MEMBERS = 0.8
"""Members of the class that the enclosing one extends: they are its own names."""
CALLED_FILES = 2
"""A function that is called at the place is shown first if it is clear which one is meant."""
CONSTRUCTORS = frozenset({"__init__", "constructor", "initialize", "new"})
FIELDS = 8
HEAD_LINES = 40
DEFINITIONS = 16
"""Definitions of one name that are looked at, to find the one that is imported."""
SHARED_NAME = 4
"""A name that more files declare says nothing about which is meant."""
CLASSES = 6
"""Classes whose members are looked at."""

_UNSPOKEN = "unspoken"
_SPACE = re.compile(r"\s+")
_LOOSE_COMMA = re.compile(r",(?=[)\]}]|$)")


@dataclass(frozen=True)
class Near:
    """A definition of what is called right at the place."""

    file: int
    definition: Definition
    weight: float


class Candidates:
    """The lines collected so far, over all files but the document's own."""

    def __init__(self, index: Index, own: int | None) -> None:
        self.index = index
        self.own = own
        self.lines: dict[int, Lines] = {}
        self._imports: list[Import] | None = None

    def add(self, file: int, start: int, end: int, weight: float, source: str, *, following: int | None = None) -> None:
        """Weigh the lines of a range that say something; those from ``following`` on count less and less."""
        found = self._lines(file)
        if found is None:
            return
        for number in telling(found, start, end):
            behind = 0 if following is None else max(0, number - following + 1)
            found.weigh(number, weight * FOLLOWING_DECAY**behind, source)

    def add_head(self, file: int, definition: Definition, weight: float, source: str) -> None:
        """Weigh the lines that the signature of a definition is made of."""
        for number in self.head(file, definition):
            self.lines[file].weigh(number, weight, source)

    def head(self, file: int, definition: Definition) -> tuple[int, ...]:
        """The lines that the signature of a definition is made of; none of the document's own."""
        found = self._lines(file)
        if found is None:
            return ()
        end = min(definition.end_line, len(found.text))
        lines = _written_as(definition.signature, found.text, definition.start_line, end)
        return tuple(number for number in lines if found.text[number].strip())

    def imports(self) -> list[Import]:
        """What the document imports, as it is indexed."""
        if self._imports is None:
            self._imports = self.index.imports(self.own) if self.own is not None else []
        return self._imports

    def keep_best(self, count: int) -> None:
        """Let go of the lines that weigh least, if there are more than ``count``."""
        weights = sorted((weight for lines in self.lines.values() for weight in lines.weights.values()), reverse=True)
        if len(weights) > count:
            for lines in self.lines.values():
                lines.weights = {number: weight for number, weight in lines.weights.items() if weight >= weights[count]}

    def _lines(self, file: int) -> Lines | None:
        found = self.lines.get(file)
        if found is None and file != self.own:
            known = self.index.file(file)
            text = self.index.lines(file) if known else []
            if known and text:
                found = self.lines[file] = Lines(file, text, by_id(known.language), notes=self.index.notes(file))
        return found


def _written_as(signature: str, text: Sequence[str], start: int, end: int) -> range:
    """The lines that a signature is written in: on one line in the index, it may be on several in the file."""
    whole = _squeezed(signature)
    for first in range(start, end):
        so_far = ""
        for last in range(first, min(end, first + HEAD_LINES)):
            so_far += text[last] + "\n"
            given = _squeezed(so_far)
            if given.startswith(whole):
                return range(first, last + 1)
            if not given or not whole.startswith(given):
                break
    return range(start, min(start + 1 + signature.count("\n"), end))


def _squeezed(code: str) -> str:
    """Without white space, and without the comma that may stand before a bracket or at the end."""
    return _LOOSE_COMMA.sub("", _SPACE.sub("", code))


def same_name(candidates: Candidates, place: Place) -> None:
    if not place.function:
        return
    found = [
        (file, definition)
        for file, definition in candidates.index.definitions([place.function], limit=SAME_NAMES + 1).get(
            place.function, ()
        )
        if file != candidates.own and definition.kind in {"function", "method"}
    ]
    candidates.index.prefetch(file for file, _ in found[:SAME_NAMES])
    for file, definition in found[:SAME_NAMES]:
        weight = SAME_NAME / len(found) ** 0.5
        candidates.add(file, definition.start_line, definition.end_line, weight, f"same name: {place.function}")


def names_in_use(candidates: Candidates, place: Place) -> list[Near]:
    """Weighs signatures and members; returns the definitions of what is called at the place, the nearest first."""
    names = [name for name in place.names if name != place.function]
    bases = {
        name
        for head in place.heads
        if head.kind == "class"
        for name in place.names
        if name != head.name and name in head.line
    }
    near: list[Near] = []
    classes = 0
    known: dict[str, list[tuple[int, Definition]]] = {}
    for name, found in candidates.index.definitions(names, limit=DEFINITIONS).items():
        elsewhere = [
            (file, definition)
            for file, definition in found
            if file != candidates.own and definition.kind not in {"field", "constant"}
        ]
        elsewhere = _imported(candidates, name, elsewhere)
        if 0 < len(elsewhere) <= SHARED_NAME:
            known[name] = elsewhere
    candidates.index.prefetch(file for found in known.values() for file, _ in found)
    for name, elsewhere in sorted(known.items(), key=lambda item: -place.names[item[0]]):
        weight = place.names[name] / len(elsewhere) ** 0.5
        for file, definition in elsewhere:
            candidates.add_head(file, definition, SIGNATURE * weight, f"signature: {name}")
            if name in place.called and len(elsewhere) <= CALLED_FILES:
                near.append(Near(file, definition, weight))
                if definition.kind == "class":
                    near += _construction(candidates, file, definition, weight)
            if definition.kind in {"class", "interface", "enum"} and classes < CLASSES:
                classes += 1
                _members(candidates, file, definition, weight * (BASE_MEMBERS if name in bases else MEMBERS))
    _types_of(candidates, near, place)
    return near


def _imported(candidates: Candidates, name: str, found: list[tuple[int, Definition]]) -> list[tuple[int, Definition]]:
    """Those definitions that the document's imports lead to; all where they lead to none."""
    index, own = candidates.index, candidates.own
    document = index.file(own) if own is not None and len(found) > 1 else None
    if own is None or document is None:
        return found
    imports = [
        each for each in candidates.imports() if name in each.names or any(name in pair for pair in each.aliases)
    ]
    if not imports:
        return found
    files = {file: known for file, _ in found if (known := index.file(file)) is not None}
    catalogue = Catalogue((known.path, known.language, known.package) for known in files.values())
    paths = resolve(document.path, document.language, imports, catalogue)
    return [(file, each) for file, each in found if file in files and files[file].path in paths] or found


def _construction(candidates: Candidates, file: int, owner: Definition, weight: float) -> list[Near]:
    """What a call of a class has to give: its constructor, or else its fields."""
    members = candidates.index.definitions_in(file, parent=_inside(owner))
    found = [member for member in members if member.name in CONSTRUCTORS]
    found = found or [member for member in members if member.kind == "field"][:FIELDS]
    return [Near(file, member, weight) for member in found]


def _types_of(candidates: Candidates, near: Sequence[Near], place: Place) -> None:
    """Weighs members of the classes that signatures right at the place name: what a call returns is used next."""
    weights: dict[str, float] = {}
    for each in near:
        if each.definition.kind in {"function", "method"}:
            for name in set(IDENTIFIER.findall(each.definition.signature)) - place.names.keys() - KEYWORDS:
                weights[name] = max(each.weight, weights.get(name, 0.0))
    for name, found in sorted(candidates.index.definitions(weights, limit=SHARED_NAME + 2).items()):
        classes = [(file, definition) for file, definition in found if definition.kind == "class"]
        if len(classes) <= SHARED_NAME:
            for file, definition in classes:
                _members(candidates, file, definition, MEMBERS * weights[name] / len(classes) ** 0.5)


def _members(candidates: Candidates, file: int, owner: Definition, weight: float) -> None:
    for member in candidates.index.definitions_in(file, parent=_inside(owner)):
        candidates.add_head(file, member, weight, f"member: {owner.name}.{member.name}")


def _inside(owner: Definition) -> str:
    return f"{owner.parent}.{owner.name}" if owner.parent else owner.name


def similar(candidates: Candidates, place: Place) -> list[Hit]:
    """Weighs the chunks that are like the place, and what follows them; returns them, best first."""
    terms = list(place.terms)
    weights = [place.terms[term] for term in terms]
    exclude = [candidates.own] if candidates.own is not None else []
    hits = candidates.index.search(terms, CHUNKS, weights=weights, exclude=exclude)
    candidates.index.prefetch({hit.file for hit in hits})
    for hit in hits:
        weight = (hit.score / hits[0].score) ** SHARPNESS
        end = hit.chunk.end_line
        candidates.add(hit.file, hit.chunk.start_line, end + FOLLOWING_LINES, weight, "similar", following=end)
    return hits


def telling(lines: Lines, start: int, end: int) -> list[int]:
    """Lines of a range that are neither blank nor comment nor docstring."""
    silent = unspoken(lines)
    comments = lines.language.line_comments
    found = []
    for number in range(max(start, 0), min(end, len(lines.text))):
        line = lines.text[number].strip()
        if line and number not in silent and not (comments and line.startswith(comments)):
            found.append(number)
    return found


def unspoken(lines: Lines) -> frozenset[int]:
    """Lines of docstrings and block comments."""
    known = lines.notes.get(_UNSPOKEN)
    if known is None:
        known = lines.notes[_UNSPOKEN] = _unspoken(lines.text, lines.language)
    return known


def _unspoken(text: Sequence[str], language: Language) -> frozenset[int]:
    # From the first line on, or an end would be taken for a beginning.
    # A template literal that begins a line is code; a string of Python's that does is a docstring.
    quotes = language.long_quotes if language.style is BlockStyle.INDENT else ()
    found: set[int] = set()
    whole = "\n".join(text)
    for begin, end in (*quotes, *language.block_comments):
        line = behind = 0
        while (opens := whole.find(begin, behind)) >= 0:
            closes = whole.find(end, opens + len(begin))
            if closes < 0:
                break
            first = line + whole.count("\n", behind, opens)
            line = first + whole.count("\n", opens, closes)
            if not whole[whole.rfind("\n", 0, opens) + 1 : opens].strip(" \trRuUbBfF"):
                found.update(range(first, line + 1))
            behind = closes + len(end)
    return frozenset(found)
