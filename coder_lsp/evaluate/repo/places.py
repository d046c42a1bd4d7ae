"""Places where a developer could have asked: the state of the file at that moment, and what was written there.

It is taken that a file is written from its top to its bottom. So above the cursor stands the new text, and below it the
old one, as if nothing of what came later were there; neither is the rest of the lines that are being put in, but for
blank ones at their end. Kinds:

- ``line``: the rest of a line, from its beginning or from a word in it on;
- ``block``: the body of a function, from behind its head on;
- ``call``: the arguments of a call, from behind its bracket to the one that closes it.

Nothing is asked within strings and comments, nor for lines that were moved. Pure; the same seed takes the same places.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile, zip_longest
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING

from coder_lsp.completion.brackets import Scanner, scan_before
from coder_lsp.completion.lines import defines, is_comment, leading, only_closers, opens_block, visible
from coder_lsp.evaluate.gaps import bodies
from coder_lsp.evaluate.tasks import Task
from coder_lsp.languages import BlockStyle, by_path
from coder_lsp.syntax import tree as syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from coder_lsp.evaluate.repo.history import Change, Commit, Insertion
    from coder_lsp.languages import Language
    from coder_lsp.syntax.tree import SyntaxTree

LINE, BLOCK, CALL = "line", "block", "call"
KINDS = (LINE, BLOCK, CALL)
MOST_OF_A_FILE = 3
"""Places of one kind in one file of one commit: a new file of a thousand lines is not to be all that is measured."""
LEAST_LINE = 6
"""Visible characters of a line that is worth completing."""
LEAST_REST = 4
"""Of what is asked for on a line."""
LEAST_ARGUMENTS = 2
MOST_BLOCK_LINES = 12
"""What the default budget of a block's tokens has room for."""
MOST_CALL_LINES = 5
_SAME_CHARACTERS = 200
_PARSE_MS = 5000.0
"""A slow machine is to take the same places."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CALL = re.compile(r"([^\W\d]\w*)\s*\(")
_NO_ARGUMENTS = re.compile(r"parameter|pattern")
"""Nodes of grammars; those of calls are called after arguments."""
_WORD_BEFORE = re.compile(r"([^\W\d]\w*)[ \t]+$")
_NO_TYPE = """
    return new throw raise else await yield case in of and or not if elif unless while until go defer do then when is
    assert del delete default export print puts echo
