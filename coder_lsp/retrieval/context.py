"""Assembles the block of other files that the model sees: from a place in a document to ranked snippets.

``signals`` weighs lines of other files, ``passages`` chooses those that bring most; what is called right at the place
comes before all else, and what was edited or looked at a moment ago has a weight, too. Deterministic: the same place
and index give the same block.

Reads the index, knows no tokens but an estimate (the host cuts exactly) and nothing of requests: freezing a block while
the user types is ``completion.context``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from coder_lsp.retrieval.analogues import analogues
from coder_lsp.retrieval.graph import dependency_order
from coder_lsp.retrieval.imports import Catalogue, resolve
from coder_lsp.retrieval.passages import FILE_TOKENS, Passage, choose, estimated_tokens
from coder_lsp.retrieval.place import IDENTIFIER, look
from coder_lsp.retrieval.signals import Candidates, names_in_use, same_name, similar, telling
from coder_lsp.types import Snippet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.retrieval.index import Hit, Index
    from coder_lsp.retrieval.place import Place
    from coder_lsp.retrieval.signals import Near
    from coder_lsp.syntax.outline import Import

FIRST_SHARE = 0.25
"""Part of the block that their signatures may take before anything else is chosen."""
FIRST_SCORE = 10.0
"""More than any other line is worth, so that they are cut last."""
ANALOGUES_SHARE = 0.4
"""Part of the block for functions like the one being written."""
ANALOGUE_SCORE = 8.0
WHOLE_SHARE = 0.2
"""Part of the block for what follows the most similar chunks, in one piece."""
WHOLE_HITS = 3
"""Chunks that are tried for it, the best first."""
WHOLE_BEFORE = 3
WHOLE_LINES = 10
"""Lines of it that are shown, before and behind the end of the chunk."""
WHOLE_SCORE = 5.0
"""Less than what is called, and more than anything else."""
MOST_LINES = 500
"""Lines that are chosen from: ten times what fits, and a bound on the time that choosing takes."""
FILE_SHARE = 0.75
"""Most of the block that one file may take."""
LEAST_WORTH = 0.003
"""Passages that bring less for a token are left out, whatever room there is. It costs no name that was needed (445
tasks) and an eighth of the tokens in small repositories; 0.01 would save a quarter and lose one name in twenty."""
SURPLUS = 1.15
"""The block is made a little larger than the budget, because tokens are estimated here and cut exactly in the host."""

_APART_LINES = 8
"""Chosen lines of a file that are further apart are different snippets."""


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
    candidates = Candidates(index, own)
    same_name(candidates, place)
    near = names_in_use(candidates, place)
    hits = similar(candidates, place)
    for each in recent:
        candidates.add(each.file, each.start_line, each.end_line, each.weight, "recent")
    nearest = _fitting(candidates, _analogous(candidates, place, hits), budget * ANALOGUES_SHARE)
    first = _fitting(candidates, _first(candidates, near), budget * FIRST_SHARE)
    first += _fitting(candidates, _whole(candidates, hits, text), budget * WHOLE_SHARE)
    candidates.keep_best(MOST_LINES)
    left = budget * SURPLUS - sum(_cost(candidates, passage) for passage in (*nearest, *first))
    chosen = choose(candidates.lines, place.known, left, share=FILE_SHARE, least=LEAST_WORTH)
    return _snippets(index, candidates, [*first, *chosen], nearest[::-1])


def _fitting(candidates: Candidates, passages: Iterable[Passage], budget: float) -> list[Passage]:
    """Those that fit, the first ones first; their lines are not chosen once more."""
    found = []
    for passage in passages:
        cost = _cost(candidates, passage)
        if cost <= budget:
            budget -= cost
            found.append(passage)
            for line in passage.lines:
                candidates.lines[passage.file].weights.pop(line, None)
    return found


def _first(candidates: Candidates, near: Sequence[Near]) -> Iterator[Passage]:
    """Signatures of what is called right at the place, whatever they bring: a call is written by them."""
    for each in near:
        lines = candidates.head(each.file, each.definition)
        if lines:
            yield Passage(each.file, lines, FIRST_SCORE * each.weight, f"called: {each.definition.name}")


def _analogous(candidates: Candidates, place: Place, hits: Sequence[Hit]) -> Iterator[Passage]:
    """Functions like the one being written, as far as it goes, in one piece; the likest first."""
    for each in analogues(candidates, place, hits):
        yield Passage(each.file, each.lines, ANALOGUE_SCORE * each.likeness, f"analogous: {each.definition.name}")


def _whole(candidates: Candidates, hits: Sequence[Hit], document: str) -> Iterator[Passage]:
    """What follows the most similar chunks in one piece: where the same is written again, that is the answer."""
    here = {line.strip() for line in document.split("\n")}
    for hit in hits[:WHOLE_HITS]:
        lines = candidates.lines.get(hit.file)
        if lines is None:
            continue
        end = hit.chunk.end_line
        numbers = tuple(
            number for number in telling(lines, end - WHOLE_BEFORE, end + WHOLE_LINES) if number in lines.weights
        )
        # A near-duplicate of what the document has already makes the model copy it.
        new = [number for number in numbers if lines.text[number].strip() not in here]
        if 2 * len(new) > len(numbers):
            yield Passage(hit.file, numbers, WHOLE_SCORE * hit.score / hits[0].score, "similar, in one piece")


def _cost(candidates: Candidates, passage: Passage) -> float:
    text = candidates.lines[passage.file].text
    return FILE_TOKENS + sum(estimated_tokens(text[line]) for line in passage.lines)


def _snippets(
    index: Index, candidates: Candidates, chosen: Sequence[Passage], nearest: Sequence[Passage]
) -> tuple[Snippet, ...]:
    """Snippets of what was chosen, file by file; each of ``nearest`` on its own behind them."""
    shown = {(passage.file, line) for passage in nearest for line in passage.lines}
    by_file: dict[int, list[Passage]] = {}
    for passage in chosen:
        lines = tuple(line for line in passage.lines if (passage.file, line) not in shown)
        if lines:
            by_file.setdefault(passage.file, []).append(replace(passage, lines=lines))
    snippets: list[Snippet] = []
    for file in _order(index, by_file):
        known = index.file(file)
        if known is not None:
            snippets += _regions(known.path, candidates.lines[file].text, by_file[file])
    for passage in nearest:
        known = index.file(passage.file)
        if known is not None:
            text = candidates.lines[passage.file].text
            snippet = _snippet(known.path, text, dict.fromkeys(passage.lines, passage))
            snippets.append(replace(snippet, alike=True))
    return tuple(snippets)


def _order(index: Index, by_file: dict[int, list[Passage]]) -> list[int]:
    """Files that others import first; among those that have nothing to do with each other the most valuable last."""
    files = {file: known for file in by_file if (known := index.file(file)) is not None}
    catalogue = Catalogue((known.path, known.language, known.package) for known in files.values())
    numbers = {known.path: file for file, known in files.items()}
    # Resolving takes ten microseconds an import, so those that cannot mean one of these few files are passed over.
    stems = {part for path in numbers for part in PurePosixPath(path).with_suffix("").parts}
    stems |= {part for known in files.values() for part in IDENTIFIER.findall(known.package)}
    modules = {known.module.rpartition("/")[2] for known in catalogue.files.values()}
    imports_of = index.imports_of(files)
    depends = {}
    for file, known in files.items():
        # An absolute import of Python's ends with the module it means, or names it.
        python = known.language == "python"
        imports = [
            each
            for each in imports_of.get(file, ())
            if (
                each.module.rpartition(".")[2] in modules or not modules.isdisjoint(each.names)
                if python and not each.level
                else not stems.isdisjoint(_parts(each))
            )
        ]
        found = resolve(known.path, known.language, imports, catalogue) if imports else ()
        depends[str(file)] = {str(numbers[path]) for path in found if path in numbers}
    names = [str(file) for file in sorted(files, key=lambda file: (files[file].path, file))]
    groups = [[int(name) for name in group] for group in dependency_order(names, depends)]
    groups.sort(key=lambda group: max(by_file[file][0].score for file in group))
    return [file for group in groups for file in group]


def _parts(imported: Import) -> set[str]:
    return {*IDENTIFIER.findall(imported.module), *imported.names}


def _regions(path: str, text: Sequence[str], passages: Sequence[Passage]) -> list[Snippet]:
    """Chosen lines of one file as snippets, those close to each other together."""
    owner = {line: passage for passage in passages for line in passage.lines}
    for line in sorted(owner)[1:]:
        # A line left out between two that are shown would make other code of them.
        if line - 2 in owner and line - 1 not in owner and text[line - 1].strip():
            owner[line - 1] = min(owner[line - 2], owner[line], key=lambda passage: passage.score)
    regions: list[list[int]] = []
    for line in sorted(owner):
        if regions and line - regions[-1][-1] <= _APART_LINES:
            regions[-1].append(line)
        else:
            regions.append([line])
    return [_snippet(path, text, {line: owner[line] for line in lines}) for lines in regions]


def _snippet(path: str, text: Sequence[str], owner: Mapping[int, Passage]) -> Snippet:
    """Lines of a file, in their order, and the passage that each is of."""
    best = max(owner.values(), key=lambda passage: passage.score)
    return Snippet(
        path=path,
        text="\n".join(text[line].rstrip() for line in owner) + "\n",
        start_line=min(owner),
        end_line=max(owner) + 1,
        source=best.source,
        score=round(best.score, 6),
        line_scores=tuple(round(passage.score, 6) for passage in owner.values()),
    )
