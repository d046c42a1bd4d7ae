"""The workspace as it was: the source files of one commit after another in a folder of their own, and indexed there.

From commit to commit only what differs is written and read again, so that a hundred commits of a large repository cost
little more than one. No link is made and nothing is written outside of the folder, whatever names a repository has; the
user's work tree and index are not touched.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.evaluate.indexed import indexed
from coder_lsp.models.files import disk_full_as_error
from coder_lsp.workspace.filters import left_out_by_size
from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.ignore import IGNORE_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.evaluate.repo.history import History
    from coder_lsp.evaluate.repo.places import Place
    from coder_lsp.types import Snippet

_AT_ONCE = 256
"""Files whose bytes are in memory at the same time, at most."""


@dataclass(frozen=True)
class Prepared:
    """A place with what of other files is shown for it, which was assembled in so many milliseconds."""

    place: Place
    snippets: tuple[Snippet, ...] = field(repr=False)
    ms: float = 0.0


class Checkout:
    """A folder with the source files of a commit. ``exclude`` are patterns as in ignore files."""

    def __init__(self, folder: Path, history: History, exclude: Sequence[str] = ()) -> None:
        self.root = folder / "workspace"
        self.root.mkdir()
        rules = folder / "rules"
        rules.mkdir()
        # An empty folder: the ignore files of the commit are for the index to obey.
        self._rules = Folder(rules, exclude=exclude)
        self._history = history
        self._there: dict[str, str] = {}

    def move(self, commit: str) -> int:
        """Make the folder that of a commit; returns how many files were written or deleted.

        :raises DiskFull: there is no room for them.
        """
        wanted = {
            path: entry.blob
            for path, entry in self._history.files(commit).items()
            if not left_out_by_size(entry.size_bytes) and self._belongs(path)
        }
        gone = [path for path in self._there if path not in wanted]
        for path in gone:
            self._delete(path)
        changed = [path for path, blob in wanted.items() if self._there.get(path) != blob]
        with self._history.repository.blobs() as blobs, disk_full_as_error(self.root):
            for start in range(0, len(changed), _AT_ONCE):
                part = changed[start : start + _AT_ONCE]
                for path, data in zip(part, blobs.read([wanted[path] for path in part]), strict=True):
                    self._write(path, data)
        self._there = wanted
        return len(gone) + len(changed)

    def _belongs(self, path: str) -> bool:
        if path.rpartition("/")[2] not in IGNORE_FILES:
            return not self._rules.admits(path)
        # Rules are no source, so nothing but their folder says whether their path is harmless.
        folder = path.rpartition("/")[0]
        return not path.startswith("/") and ".." not in path.split("/") and self._rules.looks_into(folder)

    def _delete(self, path: str) -> None:
        place = self.root / path
        # It may never have been written, see below.
        with suppress(OSError):
            place.unlink()
        # What is left empty goes as well: git knows no folders, and a file may come in its place.
        with suppress(OSError):
            for above in takewhile(lambda folder: folder != self.root, place.parents):
                above.rmdir()

    def _write(self, path: str, data: bytes | None) -> None:
        if data is None:  # damaged, or missing in a partial clone
            return
        place = self.root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        except OSError as error:
            # A hostile tree has a file where it has a folder, or a name that no disk takes: one file less to read.
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise


def prepare(
    places: Sequence[Place],
    history: History,
    *,
    budget: int,
    exclude: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[Prepared]:
    """The context of each place, ``budget`` tokens of it, from the workspace at the parent of its commit.

    ``places`` of a commit stay together. The document is open and not saved, as in an editor.

    :raises CoderLspError: indexing does not come to an end, or there is no room on the disk.
    """
    if not places:
        return
    with tempfile.TemporaryDirectory(prefix="coder-lsp-eval-") as folder:
        checkout = Checkout(Path(folder).resolve(), history, exclude)
        checkout.move(places[0].commit.parent)
        done = 0
        with indexed(checkout.root) as index:
            for parent, theirs in groupby(places, key=lambda place: place.commit.parent):
                if checkout.move(parent):
                    index.indexer.rescan()
                for place in theirs:
                    snippets, ms = index.snippets(place.task, budget)
                    done += 1
                    progress(done, len(places))
                    yield Prepared(place, snippets, ms)
