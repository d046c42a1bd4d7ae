"""An index as people ask about it: its languages, how its files hang together, and what was left out and why.

For the command line. Looks at every file and every folder of a root, so it takes seconds where a question to the index
takes milliseconds; changes nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.retrieval.graph import dependency_order
from coder_lsp.retrieval.imports import PROJECT_FILES, Catalogue, resolve
from coder_lsp.workspace.filters import MAX_FILE_BYTES
from coder_lsp.workspace.source import RawFile, Skipped, read_raw

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from coder_lsp.retrieval.index import Index
    from coder_lsp.workspace.folder import Folder

_TS_CONFIG = re.compile(r"(?:ts|js)config(?:\.[\w.-]+)?\.json")


@dataclass(frozen=True)
class LeftOut:
    """Reason -> how many. What lies in a folder that is left out is not counted."""

    files: dict[str, int]
    folders: dict[str, int]


@dataclass(frozen=True)
class LanguageShare:
    """Of one root."""

    files: int
    lines: int


@dataclass(frozen=True)
class GraphFacts:
    """``resolved`` imports lead to files of the root, the others out of it; a group is connected in any direction."""

    imports: int
    resolved: int
    links: int
    """Pairs of a file and one it imports."""
    groups: int
    largest_group: int


def languages(index: Index, root: Path) -> dict[str, LanguageShare]:
    """Language id -> its share, the largest first."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for _, file in index.files():
        if file.root == root:
            files[file.language] += 1
            lines[file.language] += file.lines
    ordered = sorted(files, key=lambda language: (-files[language], language))
    return {language: LanguageShare(files[language], lines[language]) for language in ordered}


def left_out(folder: Folder, indexed: Collection[str], *, full: bool = False) -> LeftOut:
    """Why files and folders of a root are not in the index; ``full``: it had no room for more."""
    files: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    for entry, path in _entries(folder):
        if entry.is_symlink():
            files["symbolic link"] += 1
        elif entry.is_dir(follow_symlinks=False):
            if not folder.looks_into(path):
                # No file of such a folder is admitted, whatever its name, and for the folder's reason.
                folders[folder.admits(f"{path}/x")] += 1
        elif path not in indexed:
            files[folder.admits(path) or _refused(folder, path, full=full)] += 1
    return LeftOut(dict(files.most_common()), dict(folders.most_common()))


def graph_facts(index: Index, folder: Folder) -> GraphFacts:
    """How the files of a root import each other."""
    files = {file.path: (number, file) for number, file in index.files() if file.root == folder.root}
    known = ((path, file.language, file.package) for path, (_, file) in files.items())
    catalogue = Catalogue(known, dict(_projects(folder)))
    depends: dict[str, set[str]] = {}
    imports = resolved = 0
    for path, (number, file) in files.items():
        targets: set[str] = set()
        for each in index.imports(number):
            found = resolve(path, file.language, [each], catalogue)
            imports += 1
            resolved += bool(found)
            targets.update(found)
        depends[path] = targets
    groups = dependency_order(list(files), depends)
    return GraphFacts(
        imports=imports,
        resolved=resolved,
        links=sum(map(len, depends.values())),
        groups=len(groups),
        largest_group=max(map(len, groups), default=0),
    )


def _refused(folder: Folder, path: str, *, full: bool) -> str:
    """Why a file that is admitted by name is not in the index."""
    if full:
        return "more files than are indexed of one folder"
    found = folder.read(path)
    return found.reason if isinstance(found, Skipped) else "changed meanwhile, or could not be parsed"


def _entries(folder: Folder) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Everything in the folders that are looked into, and its path."""
    for path in folder.folders():
        try:
            with os.scandir(folder.root / path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            yield entry, f"{path}/{entry.name}" if path else entry.name


def _projects(folder: Folder) -> Iterator[tuple[str, str]]:
    """Path and text of the files that say where imports lead."""
    for entry, path in _entries(folder):
        if entry.name in PROJECT_FILES or _TS_CONFIG.fullmatch(entry.name):
            raw = read_raw(folder.root / path, MAX_FILE_BYTES)
            if isinstance(raw, RawFile):
                yield path, raw.data.decode("utf-8", "replace")
