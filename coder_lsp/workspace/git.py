"""Asks git about a repository, which may be hostile: no hook, pager, helper, signature check or network is started.

Programs that a repository's own configuration can name are switched off one by one, for git has no switch for all of
them. Reads only. What git says goes into our errors as its first line.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_SAFE = (
    "--no-optional-locks",
    "--no-pager",
    "--no-replace-objects",
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", f"core.attributesFile={os.devnull}"),
    # With it git log would start what gpg.program names.
    *("-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never"),
    *("-c", "core.quotePath=false"),
)
# What would make git look at another repository than the one that was named.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_COMMON_DIR")
_BRANCHES = ("main", "master", "trunk", "develop")
"""Default branches by name, where no remote says which it is."""
_READ_BYTES = 1 << 16
_REGULAR = (b"100644", b"100755", b"100664")
_IN_FLIGHT = 64
"""Blobs asked for at once: their names are 3 kB, which any pipe holds, so neither end waits for the other."""


class Entry(NamedTuple):
    """A file of a commit. ``kind``: ``file``, ``link`` or ``submodule``."""

    path: str
    blob: str
    size_bytes: int
    kind: str


@dataclass(frozen=True)
class Branch:
    """What is read of a repository."""

    name: str
    commit: str


class Repository:
    """A git repository by its folder: a work tree's top, or a bare one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_shallow(self) -> bool:
        return self._ask("rev-parse", "--is-shallow-repository") == "true"

    def branch(self, wanted: str = "") -> Branch:
        """The default branch, or the one that is wanted: where the remote's HEAD leads, else a usual name, else HEAD.

        A local branch is preferred to the remote's of the same name: it has what is not pushed yet.

        :raises InputError: no such branch, or no commit at all.
        """
        if wanted:
            commit = self._commit(wanted)
            if commit is None:
                raise InputError(f"{self.folder} has no branch or commit {wanted!r}", hint="git branch -a lists them")
            return Branch(wanted, commit)
        remote = self._try("symbolic-ref", "-q", "refs/remotes/origin/HEAD").removeprefix("refs/remotes/origin/")
        names = [*([remote] if remote else []), *_BRANCHES]
        places = [(name, f"refs/heads/{name}") for name in names]
        if remote:
            places.insert(1, (remote, f"refs/remotes/origin/{remote}"))
        head = self._try("symbolic-ref", "-q", "--short", "HEAD") or "HEAD"
        for name, reference in [*places, (head, "HEAD")]:
            commit = self._commit(reference)
            if commit is not None:
                return Branch(name, commit)
        raise InputError(f"{self.folder} has no commits", hint="commit something first, or name another repository")

    def files(self, commit: str, *, deep: bool = True) -> Iterator[Entry]:
        """All entries of a commit, by path; without ``deep`` those at its top.

        :raises InputError: git refuses, or an object is damaged or, in a partial clone, not there.
        """
        below = ("-r",) if deep else ()
        for record in self._records("ls-tree", *below, "-z", "-l", "--full-tree", commit):
            head, _, name = record.partition(b"\t")
            mode, _, blob, size = head.split()
            if mode == b"040000":
                continue
            kind = "file" if mode in _REGULAR else "link" if mode == b"120000" else "submodule"
            if size == b"BAD":
                raise _refused(self.folder, b"object " + blob + b" is damaged")
            yield Entry(_text(name), blob.decode(), int(size) if size != b"-" else 0, kind)

    def changed(self, commit: str) -> Iterator[tuple[str, int]]:
        """(path, Unix time) of each change on the way to a commit, the newest first; merges count when they landed."""
        records = self._records(
            "log",
            "-z",
            "--format=%x01%ct",
            "--name-only",
            "-m",
            "--first-parent",
            "--no-renames",
            "--no-ext-diff",
            "--no-color",
            "--no-mailmap",
            "--ignore-submodules=all",
            commit,
        )
        time, first = 0, False
        for record in records:
            if record[:1] == b"\x01" and record[1:].isdigit():
                time, first = int(record[1:]), True
                continue
            name = record.removeprefix(b"\n") if first else record
            first = False
            if name:
                yield _text(name), time

    def lines(self, *arguments: str) -> Iterator[bytes]:
        """What a command of git's prints, a line at a time with its end.

        For commands that only read objects; those that compare take ``--no-ext-diff`` and ``--no-textconv``, as the
        repository's attributes can name programs for that.

        :raises InputError: git refuses.
        """
        with self._process(*arguments, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            yield from process.stdout

    @contextmanager
    def blobs(self) -> Iterator[BlobReader]:
        """Contents of blobs, for as long as the context lasts.

        :raises InputError: when it ends, git having met an object that is damaged.
        """
        with self._process("cat-file", "--batch", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            # It ended before it was told to, and will have said why.
            with suppress(BrokenPipeError):
                yield BlobReader(process.stdin, process.stdout)
                process.stdin.close()

    def _commit(self, reference: str) -> str | None:
        # "--" ends options, so that a reference cannot be one; "^{commit}" follows tags.
        return self._try("rev-parse", "--verify", "-q", "--end-of-options", f"{reference}^{{commit}}") or None

    def _ask(self, *arguments: str) -> str:
        done = self._run(arguments)
        if done.returncode:
            raise _refused(self.folder, done.stderr)
        return _text(done.stdout).strip()

    def _try(self, *arguments: str) -> str:
        done = self._run(arguments)
        return "" if done.returncode else _text(done.stdout).strip()

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        command = [_program(), *_SAFE, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

    def _records(self, *arguments: str) -> Iterator[bytes]:
        """What git prints, cut at NUL; never more of it in memory than one record."""
        with self._process(*arguments, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            rest = b""
            while part := process.stdout.read(_READ_BYTES):
                *records, rest = (rest + part).split(b"\0")
                yield from records
            if rest:
                yield rest

    @contextmanager
    def _process(self, *arguments: str, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
        # A file for what it says: a pipe that nobody reads meanwhile could fill.
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [_program(), *_SAFE, *arguments],
                cwd=self.folder,
                env=_environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=said,
            )
            try:
                yield process
                if process.wait():
                    said.seek(0)
                    raise _refused(self.folder, said.read(_READ_BYTES))
            finally:
                process.kill()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        # What it was still to be told, it need not know any more.
                        with suppress(OSError):
                            pipe.close()
                process.wait()


class BlobReader:
    """Reads from one ``git cat-file --batch``."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers

    def read(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """The contents in order; None of a blob that is not there (a partial clone) or is none."""
        for start in range(0, len(names), _IN_FLIGHT):
            asked = names[start : start + _IN_FLIGHT]
            self._requests.write("".join(f"{name}\n" for name in asked).encode())
            self._requests.flush()
            for _ in asked:
                yield self._next()

    def _next(self) -> bytes | None:
        header = self._answers.readline().split()
        if len(header) != 3:  # "<name> missing"
            return None
        data = self._answers.read(int(header[2]))
        self._answers.read(1)
        return data if header[1] == b"blob" else None


def find_repository(folder: Path) -> Repository | None:
    """The repository that has its top at this folder, bare ones too; None if there is none, or no git to ask.

    :raises InputError: git refuses, for instance because the folder belongs to another user.
    """
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    if not bare and not os.path.lexists(folder / ".git"):
        return None
    if shutil.which("git") is None:
        return None
    repository = Repository(folder)
    done = repository._run(("rev-parse", "--git-dir"))  # noqa: SLF001  # of this module
    if done.returncode:
        raise _refused(folder, done.stderr)
    return repository


def _program() -> str:
    return shutil.which("git") or "git"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {
        **kept,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        # A partial clone would fetch what it lacks. Git before 2.39.4 does not know the first, and over
        # protocol.allow a repository's own protocol.ext.allow wins, which starts a program.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "LC_ALL": "C",
    }


def _refused(folder: Path, said: bytes) -> InputError:
    lines = [line for line in _text(said).splitlines() if line.strip()]
    # What it ended for stands behind warnings.
    line = next((line for line in lines if line.startswith("fatal: ")), lines[0] if lines else "no reason given")
    hint = "git fsck says what is wrong"
    if "dubious ownership" in line:
        hint = f"git config --global --add safe.directory {folder}"
    elif "promisor" in line:
        hint = "it is a partial clone, and nothing is fetched: clone it without --filter"
    return InputError(f"git cannot read {folder}: {line.removeprefix('fatal: ')}", hint=hint)


def _text(data: bytes) -> str:
    """Names as Python has them from the disk: what is not UTF-8 becomes surrogates, which the rules refuse."""
    return data.decode("utf-8", "surrogateescape")