"""
"""Words that may stand before a call; behind any other one a name is being declared, as in ``int area(``."""
_CONTROL = """
    if elif for foreach while until switch case match catch except with return await yield and or not in is when unless
    sizeof typeof instanceof defined function func fn fun def lambda throw using lock synchronized
    assert del delete void
"""
_NO_TYPES, _NO_CALLS = frozenset(_NO_TYPE.split()), frozenset(_CONTROL.split())


@dataclass(frozen=True)
class Place:
    """``task`` has the file at that moment, and what was written; the workspace is that of the commit's parent."""

    kind: str
    commit: Commit
    task: Task

    @property
    def id(self) -> str:
        return self.task.task_id

    @property
    def line(self) -> int:
        """Of the cursor, from 1."""
        return self.task.prefix.count("\n") + 1


@dataclass(frozen=True)
class _Spot:
    """A place by its numbers: texts are made of those that are taken."""

    kind: str
    line: int
    column: int
    truth: str
    insertion: Insertion


def find(changes: Iterable[Change], repository: str, *, seed: int) -> Iterator[Place]:
    """A few places of each kind in every change; what was written twice in the same surroundings comes once."""
    seen: set[tuple[str, str, str]] = set()
    for change in changes:
        for place in _of_change(change, repository, seed):
            same = (place.kind, place.task.ground_truth, place.task.prefix[-_SAME_CHARACTERS:])
            if same not in seen:
                seen.add(same)
                yield place


def choose(places: Iterable[Place], limit: int, *, seed: int) -> list[Place]:
    """At most so many, of all kinds alike as far as there are so many; a larger limit adds to a smaller one.

    The order is that of the places given, so those of a commit stay together.
    """
    by_kind: dict[str, list[tuple[bytes, int, Place]]] = {kind: [] for kind in KINDS}
    for number, place in enumerate(places):
        theirs = by_kind[place.kind]
        # By a digest, not shuffled: more commits add places without taking all others away.
        theirs.append((blake2b(f"{seed}\0{place.id}".encode("utf-8", "replace")).digest(), number, place))
        if len(theirs) > 2 * limit:
            # Each holds the text of a file: no more of them are kept than can be taken.
            theirs.sort()
            del theirs[limit:]
    turns = zip_longest(*(sorted(theirs)[:limit] for theirs in by_kind.values()))
    taken = [one for turn in turns for one in turn if one is not None][:limit]
    return [place for _, _, place in sorted(taken, key=itemgetter(1))]


def to_bracket(text: str, language: Language) -> int:
    """How many characters of a text behind an opened ``(`` there are until behind the one that closes it; -1 if none
    does.

    >>> to_bracket("a, (b)) + c", by_path("x.py"))
    7
    """
    scanner = Scanner(language, blank=False)
    scanner.feed("(")
    scanner.mark()
    return next((closer.at + 1 for closer in scanner.feed(text) if closer.opener is not None), -1)


def _of_change(change: Change, repository: str, seed: int) -> Iterator[Place]:
    language = by_path(change.path)
    lines = change.new.split("\n")
    old = change.old.split("\n")
    chance = Random(f"{seed}\0{change.commit.id}\0{change.path}")  # noqa: S311  # a sample, not a secret
    finders: tuple[Callable[[], list[_Spot]], ...] = (
        lambda: _line_spots(change, lines, language, chance),
        lambda: _block_spots(change, lines),
        lambda: _call_spots(change, lines, language),
    )
    # All of it: a window may begin in a string, and then strings and code change places.
    tree = syntax.parse(language, change.new, limit_ms=_PARSE_MS)
    for finder in finders:
        spots = finder()
        chance.shuffle(spots)
        taken = 0
        for spot in spots:
            if taken == MOST_OF_A_FILE:
                break
            task = _task(change, repository, lines, old, spot)
            if _in_code(tree, task.prefix, language) and (spot.kind != CALL or _is_call(tree, task.prefix)):
                taken += 1
                yield Place(spot.kind, change.commit, task)


def _line_spots(change: Change, lines: Sequence[str], language: Language, chance: Random) -> list[_Spot]:
    spots = []
    prose = tuple(opener for opener, _ in language.long_quotes)
    for insertion, number in _added(change):
        line = lines[number].rstrip()
        if (
            visible(line) < LEAST_LINE
            or only_closers(line)
            or is_comment(line, language)
            # A docstring, mostly.
            or line.lstrip().startswith(prose)
            or line.strip() in change.removed
        ):
            continue
        columns = [match.start() for match in _TOKEN.finditer(line) if visible(line[match.start() :]) >= LEAST_REST]
        if columns:
            # Where a line begins most suggestions are asked for.
            column = columns[0] if chance.random() < 0.5 else chance.choice(columns)
            spots.append(_Spot(LINE, number, column, line[column:], insertion))
    return spots


def _block_spots(change: Change, lines: Sequence[str]) -> list[_Spot]:
    spots = []
    for body in bodies(change.path, change.new):
        around = next((each for each in change.insertions if _within(each, body.start_line, body.end_line)), None)
        theirs = [line.rstrip() for line in lines[body.start_line : body.end_line]]
        moved = sum(line.strip() in change.removed for line in theirs)
        if around is not None and len(theirs) <= MOST_BLOCK_LINES and 2 * moved < len(theirs):
            column = len(leading(theirs[0]))
            spots.append(_Spot(BLOCK, body.start_line, column, "\n".join(theirs)[column:], around))
    return spots


def _call_spots(change: Change, lines: Sequence[str], language: Language) -> list[_Spot]:
    spots = []
    for insertion, number in _added(change):
        line = lines[number].rstrip()
        if line.strip() in change.removed or is_comment(line, language) or _declares(line, language):
            continue
        below = lines[number : min(insertion.end_line, number + MOST_CALL_LINES)]
        rest = "\n".join(each.rstrip() for each in below)
        for match in _CALL.finditer(line):
            before = _WORD_BEFORE.search(line[: match.start()])
            if match[1] in _NO_CALLS or (before is not None and before[1] not in _NO_TYPES):
                continue
            end = to_bracket(rest[match.end() :], language)
            truth = rest[match.end() : match.end() + end]
            if end > 0 and visible(truth) > LEAST_ARGUMENTS:
                spots.append(_Spot(CALL, number, match.end(), truth, insertion))
    return spots


def _declares(line: str, language: Language) -> bool:
    """Whether brackets on this line may be those of parameters."""
    return defines(line, language) or (language.style is BlockStyle.BRACE and opens_block(line, language))


def _added(change: Change) -> Iterator[tuple[Insertion, int]]:
    for insertion in change.insertions:
        for number in range(insertion.start_line, insertion.end_line):
            yield insertion, number


def _within(insertion: Insertion, start_line: int, end_line: int) -> bool:
    return insertion.start_line <= start_line and end_line <= insertion.end_line


def _task(change: Change, repository: str, lines: Sequence[str], old: Sequence[str], spot: _Spot) -> Task:
    end = spot.insertion.end_line
    # Blank lines at the end of what is put in only keep it apart from what stands below.
    blank = sum(1 for _ in takewhile(lambda line: not line.strip(), reversed(lines[spot.line + 1 : end])))
    below = [*lines[end - blank : end], *old[spot.insertion.old_line :]]
    return Task(
        task_id=f"{change.commit.id[:12]}:{change.path}:{spot.line + 1}:{spot.column}:{spot.kind}",
        repo=repository,
        path=change.path,
        function=spot.kind,
        prefix="\n".join([*lines[: spot.line], lines[spot.line][: spot.column]]),
        suffix="\n".join(["", *below]) if any(line.strip() for line in below) else "",
        ground_truth=spot.truth,
    )


def _in_code(tree: SyntaxTree | None, prefix: str, language: Language) -> bool:
    """Whether the place behind ``prefix`` is in no string and no comment, as the finished text has it."""
    if tree is not None:
        return not syntax.inside(tree, len(prefix))
    return scan_before(prefix, language).inside is None


def _is_call(tree: SyntaxTree | None, prefix: str) -> bool:
    """Whether the bracket at the end of ``prefix`` does not open parameters or a pattern; true without a tree."""
    if tree is None:
        return True
    byte = tree.byte(len(prefix) - 1)
    node = tree.tree.root_node.descendant_for_byte_range(byte, byte + 1)
    if node is not None and node.child_count == 0:
        node = node.parent
    return node is None or not _NO_ARGUMENTS.search(node.type)
