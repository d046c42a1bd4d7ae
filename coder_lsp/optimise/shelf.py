"""Where results go: a name of their own in the store of models, the file whole and synced before its record.

Touches no other model. Used by ``pipeline`` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.models import catalog, files, gguf_header, store

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.models.store import InstalledModel
    from coder_lsp.optimise.record import Provenance


def check_name(name: str) -> None:
    """:raises InputError: a model cannot be called that."""
    if not catalog.valid_name(name):
        raise InputError(f"{name!r} cannot name a model", hint="use lowercase letters, digits, dots and dashes")
    if catalog.load().find(name) is not None:
        raise InputError(f"{name} is a model of the catalogue", hint="choose another name: --name NAME")
    if store.folder(name).exists() or store.folder(name).is_symlink():
        raise InputError(
            f"there is a model named {name} already: {store.folder(name)}",
            hint=f"remove it first (coder-lsp models remove {name}), or choose another name: --name NAME",
        )


def install(path: Path, name: str, template: str, provenance: Provenance) -> InstalledModel:
    """Move a finished file, on the same disk, into its place; then the record, without which there is no model."""
    gguf_header.read(path)  # it is whole
    with path.open("rb") as stream:
        files.sync(stream.fileno())
    digest = files.sha256_of(path)
    place = store.folder(name) / f"{name}.gguf"
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o600)
    path.replace(place)
    files.sync_folder(place.parent)
    return store.record(
        name,
        place,
        sha256=digest,
        size=place.stat().st_size,
        source=f"made from {provenance.derived_from} for this processor",
        template=template,
        derived=provenance.table(),
    )
