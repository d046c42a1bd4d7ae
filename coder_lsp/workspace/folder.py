"""One root of the workspace: which of its files are source, and their text.

A path inside is relative and uses ``/``. A file is left out when an ignore rule, its name, size or text says so, when
it looks like a secret, when it lies in a repository's own folder, in one of installed packages or caches, or in another
root (files belong to the innermost). Symbolic links are never followed: what they lead to inside the root is reached by
its own name, so loops cannot arise, and what lies outside is not the user's workspace. Knows nothing of events; shared
by the threads that index and watch, which only ever replace entries of its caches.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.workspace.filters import MAX_FILE_BYTES, left_out_by_name, left_out_by_size, left_out_by_text
from coder_lsp.workspace.ignore import IGNORE_FILES, NO_RULES, FolderRules, rules_below, top_rules
from coder_lsp.workspace.secrets import is_secret, mask
from coder_lsp.workspace.source import Skipped, SourceText, decode, digest, read_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

MAX_DEPTH = 64
"""Folders below one another; source trees stay below thirty."""

# Never source of the user's own, wherever they are. Ambiguous names (build, dist, vendor, target, env) are left to the
# ignore files and to the two markers below.
SKIPPED_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".bzr", ".jj", "_darcs", "CVS"),  # version control
        *("node_modules", "bower_components", "jspm_packages", ".pnpm-store", ".yarn"),  # packages of JavaScript
        *("__pycache__", ".venv", ".tox", ".nox", ".eggs", "site-packages", "__pypackages__"),  # of Python
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints"),  # caches of its tools
        *(".gradle", ".terraform", ".dart_tool", ".stack-work", "DerivedData", "Pods", "elm-stuff"),  # of others
        *(".next", ".nuxt", ".svelte-kit", ".parcel-cache", ".turbo", ".cache"),  # build output under a fixed name
    }
)
CACHE_TAG = "CACHEDIR.TAG"
"""A file of this name marks a folder as a cache (bford.info/cachedir); cargo, uv, ruff and mypy write it."""
ENVIRONMENT_TAG = "pyvenv.cfg"
"""Marks a virtual environment, whatever the folder is called (PEP 405)."""

_MARKERS = (*IGNORE_FILES, ".git", CACHE_TAG, ENVIRONMENT_TAG)
# Control characters break line-based output, lone surrogates (names that are not UTF-8) cannot be stored as text.
_UNUSABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class FileStat:
    """A source file as the folder lists it."""

    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class _State:
    """Of one folder: why nothing in it counts, or the rules for its entries."""

    left_out: str
    rules: FolderRules = NO_RULES


class Folder:
    """A root. ``exclude`` are gitignore patterns, ``inner`` the roots that lie inside this one."""

    def __init__(self, root: Path, *, exclude: Sequence[str] = (), inner: Sequence[Path] = ()) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  # resolve() would follow a linked root
        self._exclude = tuple(exclude)
        self._inner = frozenset(filter(None, (self.relative(path) for path in inner)))
        self._states: dict[str, _State] = {}

    def walk(self) -> Iterator[FileStat]:
        """Every source file, in a fixed order: a folder's files, then its folders, by name."""
        for state, prefix, files in self._visit(""):
            for entry in files:
                path = prefix + entry.name
                status = None if self._file_left_out(entry.name, path, state) else _status(entry)
                if status is not None and not left_out_by_size(status.st_size):
                    yield FileStat(path, status.st_size, status.st_mtime_ns)

    def folders(self) -> Iterator[str]:
        """Every folder that is looked into, the root (an empty string) first; nothing if that is gone."""
        return (prefix.removesuffix("/") for _, prefix, _ in self._visit(""))

    def entries(self, path: str) -> tuple[list[str], list[str]]:
        """All regular files in a folder that is looked into, and the folders in it that are."""
        listed = self._list(path)
        if listed is None:
            return [], []
        prefix = path + "/" if path else ""
        return [prefix + entry.name for entry in listed[1]], listed[2]

    def admits(self, path: str) -> str:
        """Empty if a file at this path, there or not, may be source; else why it is left out. Reads no file."""
        if not path or path.startswith("/") or os.pardir in path.split("/"):
            return "outside of the root"
        folder, _, name = path.rpartition("/")
        state = self._state(folder)
        return state.left_out or self._file_left_out(name, path, state)

    def looks_into(self, path: str) -> bool:
        """Whether source can be in the folder at this path, there or not."""
        return not self._state(path).left_out

    def read(self, path: str) -> SourceText | Skipped:
        """The text of a file, or why it has none to index. Never raises for what a disk can do."""
        left_out = self.admits(path)
        if left_out:
            return Skipped(left_out)
        raw = read_raw(self.root / path, MAX_FILE_BYTES)
        if isinstance(raw, Skipped):
            return raw
        left_out = left_out_by_size(len(raw.data))
        if left_out:
            return Skipped(left_out)
        text = decode(raw.data)
        if isinstance(text, Skipped):
            return text
        left_out = left_out_by_text(path, text)
        if left_out:
            return Skipped(left_out)
        masked, lines = mask(text, path)
        return SourceText(masked, len(raw.data), raw.mtime_ns, digest(raw.data), lines)

    def relative(self, path: Path | str) -> str | None:
        """An absolute path as this root names it; None if it lies outside. The root itself is the empty string."""
        whole, root = os.path.abspath(path), str(self.root)  # noqa: PTH100  # see above
        if whole == root:
            return ""
        root = root.rstrip(os.sep) + os.sep
        return whole[len(root) :].replace(os.sep, "/") if whole.startswith(root) else None

    def refresh_rules(self) -> None:
        """Read the ignore files again when next asked."""
        self._states = {}

    def forget(self, path: str) -> None:
        """A folder came, went or was replaced: what is known of it and all below no longer holds."""
        if not path:
            self.refresh_rules()
            return
        prefix = path + "/"
        for known in list(self._states):
            if known == path or known.startswith(prefix):
                self._states.pop(known, None)

    def _visit(self, start: str) -> Iterator[tuple[_State, str, list[os.DirEntry[str]]]]:
        """Folders that are looked into, each with its rules and its regular files by name; depth first."""
        pending = [start]
        while pending:
            path = pending.pop()
            listed = self._list(path)
            if listed is None:
                continue
            state, files, folders = listed
            yield state, path + "/" if path else "", files
            pending += reversed(folders)

    def _list(self, path: str) -> tuple[_State, list[os.DirEntry[str]], list[str]] | None:
        """A folder's rules, regular files and folders that are looked into; None if it is none of these itself."""
        try:
            with os.scandir(self.root / path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (OSError, ValueError):
            return None
        state = self._states.get(path) or self._learn(path, {entry.name for entry in entries})
        if state.left_out:
            return None
        prefix = path + "/" if path else ""
        files, folders = [], []
        for entry in entries:
            if _is(os.DirEntry.is_file, entry):
                files.append(entry)
            elif _is(os.DirEntry.is_dir, entry) and not self._folder_left_out(prefix + entry.name, state):
                folders.append(prefix + entry.name)
        return state, files, folders

    def _state(self, path: str) -> _State:
        """What holds in a folder, which need not exist."""
        state = self._states.get(path)
        if state is not None:
            return state
        whole = self.root / path
        try:
            is_link = bool(path) and stat.S_ISLNK(os.lstat(whole).st_mode)
            return self._learn(path, [name for name in _MARKERS if os.path.lexists(whole / name)], is_link=is_link)
        except (OSError, ValueError):
            # Not there (any more): by the rules above it, and not remembered, for it may come.
            return self._derive(path, ())

    def _learn(self, path: str, names: Collection[str], *, is_link: bool = False) -> _State:
        states = self._states  # the rules may be refreshed meanwhile; what is learned by the old ones goes with them
        state = _State("symbolic link") if is_link else self._derive(path, names)
        states[path] = state
        return state

    def _derive(self, path: str, names: Collection[str]) -> _State:
        if not path:
            return _State("", top_rules(self.root, self._exclude))
        above = self._state(path.rpartition("/")[0])
        left_out = above.left_out or self._folder_left_out(path, above)
        if not left_out and (CACHE_TAG in names or ENVIRONMENT_TAG in names):
            left_out = "installed packages or a cache"
        return _State(left_out) if left_out else _State("", rules_below(above.rules, self.root, path, names))

    def _folder_left_out(self, path: str, above: _State) -> str:
        name = path.rpartition("/")[2]
        if name in SKIPPED_FOLDERS:
            return "installed packages or a cache"
        if path in self._inner:
            return "in another root"
        if path.count("/") >= MAX_DEPTH:
            return "too deep"
        if not name.isprintable() and _UNUSABLE.search(name):
            return "unusable name"
        return "ignored" if above.rules.ignore(path, is_folder=True) else ""

    def _file_left_out(self, name: str, path: str, above: _State) -> str:
        left_out = left_out_by_name(name)
        if left_out:
            return left_out
        if not name.isprintable() and _UNUSABLE.search(name):
            return "unusable name"
        if is_secret(path):
            return "looks like a secret"
        return "ignored" if above.rules.ignore(path, is_folder=False) else ""


def open_folders(roots: Sequence[Path], *, exclude: Sequence[str] = ()) -> list[Folder]:
    """The folders of several roots: each place once, and what lies in a root inside another one in that root alone."""
    places: dict[str, Path] = {}
    for root in roots:
        places.setdefault(os.path.realpath(root), root)
    folders = []
    for real, root in places.items():
        below = [
            Path(os.path.relpath(other, real)) for other in places if other.startswith(real.rstrip(os.sep) + os.sep)
        ]
        folders.append(Folder(root, exclude=exclude, inner=[Path(root) / path for path in below]))
    return folders


def _is(kind: Callable[[os.DirEntry[str]], bool], entry: os.DirEntry[str]) -> bool:
    try:
        return kind(entry, follow_symlinks=False)  # type: ignore[call-arg]  # the stub hides the keyword
    except OSError:
        return False


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:  # gone meanwhile
        return None
