"""Assembles the block of other files that the model sees: from a place in a document to ranked snippets.

Signals, each a weight on lines of other files: functions of the name that is being written, body and all (an override,
the same verb for another noun); definitions of the names in use, as signatures, with the members of classes; chunks
that BM25 finds for the lines around the cursor, and the lines that follow them; what was edited or looked at a moment
ago. ``passages`` then chooses what brings most. Deterministic: the same place and index give the same block.

Reads the index, knows no tokens but an estimate (the host cuts exactly) and nothing of requests: freezing a block while
the user types is ``completion.context``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, by_id
from coder_lsp.retrieval.graph import dependency_order
from coder_lsp.retrieval.imports import Catalogue, resolve
from coder_lsp.retrieval.passages import Lines, choose, estimated_tokens
from coder_lsp.retrieval.place import look
from coder_lsp.types import Snippet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from coder_lsp.languages import Language
    from coder_lsp.retrieval.index import Index
    from coder_lsp.retrieval.passages import Passage
    from coder_lsp.retrieval.place import Place
    from coder_lsp.syntax.outline import Definition

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
SHARED_NAME = 4
"""A name that more files declare says nothing about which is meant."""
CLASSES = 6
"""Classes whose members are looked at."""
FILE_SHARE = 0.75
"""Most of the block that one file may take."""
LEAST_WORTH = 0.0
SURPLUS = 1.15
"""The block is made a little larger than the budget, because tokens are estimated here and cut exactly in the host."""

_APART_LINES = 8
"""Chosen lines of a file that are further apart are different snippets."""
_LOOK_BACK_LINES = 40
"""How far above a line the beginning of a comment or docstring it may be in is looked for."""


@dataclass(frozen=True)
class Recent:
    """Lines of another file that were edited or looked at; ``weight`` is 1.0 for a moment ago and falls to 0."""

    file: int
    start_line: int
    end_line: int
    weight: float


def assemble(
    index: Index, root: Path | None, path: str, text: str, cursor: int, *, budget: int, recent: Sequence[Recent] = ()
) -> tuple[Snippet, ...]:
    """Snippets of other files for a place, dependencies first and the most valuable file last, nearest to the code.

    ``budget`` is in tokens of a model; the snippets have a little more by our estimate. ``score`` says what to keep
    where not all fit.
    """
    if budget <= 0:
        return ()
    place = look(text, cursor)
    own = index.number(root, path) if root is not None else None
    candidates = _Candidates(index, own)
    _same_name(candidates, place)
    _names_in_use(candidates, place)
    _similar(candidates, place)
    for each in recent:
        candidates.add(each.file, each.start_line, each.end_line, each.weight, "recent")
    chosen = choose(candidates.lines, place.known, budget * SURPLUS, share=FILE_SHARE, least=LEAST_WORTH)
    return _snippets(index, candidates, chosen)


class _Candidates:
    """The lines collected so far, over all files but the document's own."""

    def __init__(self, index: Index, own: int | None) -> None:
        self.index = index
        self.own = own
        self.lines: dict[int, Lines] = {}

    def add(self, file: int, start: int, end: int, weight: float, source: str, *, following: int | None = None) -> None:
        """Weigh the lines of a range that say something; those from ``following`` on count less and less."""
        found = self._lines(file)
        if found is None:
            return
        for number in _telling(found.text, start, end, found.language):
            behind = 0 if following is None else max(0, number - following + 1)
            found.weigh(number, weight * FOLLOWING_DECAY**behind, source)

    def add_head(self, file: int, definition: Definition, weight: float, source: str) -> None:
        """Weigh the lines that the signature of a definition is made of."""
        found = self._lines(file)
        if found is None:
            return
        first, *rest = definition.signature.split("\n")
        end = min(definition.end_line, len(found.text))
        start = next(
            (number for number in range(definition.start_line, end) if found.text[number].strip() == first.strip()),
            definition.start_line,
        )
        for number in range(start, min(start + 1 + len(rest), end)):
            if found.text[number].strip():
                found.weigh(number, weight, source)

    def _lines(self, file: int) -> Lines | None:
        found = self.lines.get(file)
        if found is None and file != self.own:
            known = self.index.file(file)
            text = self.index.lines(file) if known else []
            if known and text:
                found = self.lines[file] = Lines(file, text, by_id(known.language))
        return found


def _same_name(candidates: _Candidates, place: Place) -> None:
    if not place.function:
        return
    found = [
        (file, definition)
        for file, definition in candidates.index.definitions([place.function], limit=SAME_NAMES + 1).get(
            place.function, ()
        )
        if file != candidates.own and definition.kind in {"function", "method"}
    ]
    for file, definition in found[:SAME_NAMES]:
        weight = SAME_NAME / len(found) ** 0.5
        candidates.add(file, definition.start_line, definition.end_line, weight, f"same name: {place.function}")


