"""What the typist will type, where and when: made once of a project and a seed, before anybody answers.

A gap is a run of lines inside real code. All gaps are taken out of the project first, so that no index and no prompt
holds an answer, and typed back one visit at a time: some in one go, some in two with something else between. Times are
planned for every key, whether it will be pressed or not, so every subject gets the same plan.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.languages import PLAIN, by_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FILE_CHARACTERS = (1_000, 200_000)
_LINES = (5, 11)
"""Of a gap."""
_APART = 25
"""Lines left between two gaps of one file, so that the second is a place of its own."""
_GAPS_A_FILE = 3
_TWO_VISITS = 0.4
"""Share of the longer gaps that are left half-way and come back to."""
_MOST_GAPS = 400
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "dist", "build", "target", "venv", "env"}
_COPIED_BYTES = 1_000_000
"""Larger files are left out of the copy; they are no source."""


@dataclass(frozen=True)
class Pace:
    """How somebody types; times in seconds, ranges drawn from evenly."""

    characters_per_s: float = 5.0
    unevenness: float = 0.4
    """A key comes up to this share of the mean earlier or later."""
    line_end_s: tuple[float, float] = (0.3, 2.0)
    """Before the key that ends a line."""
    look_s: tuple[float, float] = (1.0, 3.0)
    """At a new place, before the first key."""


@dataclass(frozen=True)
class Gap:
    """Lines of a file: ``[start, end)`` in characters, from the end of the line above to the end of the last line."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Key:
    """One key: a character, or a line break with the indentation that an editor puts behind it."""

    text: str = field(repr=False)
    after_s: float
    """Since the key before, or since the look around at a new place."""

    @property
    def ends_line(self) -> bool:
        return self.text.startswith("\n")


@dataclass(frozen=True)
class Visit:
    """The typist at one place: what the document is when he comes, and what he means to type between."""

    number: int
    path: str
    language: str
    before: str = field(repr=False)
    after: str = field(repr=False)
    keys: tuple[Key, ...] = field(repr=False)
    look_s: float
    returning: bool = False
    """The first lines of this gap were typed in an earlier visit."""

    @property
    def text(self) -> str:
        return "".join(key.text for key in self.keys)

    def planned_s(self, patience_s: float) -> float:
        """How long it takes if no suggestion ever comes."""
        lines = sum(key.ends_line for key in self.keys)
        return self.look_s + sum(key.after_s for key in self.keys) + lines * patience_s


@dataclass(frozen=True)
class Trace:
    """Everything typed in one project."""

    project: str
    seed: int
    gaps: tuple[Gap, ...]
    visits: tuple[Visit, ...]

    @property
    def characters(self) -> int:
        return sum(len(visit.keys) for visit in self.visits)


def make_trace(project: Path, seconds: float, seed: int, pace: Pace = Pace(), patience_s: float = 1.5) -> Trace:
    """Gaps of ``project`` that take about ``seconds`` to type without any help, the same for the same seed and files.

    :raises InputError: there is not enough code under ``project``.
    """
    chosen = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    texts = {path.relative_to(project).as_posix(): text for path, text in _sources(project)}
    candidates = _shuffled_gaps(texts, chosen)
    gaps: list[Gap] = []
    visits: tuple[Visit, ...] = ()
    while sum(visit.planned_s(patience_s) for visit in visits) < seconds and len(gaps) < _MOST_GAPS:
        gap = next(candidates, None)
        if gap is None:
            break
        gaps.append(gap)
        visits = _visits(texts, gaps, seed, pace)
    if not visits:
        raise InputError(
            f"no code to type under {project}",
            hint=f"source files of at least {_FILE_CHARACTERS[0]} ASCII characters are needed",
        )
    return Trace(project.name, seed, tuple(gaps), visits)


def copy_without(project: Path, gaps: Sequence[Gap], target: Path) -> None:
    """Copy the project to ``target``, the gaps' lines left out, and neither its history nor what tools put there."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name in _SKIPPED
            or name == ".git"
            or (Path(folder) / name).is_symlink()
            or ((Path(folder) / name).is_file() and (Path(folder) / name).stat().st_size > _COPIED_BYTES)
        }

    shutil.copytree(project, target, ignore=ignored)
    take_out(gaps, target)


def take_out(gaps: Sequence[Gap], target: Path) -> None:
    """Leave the gaps' lines out of the files of a copy, which are as in the project."""
    for path in {gap.path for gap in gaps}:
        file = target / path
        text = file.read_text(encoding="utf-8")
        file.write_text(_without(text, [gap for gap in gaps if gap.path == path]), encoding="utf-8")


