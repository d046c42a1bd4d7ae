"""Workspace folders, and where a document lies in them. Works on URIs and names; never touches the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pygls.uris import to_fs_path

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Location:
    """``path`` is relative to ``root``, with ``/``; without a root it is absolute, and empty for what is no file."""

    path: str = ""
    root: str = ""


class WorkspaceRoots:
    """The folders the editor has open, in its order."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self._folders.values())

    @property
    def name(self) -> str:
        """What to call them all."""
        names = [path.name or str(path) for path in self._folders.values()]
        return names[0] if len(names) == 1 else f"{len(names)} folders"

    def change(self, *, added: Iterable[str] = (), removed: Iterable[str] = ()) -> None:
        """Add and remove folders by URI; what is no folder of this machine is passed over."""
        for uri in removed:
            self._folders.pop(_key(uri), None)
        for uri in added:
            path = path_of(uri)
            if path is not None:
                self._folders[_key(uri)] = path

    def locate(self, uri: str) -> Location:
        """The deepest folder that contains a document, and its path in it."""
        path = path_of(uri)
        if path is None:
            return Location()
        around = [root for root in self._folders.values() if path.is_relative_to(root)]
        if not around:
            return Location(path=path.as_posix())
        root = max(around, key=lambda folder: len(folder.parts))
        return Location(path=path.relative_to(root).as_posix(), root=str(root))


def path_of(uri: str) -> Path | None:
    """The path of a ``file:`` URI, None for any other and for what no file system has as a name."""
    try:
        text = to_fs_path(uri)
        if not text or b"\0" in os.fsencode(text):
            return None
    except ValueError:
        return None
    return Path(text)


def _key(uri: str) -> str:
    """Clients spell one folder with and without a slash at its end."""
    return uri.rstrip("/")
