"""The models there are, as rows for people and programs: those on this machine, then what the catalogue has besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError
from coder_lsp.models import catalog, store

if TYPE_CHECKING:
    from coder_lsp.models.catalog import CatalogEntry
    from coder_lsp.models.store import InstalledModel

_OF_ENTRY = (
    "family",
    "parameters",
    "licence",
    "context",
    "file",
    "bytes",
    "sha256",
    "template",
    "min_memory_gb",
    "note",
)


def rows(served: str) -> list[dict[str, Any]]:
    """Installed ones first, then the catalogue's others in its order; ``default`` marks the one called ``served``."""
    try:
        served = store.canonical(served)
    except CoderLspError:
        served = ""
    found = []
    for model in store.installed():
        if isinstance(model, store.BrokenModel):
            entry = catalog.load().find(model.name)
            found.append(_entry_row(model.name, entry) | {"path": model.path, "fault": model.fault.message})
        else:
            found.append(model_row(model))
    here = {row["name"] for row in found}
    found += [_entry_row(entry.name, entry) for entry in catalog.load().entries if entry.name not in here]
    for row in found:
        row["default"] = row["name"] == served
    return found


def model_row(model: InstalledModel) -> dict[str, Any]:
    """One installed model."""
    return _entry_row(model.name, model.entry) | {
        "bytes": model.bytes,
        "sha256": model.sha256,
        "template": model.template,
        "file": model.path.name,
        "installed": True,
        "verified": model.verified,
        "path": model.path,
        "source": model.source,
        "added": model.added,
        "linked": model.linked,
        "derived": model.derived,
    }


def _entry_row(name: str, entry: CatalogEntry | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "aliases": list(entry.aliases) if entry else []}
    row |= {key: getattr(entry, key) if entry else None for key in _OF_ENTRY}
    return row | {
        "installed": False,
        "verified": False,
        "path": None,
        "source": "",
        "added": "",
        "derived": None,
        "fault": "",
    }