def _sources(project: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(project.rglob("*")):
        inside = path.relative_to(project).parts
        if any(part in _SKIPPED or part.startswith(".") for part in inside) or path.is_symlink() or not path.is_file():
            continue
        language = by_path(path.name)
        least, most = _FILE_CHARACTERS
        if language is PLAIN or not language.line_comments or not least <= path.stat().st_size <= most:
            continue
        try:
            text = path.read_bytes().decode("ascii")
        except UnicodeDecodeError:
            continue
        if "\r" not in text and "\f" not in text:
            yield path, text


def _shuffled_gaps(texts: dict[str, str], chosen: random.Random) -> Iterator[Gap]:
    """Gaps of all files in random order, none near another."""
    taken: dict[str, list[tuple[int, int]]] = {}
    paths = sorted(texts)
    if not paths:
        return
    for _ in range(_MOST_GAPS * 50):
        path = chosen.choice(paths)
        lines = texts[path].split("\n")
        count = chosen.randint(*_LINES)
        first = chosen.randrange(1, max(2, len(lines) - count))
        apart = all(first + count + _APART < start or end + _APART < first for start, end in taken.get(path, []))
        if len(taken.get(path, [])) == _GAPS_A_FILE or not apart or not _worth_typing(path, lines, first, count):
            continue
        taken.setdefault(path, []).append((first, first + count))
        start = sum(len(line) + 1 for line in lines[:first]) - 1
        yield Gap(path, start, start + sum(len(line) + 1 for line in lines[first : first + count]))


def _worth_typing(path: str, lines: list[str], first: int, count: int) -> bool:
    """Code with code above it: mostly statements, no long strings, lines a person writes."""
    run = lines[first : first + count]
    if len(run) < count or not lines[first - 1].strip() or not run[0].strip() or not run[-1].strip():
        return False
    language = by_path(path)
    comments = (*language.line_comments, "*", "/*")
    code = [line for line in run if line.strip() and not line.strip().startswith(comments)]
    opened = "\n".join(lines[:first])
    for quote in {quote for pair in language.long_quotes for quote in pair}:
        # A text that is open at the gap, or begins or ends in it, is prose.
        if quote in "\n".join(run) or opened.count(quote) % 2:
            return False
    indented = any(line[:1] in " \t" for line in run)
    return indented and len(code) >= 0.75 * count and max(map(len, run)) <= 140 and sum(map(len, code)) >= 25 * count


def _visits(texts: dict[str, str], gaps: Sequence[Gap], seed: int, pace: Pace) -> tuple[Visit, ...]:
    """The plan: each gap's part or parts, a second part after the next gap's first."""
    parts: list[tuple[Gap, int, int]] = []
    waiting: list[tuple[Gap, int, int]] = []
    for gap in gaps:
        # Each gap by itself: one gap more does not change what was planned for those before.
        chosen = random.Random(f"{seed} {gap.path} {gap.start}")  # noqa: S311  (see make_trace)
        ends = [at for at in range(gap.start + 1, gap.end) if texts[gap.path][at] == "\n"]
        middle = ends[len(ends) // 2] if len(ends) >= 5 and chosen.random() < _TWO_VISITS else gap.end
        parts += [(gap, gap.start, middle), *waiting]
        waiting = [(gap, middle, gap.end)] if middle < gap.end else []
    parts += waiting
    typed: dict[Gap, int] = {gap: gap.start for gap in gaps}
    visits = []
    for number, (gap, start, end) in enumerate(parts):
        text = texts[gap.path]
        chosen = random.Random(f"{seed} {gap.path} {start} keys")  # noqa: S311  (see make_trace)
        others = [Gap(gap.path, typed[each], each.end) for each in gaps if each.path == gap.path and each != gap]
        visits.append(
            Visit(
                number,
                gap.path,
                by_path(gap.path).id,
                _without(text[:start], [each for each in others if each.end <= start]),
                _without(text, [Gap(gap.path, 0, gap.end), *(each for each in others if each.start > gap.end)]),
                _keys(text[start:end], chosen, pace),
                chosen.uniform(*pace.look_s),
                returning=start > gap.start,
            )
        )
        typed[gap] = end
    return tuple(visits)


def _keys(text: str, chosen: random.Random, pace: Pace) -> tuple[Key, ...]:
    keys = []
    position = 0
    mean_s = 1 / pace.characters_per_s
    while position < len(text):
        end = position + 1
        if text[position] == "\n":
            while end < len(text) and text[end] in " \t":
                end += 1
        between_s = mean_s * chosen.uniform(1 - pace.unevenness, 1 + pace.unevenness)
        pause_s = chosen.uniform(*pace.line_end_s)
        # Where the first key is a line break, the look around was the pause.
        after_s = pause_s if text[position] == "\n" and position else between_s
        keys.append(Key(text[position:end], after_s))
        position = end
    return tuple(keys)


def _without(text: str, gaps: Sequence[Gap]) -> str:
    for gap in sorted(gaps, key=lambda gap: gap.start, reverse=True):
        text = text[: gap.start] + text[gap.end :]
    return text
