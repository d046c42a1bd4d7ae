"""A repository as a stream of files: of its default branch's commit where there is git, of the folder where not.

Decides what it can without reading: names, ignore rules, secrets by name and sizes are the workspace's. Files that have
to be read come with their bytes and with when they changed last, which is what the split by time goes by. Nothing of
the work tree's uncommitted state enters.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.train.prepare.licence import is_licence, objection
from coder_lsp.workspace.filters import MAX_FILE_BYTES, left_out_by_size
from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.git import find_repository
from coder_lsp.workspace.source import RawFile, read_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from coder_lsp.workspace.git import Branch, Entry, Repository

_AT_ONCE = 256
"""Files whose bytes are in memory here at the same time, at most; a file has at most 1 MB."""
_LICENCE_BYTES = 200_000


@dataclass(frozen=True)
class Found:
    """A file of a repository: its bytes, or the reason why it is left out unread."""

    path: str
    reason: str = ""
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Source:
    """A repository to read. ``commit`` is empty without git; ``remarks`` are for the user."""

    name: str
    folder: Path
    branch: str = ""
    commit: str = ""
    shallow: bool = False
    remarks: tuple[str, ...] = ()
    _repository: Repository | None = field(default=None, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """What decides which files there are: the commit, or without git every file's size and time."""
        if self.commit:
            return f"{self.name}@{self.commit}"
        found = hashlib.sha256()
        for file in Folder(self.folder).walk():
            found.update(f"{file.path}\0{file.size_bytes}\0{file.mtime_ns}\n".encode())
        return f"{self.name}#{found.hexdigest()}"

    def files(self, exclude: Sequence[str], known: Collection[str] = ()) -> Iterator[Found]:
        """Every file but those that are ``known``, in a fixed order."""
        with ExitStack() as stack:
            root = self.folder
            if self._repository is not None and not (root / ".git").exists():
                # Of a bare repository only the rules that come with no folder hold.
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coder-lsp-train-")))
            folder = Folder(root, exclude=exclude)
            if self._repository is None:
                yield from _folder_files(folder, known)
            else:
                yield from _commit_files(self._repository, self.commit, folder, known)

    def changed(self) -> Iterator[tuple[str, int]]:
        """(path, Unix time) of changes, the newest first; nothing without git."""
        if self._repository is not None:
            yield from self._repository.changed(self.commit)

    def objections(self) -> list[tuple[str, str]]:
        """(path, what it says) of licence files at the top that seem to forbid training or using the code."""
        found = []
        for path, data in self._licences():
            said = objection(data.decode("utf-8", "replace"))
            if said:
                found.append((path, said))
        return found

    def _licences(self) -> Iterator[tuple[str, bytes]]:
        if self._repository is None:
            for place in sorted(self.folder.iterdir()):
                raw = read_raw(place, _LICENCE_BYTES) if is_licence(place.name) else None
                if isinstance(raw, RawFile):
                    yield place.name, raw.data
            return
        entries = [
            entry
            for entry in self._repository.files(self.commit, deep=False)
            if is_licence(entry.path) and entry.kind == "file" and entry.size_bytes <= _LICENCE_BYTES
        ]
        with self._repository.blobs() as blobs:
            for entry, data in zip(entries, blobs.read([entry.blob for entry in entries]), strict=True):
                yield entry.path, data or b""


def open_sources(places: Sequence[Path], *, branch: str = "") -> list[Source]:
    """The repositories at these folders, each with a name of its own.

    :raises InputError: not a folder, named twice, no commit, no such branch, or git refuses.
    """
    sources: list[Source] = []
    seen: dict[Path, Path] = {}
    names: set[str] = set()
    for place in places:
        folder = place.resolve()
        if not folder.is_dir():
            raise InputError(f"{place} is not a folder", hint="name the folders of repositories")
        if folder in seen:
            raise InputError(f"{place} and {seen[folder]} are the same folder")
        seen[folder] = place
        name = base = folder.name.removesuffix(".git") or "repository"
        count = 1
        while name in names:
            count += 1
            name = f"{base}-{count}"
        names.add(name)
        sources.append(_open(folder, name, branch))
    return sources


def _open(folder: Path, name: str, wanted: str) -> Source:
    repository = find_repository(folder)
    if repository is None:
        if wanted:
            raise InputError(f"{folder} is no git repository that could have a branch {wanted!r}")
        remark = "no git repository: all files of the folder are taken, and none can be held out by time"
        if (folder / ".git").exists():
            remark = "git is not installed: the files on disk are taken, and none can be held out by time"
        return Source(name, folder, remarks=(remark,))
    found: Branch = repository.branch(wanted)
    shallow = repository.is_shallow()
    remarks = ("a shallow clone: files older than its first commit all have that commit's time",) if shallow else ()
    return Source(name, folder, found.name, found.commit, shallow, remarks, repository)


def _folder_files(folder: Folder, known: Collection[str]) -> Iterator[Found]:
    for file in folder.walk():
        if file.path in known:
            continue
        raw = read_raw(folder.root / file.path, MAX_FILE_BYTES)
        yield Found(file.path, data=raw.data) if isinstance(raw, RawFile) else Found(file.path, raw.reason)


def _commit_files(repository: Repository, commit: str, folder: Folder, known: Collection[str]) -> Iterator[Found]:
    entries = (entry for entry in repository.files(commit) if entry.path not in known)
    with repository.blobs() as blobs:
        while part := list(islice(entries, _AT_ONCE)):
            reasons = [_reason(entry, folder.admits) for entry in part]
            contents = blobs.read([entry.blob for entry, reason in zip(part, reasons, strict=True) if not reason])
            for entry, reason in zip(part, reasons, strict=True):
                path = entry.path.encode("utf-8", "replace").decode()
                if reason:
                    yield Found(path, reason)
                    continue
                data = next(contents)
                yield Found(path, "missing in a partial clone") if data is None else Found(path, data=data)


def _reason(entry: Entry, admits: Callable[[str], str]) -> str:
    if entry.kind == "link":
        return "symbolic link"
    if entry.kind == "submodule":
        return "submodule"
    return admits(entry.path) or left_out_by_size(entry.size_bytes)
