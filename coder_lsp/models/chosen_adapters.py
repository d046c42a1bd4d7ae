"""Which adapters the settings lay over the model for a document: those of its folder, else those for everywhere.

Asked at every request, so that an adapter that was just trained, added or replaced is in use from the next one on:
what an adapter's name stands for is looked up anew whenever its record has changed, which costs one look at the file
system. An adapter that cannot be found is left out, so that completions go on, and told once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from coder_lsp.errors import CoderLspError
from coder_lsp.models import adapters, store
from coder_lsp.types import Adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.config import Config
    from coder_lsp.types import CompletionRequest

_DRIVE = re.compile(r"/[A-Za-z]:")
_MOST_DOCUMENTS = 1000


class ChosenAdapters:
    """For one configuration; keeps :class:`~coder_lsp.types.AdapterChoice`. ``tell`` hears of each fault once."""

    def __init__(self, config: Config, tell: Callable[[str], None]) -> None:
        self._everywhere = tuple(each for each in config.engine.loras if each.strip())
        folders = [(os.path.realpath(Path(folder).expanduser()), name) for folder, name in config.adapters]
        self._folders = sorted(folders, key=lambda each: len(each[0]), reverse=True)
        self._tell = tell
        self._told: set[str] = set()
        self._of_documents: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, tuple[object, Adapter | None]] = {}

    def __call__(self, request: CompletionRequest) -> tuple[Adapter, ...]:
        found = (self._adapter(setting) for setting in self._settings_for(request.uri))
        return tuple(adapter for adapter in found if adapter is not None)

    def _settings_for(self, uri: str) -> tuple[str, ...]:
        if not self._folders:
            return self._everywhere
        settings = self._of_documents.get(uri)
        if settings is None:
            if len(self._of_documents) >= _MOST_DOCUMENTS:
                self._of_documents.clear()
            settings = self._of_documents[uri] = self._looked_up(uri)
        return settings

    def _looked_up(self, uri: str) -> tuple[str, ...]:
        try:
            path = unquote(urlsplit(uri).path)
            real = os.path.realpath(path[1:] if _DRIVE.match(path) else path)
        except ValueError:
            # No URI, or what no file system has as a name.
            return self._everywhere
        for folder, setting in self._folders:
            if real == folder or real.startswith(folder.rstrip(os.sep) + os.sep):
                return (setting,) if setting.strip() else ()
        return self._everywhere

    def _adapter(self, setting: str) -> Adapter | None:
        name, scale = adapters.split_scale(setting.strip())
        stamp = _stamp(name)
        known = self._known.get(setting)
        if known is not None and known[0] == stamp:
            return known[1]
        adapter: Adapter | None = None
        try:
            found = adapters.resolve(name)
        except CoderLspError as error:
            if setting not in self._told:
                self._told.add(setting)
                self._tell(f"the adapter {name} is left out: {error.message}; {error.hint}")
        else:
            self._told.discard(setting)
            adapter = Adapter(str(found.path), scale, found.sha256)
        self._known[setting] = (stamp, adapter)
        return adapter


def _stamp(name: str) -> object:
    """What changes when the adapter does: of its file, or of its record in the store."""
    if store.looks_like_path(name):
        path = Path(name).expanduser()
    else:
        path = adapters.folder(name.strip().lower()) / adapters.RECORD
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
