"""``model.json``: what the store knows of one model file, written once the file is complete.

Owns the form of the record and refuses one that is damaged, that names a file elsewhere without saying it is a link,
that was copied from another model's folder, or that a newer version wrote in a form of its own. Used by ``store``, and
by ``adapters``, whose records have their number of the form from here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import ModelCorrupt, ModelFromNewerVersion
from coder_lsp.models import files

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "model.json"
FORMAT = 1
"""Of ``model.json`` and ``adapter.json``. Fields that are added need no other number, since what is not known is passed
over; a change that this version would misread does. Records without a number are of the first form.
"""


@dataclass(frozen=True)
class Record:
    """``file`` is a name inside the model's folder, or the whole path of a linked file."""

    name: str
    file: str
    bytes: int
    sha256: str | None
    verified: bool
    source: str
    template: str | None
    added: str
    """UTC, ISO 8601."""
    linked: bool = False
    derived: dict[str, Any] | None = None
    """Of a model that was made here from another: which, how, and with what figures."""


_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "file": (str,),
    "bytes": (int,),
    "sha256": (str, type(None)),
    "verified": (bool,),
    "source": (str,),
    "template": (str, type(None)),
    "added": (str,),
    "linked": (bool,),
    "derived": (dict, type(None)),
}


def write(place: Path, record: Record) -> None:
    files.write_text(place / RECORD, json.dumps({"format": FORMAT, **asdict(record)}, indent=2) + "\n")


def refuse_newer(table: Any, path: Path) -> None:
    """:raises ModelFromNewerVersion: what was read there has a form that only a newer coder-lsp knows."""
    form = table.get("format", 1) if isinstance(table, dict) else 1
    if isinstance(form, int) and form > FORMAT:
        raise ModelFromNewerVersion(
            f"{path} was written by a newer coder-lsp (format {form}, this one knows {FORMAT})", hint="update coder-lsp"
        )


def read(place: Path) -> Record | None:
    """The record in a model's folder, None if it has none.

    :raises ModelCorrupt: there is one, and it is damaged.
    :raises ModelFromNewerVersion: there is one that this version does not know how to read.
    """
    path = place / RECORD
    hint = f"run: coder-lsp models remove {place.name}, then get it again"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelCorrupt(f"the record of {place.name} cannot be read: {path} ({error})", hint=hint) from error
    try:
        table = json.loads(text)
        refuse_newer(table, path)
        record = Record(**{key: table[key] for key in _TYPES if key in table})
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelCorrupt(f"the record of {place.name} is damaged: {path} ({error})", hint=hint) from error
    # By type() and not isinstance(): true and false are numbers there.
    wrong = [key for key, types in _TYPES.items() if type(getattr(record, key)) not in types]
    # A file name with a folder in it would let an edited record point anywhere; only a link may, and says so.
    if not wrong and not record.linked and not files.is_plain_name(record.file):
        wrong.append("file")
    if not wrong and record.name != place.name:
        wrong.append("name")
    if wrong:
        raise ModelCorrupt(f"the record of {place.name} is damaged: {path} (wrong {', '.join(wrong)})", hint=hint)
    return record
