"""The newest commits of a repository, and the lines they put in: what somebody wrote, and what stood there before.

Commits with one parent count, those that touch a hundred files do not: they move, reformat or import. Of a commit the
insertions are taken, lines for which nothing was taken away; a line that was changed is an edit, which nobody asks a
completion for. Renamed and copied files are left out, as is what the workspace's rules keep from a model. Reads git's
objects alone, by ``workspace.git``: the work tree is neither read nor touched.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.languages import BlockStyle, by_path
from coder_lsp.workspace.filters import left_out_by_size, left_out_by_text
from coder_lsp.workspace.git import find_repository
from coder_lsp.workspace.secrets import mask
from coder_lsp.workspace.source import Skipped, decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coder_lsp.workspace.git import Branch, Entry, Repository

MOST_FILES = 100
"""Of a commit that somebody wrote; one with more is a sweep or an import."""
MOST_BYTES = 32 << 20
"""Of all files that a commit touches, as git would have to compare them."""
_LISTED = 4
"""Lists of files that are kept: a commit's parent mostly is the next commit."""
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_CODE = frozenset({"json", "jsonc", "yaml", "toml", "xml", "html", "css", "scss", "less", "ini", "csv"})
_DIFF = (
    "diff-tree",
    "-r",
    "-p",
    "-U0",
    "-C",
    "--diff-filter=AMD",
    "--full-index",
    "--inter-hunk-context=0",
    "--diff-algorithm=histogram",
    "--indent-heuristic",
    "--ignore-submodules=all",
    "--no-color",
    # What a repository's attributes and configuration can name to be run on its files.
    "--no-ext-diff",
    "--no-textconv",
    # Or call binary; the rules say what is text.
    "--text",
)


@dataclass(frozen=True)
class Commit:
    """A commit by its one parent. ``time`` is Unix time."""

    id: str
    parent: str
    time: int


@dataclass(frozen=True)
class Insertion:
    """Lines ``[start_line, end_line)`` of the new text; below them the old text goes on with its line ``old_line``."""

    start_line: int
    end_line: int
    old_line: int


@dataclass(frozen=True)
class Change:
    """What a commit did to one file; ``old`` is empty where the file is new.

    ``removed`` has the lines that the commit took away anywhere, without their indentation: what was put in again
    elsewhere was moved and not written.
    """

    commit: Commit
    path: str
    old: str = field(repr=False)
    new: str = field(repr=False)
    insertions: tuple[Insertion, ...] = ()
    removed: frozenset[str] = field(default=frozenset(), repr=False)