def _names_in_use(candidates: _Candidates, place: Place) -> None:
    names = [name for name in place.names if name != place.function]
    bases = {
        name
        for head in place.heads
        if head.kind == "class"
        for name in place.names
        if name != head.name and name in head.line
    }
    classes = 0
    known = candidates.index.definitions(names, limit=SHARED_NAME + 2)
    for name, found in sorted(known.items(), key=lambda item: -place.names[item[0]]):
        elsewhere = [
            (file, definition)
            for file, definition in found
            if file != candidates.own and definition.kind not in {"field", "constant"}
        ]
        if not elsewhere or len(elsewhere) > SHARED_NAME:
            continue
        weight = place.names[name] / len(elsewhere) ** 0.5
        for file, definition in elsewhere:
            candidates.add_head(file, definition, SIGNATURE * weight, f"signature: {name}")
            if definition.kind in {"class", "interface", "enum"} and classes < CLASSES:
                classes += 1
                _members(candidates, file, definition, weight * (BASE_MEMBERS if name in bases else MEMBERS))


def _members(candidates: _Candidates, file: int, owner: Definition, weight: float) -> None:
    inside = f"{owner.parent}.{owner.name}" if owner.parent else owner.name
    for member in candidates.index.definitions_in(file):
        if member.parent == inside:
            candidates.add_head(file, member, weight, f"member: {owner.name}.{member.name}")


def _similar(candidates: _Candidates, place: Place) -> None:
    terms = list(place.terms)
    weights = [place.terms[term] for term in terms]
    exclude = [candidates.own] if candidates.own is not None else []
    hits = candidates.index.search(terms, CHUNKS, weights=weights, exclude=exclude)
    for hit in hits:
        weight = (hit.score / hits[0].score) ** SHARPNESS
        end = hit.chunk.end_line
        candidates.add(hit.file, hit.chunk.start_line, end + FOLLOWING_LINES, weight, "similar", following=end)


def _telling(text: Sequence[str], start: int, end: int, language: Language) -> list[int]:
    """Lines of a range that are neither blank nor comment nor docstring."""
    # A template literal that begins a line is code; a string of Python's that does is a docstring.
    quotes = language.long_quotes if language.style is BlockStyle.INDENT else ()
    openers = (*quotes, *language.block_comments)
    comments = language.line_comments
    marks = {opener[0][0] for opener in openers} | {comment[0] for comment in comments}
    found = []
    closer = ""
    for number in range(max(0, start - _LOOK_BACK_LINES), min(end, len(text))):
        line = text[number].strip()
        if closer:
            if closer in line:
                closer = ""
        elif line and line[0] in marks:
            opened = next(((begin, finish) for begin, finish in openers if line.startswith(begin)), None)
            if opened is not None:
                if opened[1] not in line[len(opened[0]) :]:
                    closer = opened[1]
            elif number >= start and not line.startswith(comments):
                found.append(number)
        elif line and number >= start:
            found.append(number)
    return found


def _snippets(index: Index, candidates: _Candidates, chosen: Sequence[Passage]) -> tuple[Snippet, ...]:
    by_file: dict[int, list[Passage]] = {}
    for passage in chosen:
        by_file.setdefault(passage.file, []).append(passage)
    snippets: list[Snippet] = []
    for file in _order(index, by_file):
        known = index.file(file)
        if known is not None:
            snippets += _regions(known.path, candidates.lines[file].text, by_file[file])
    return tuple(snippets)


def _order(index: Index, by_file: dict[int, list[Passage]]) -> list[int]:
    """Files that others import first; among those that have nothing to do with each other the most valuable last."""
    files = {file: known for file in by_file if (known := index.file(file)) is not None}
    keys = {f"{known.root}\n{known.path}": file for file, known in files.items()}
    catalogue = Catalogue((known.path, known.language, known.package) for known in files.values())
    paths = {known.path: key for key, file in keys.items() for known in [files[file]]}
    depends = {
        key: {
            paths[found]
            for found in resolve(files[file].path, files[file].language, index.imports(file), catalogue)
            if found in paths
        }
        for key, file in keys.items()
    }
    groups = [[keys[key] for key in group] for group in dependency_order(sorted(keys), depends)]
    groups.sort(key=lambda group: max(by_file[file][0].score for file in group))
    return [file for group in groups for file in group]


def _regions(path: str, text: Sequence[str], passages: Sequence[Passage]) -> list[Snippet]:
    """Chosen lines of one file as snippets, those close to each other together."""
    owner = {line: passage for passage in passages for line in passage.lines}
    regions: list[list[int]] = []
    for line in sorted(owner):
        if regions and line - regions[-1][-1] <= _APART_LINES:
            regions[-1].append(line)
        else:
            regions.append([line])
    snippets = []
    for lines in regions:
        best = max((owner[line] for line in lines), key=lambda passage: passage.score)
        snippets.append(
            Snippet(
                path=path,
                text="\n".join(text[line].rstrip() for line in lines) + "\n",
                start_line=lines[0],
                end_line=lines[-1] + 1,
                source=best.source,
                score=round(best.score, 6),
            )
        )
    return snippets


def size(snippets: Iterable[Snippet]) -> int:
    """Estimated tokens of snippets."""
    return round(sum(estimated_tokens(line) for snippet in snippets for line in snippet.text.splitlines()))
