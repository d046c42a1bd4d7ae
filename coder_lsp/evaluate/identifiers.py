"""Cross-file identifiers: what a task needs out of other files, and how much of it a block of context brings.

Needed are the identifiers of the body that was taken out which occur in another file of the repository and nowhere in
what is left of the task's own: a model cannot know them unless it is shown them. Two characters at least; no keyword
and no built-in name of Python, or of any language where the task's is another one. Recall is found / needed.
"""

from __future__ import annotations

import builtins
import contextlib
import keyword
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.languages import by_path
from coder_lsp.retrieval.place import KEYWORDS
from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.source import RawFile, read_raw

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.evaluate.tasks import Task

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_PYTHON = frozenset((*keyword.kwlist, *dir(builtins)))
_MAX_BYTES = 4 << 20


def identifiers(text: str) -> set[str]:
    """All of a text, short ones and keywords included."""
    return set(_IDENTIFIER.findall(text))


@dataclass(frozen=True)
class Repository:
    """Every text file of a folder, whatever the index makes of it. Paths are relative, with ``/``, and in order."""

    root: Path
    texts: dict[str, str] = field(repr=False)
    _occurrences: dict[str, set[str]] = field(default_factory=dict, repr=False)
    """Path -> identifiers."""
    _files: Counter[str] = field(default_factory=Counter, repr=False)
    """Identifier -> number of files that have it."""

    @classmethod
    def read(cls, root: Path) -> Repository:
        """Files that are UTF-8, in the folders that are the user's own (no installed packages, nothing ignored).

        What is larger than 4 MB is no text that anybody would look up a name in.
        """
        folder = Folder(root)
        texts = {}
        for path in (path for inside in folder.folders() for path in folder.entries(inside)[0]):
            raw = read_raw(root / path, _MAX_BYTES)
            if isinstance(raw, RawFile):
                with contextlib.suppress(UnicodeDecodeError):
                    texts[path] = raw.data.decode("utf-8").replace("\r\n", "\n")
        occurrences = {path: identifiers(text) for path, text in sorted(texts.items())}
        files = Counter(name for found in occurrences.values() for name in found)
        return cls(root, dict(sorted(texts.items())), occurrences, files)

    def needed(self, task: Task) -> frozenset[str]:
        """What the body of a task needs out of other files.

        ``a.py`` without the body ``return helper(x)``, and ``b.py`` with ``def helper``: ``{"helper"}``.
        """
        own = self._occurrences.get(task.path, set())
        known = identifiers(task.prefix) | identifiers(task.suffix)
        common = _PYTHON if by_path(task.path).id == "python" else _PYTHON | KEYWORDS
        return frozenset(
            name
            for name in identifiers(task.ground_truth) - known - common
            if len(name) > 1 and self._files[name] > (name in own)
        )


@dataclass
class Recall:
    """Found and needed, over tasks. ``shares`` has found / needed of each task that needs something."""

    found: int = 0
    needed: int = 0
    shares: list[float] = field(default_factory=list)

    def add(self, needed: frozenset[str], block: str) -> int:
        """Count one task's block; returns how much of what it needs is in there."""
        found = len(needed & identifiers(block))
        self.found += found
        self.needed += len(needed)
        if needed:
            self.shares.append(found / len(needed))
        return found

    @property
    def micro(self) -> float:
        """Over all identifiers; 0 where nothing is needed."""
        return self.found / self.needed if self.needed else 0.0

    @property
    def per_task(self) -> float:
        """Mean over the tasks that need something."""
        return sum(self.shares) / len(self.shares) if self.shares else 0.0