class History:
    """See the module. ``left_out`` counts, by reason, commits and files that were passed over."""

    def __init__(self, repository: Repository, branch: Branch) -> None:
        self.repository = repository
        self.branch = branch
        self.left_out: Counter[str] = Counter()
        self._lists: OrderedDict[str, dict[str, Entry]] = OrderedDict()

    @classmethod
    def open(cls, folder: Path, branch: str = "") -> History:
        """The history of the default branch, or of the one that is named.

        :raises InputError: no git, no repository has its top there, no such branch, no commit, or git refuses.
        """
        repository = find_repository(folder)
        if repository is None:
            if shutil.which("git") is None:
                raise InputError("git is not installed", hint="install it: histories are read by it")
            raise InputError(f"there is no git repository at {folder}", hint="name the folder that has .git in it")
        return cls(repository, repository.branch(branch))

    def newest(self, count: int) -> list[Commit]:
        """Up to so many commits with one parent, the newest first."""
        arguments = ("--timestamp", "--parents", "--min-parents=1", "--max-parents=1", f"--max-count={count}")
        found = []
        for line in self.repository.lines("rev-list", *arguments, self.branch.commit):
            time, commit, parent = line.decode().split()
            found.append(Commit(commit, parent, int(time)))
        return found

    def files(self, commit: str) -> dict[str, Entry]:
        """The regular files of a commit by path."""
        known = self._lists.get(commit)
        if known is None:
            entries = self.repository.files(commit)
            known = self._lists[commit] = {entry.path: entry for entry in entries if entry.kind == "file"}
            if len(self._lists) > _LISTED:
                self._lists.popitem(last=False)
        self._lists.move_to_end(commit)
        return known

    def changes(self, commit: Commit, admits: Callable[[str], str]) -> list[Change]:
        """The files of code that a commit put lines into, by path. ``admits`` says why a path is none, if it is not."""
        before, after = self.files(commit.parent), self.files(commit.id)
        touched = [path for path, entry in after.items() if path not in before or before[path].blob != entry.blob]
        gone = [path for path in before if path not in after]
        size = sum(after[path].size_bytes for path in touched) + sum(before[path].size_bytes for path in gone)
        if len(touched) + len(gone) > MOST_FILES or size > MOST_BYTES:
            self.left_out["a commit of many files"] += 1
            return []
        wanted = [path for path in touched if self._is_code(path, after[path], admits)]
        if not wanted:
            return []
        hunks, removed = self._compare(commit)
        asked = [
            (path, found)
            for path in wanted
            if (found := hunks.get((before[path].blob if path in before else "", after[path].blob)))
        ]
        changes = []
        for (path, found), old, new in zip(
            asked, *self._texts([path for path, _ in asked], before, after), strict=True
        ):
            if old is not None and new is not None:
                changes.append(Change(commit, path, old, new, tuple(found), removed))
        return changes

    def _is_code(self, path: str, entry: Entry, admits: Callable[[str], str]) -> bool:
        reason = admits(path) or left_out_by_size(entry.size_bytes)
        if not reason and not is_code(path):
            reason = "prose or data"
        if reason:
            self.left_out[reason] += 1
        return not reason

    def _compare(self, commit: Commit) -> tuple[dict[tuple[str, str], list[Insertion]], frozenset[str]]:
        """Insertions by the names of the old and the new blob, as names of files would come quoted; removed lines."""
        found: dict[tuple[str, str], list[Insertion]] = {}
        hunks: list[Insertion] = []
        removed: set[str] = set()
        in_hunk = False
        for line in self.repository.lines(*_DIFF, commit.parent, commit.id, "--"):
            # All lines out of files begin with a sign, so those without are git's own. Of those with one, the two that
            # name the files stand above the first hunk.
            if line.startswith(b"diff "):
                in_hunk = False
            elif line.startswith(b"index "):
                old, _, new = line.split()[1].decode().partition("..")
                hunks = found[old.strip("0") and old, new] = []
            elif match := _HUNK.match(line):
                in_hunk = True
                old_line, gone, start, count = (int(number) if number else 1 for number in match.groups())
                if not gone:
                    hunks.append(Insertion(start - 1, start - 1 + count, old_line))
            elif in_hunk and line.startswith(b"-"):
                removed.add(line[1:].decode("utf-8", "replace").strip())
        return found, frozenset(removed)

    def _texts(
        self, paths: list[str], before: dict[str, Entry], after: dict[str, Entry]
    ) -> tuple[list[str | None], list[str | None]]:
        """Texts before and after; None where there is one that is no text for a model."""
        blobs = [before[path].blob for path in paths if path in before] + [after[path].blob for path in paths]
        with self.repository.blobs() as reader:
            contents = iter(list(reader.read(blobs)))
        old = [self._text(path, next(contents), is_new=False) if path in before else "" for path in paths]
        return old, [self._text(path, next(contents), is_new=True) for path in paths]

    def _text(self, path: str, data: bytes | None, *, is_new: bool) -> str | None:
        """None where it is no text for a model. What a file was like before does not matter: little of it is left, or
        it was hardly there.
        """
        if data is None:
            self.left_out["damaged or not there"] += 1
            return None
        text = decode(data)
        if isinstance(text, Skipped):
            reason = text.reason
        elif text.count("\n") != data.count(b"\n"):
            # Lines would have other numbers than git's.
            reason = "unusual line ends"
        else:
            reason = left_out_by_text(path, text) if is_new else ""
            if not reason and mask(text, path)[1]:
                reason = "holds what looks like a secret"
        if reason:
            self.left_out[reason] += 1
            return None
        assert isinstance(text, str)
        return text


def is_code(path: str) -> bool:
    """Whether a file of this name is written in a language in which there is something to complete."""
    language = by_path(path)
    return language.style is not BlockStyle.PROSE and language.id not in _NO_CODE
