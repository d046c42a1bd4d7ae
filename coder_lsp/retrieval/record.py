"""From a file on disk to the record that the store keeps, and from a record's rows back to values.

``read_file`` is the job of the worker processes: it reads, filters and extracts one file, or says why there is nothing
to keep. It touches neither the store nor the index, so any process can do it.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from coder_lsp.retrieval.chunk import Chunk
from coder_lsp.retrieval.store import FileRecord, SkippedFile, aliases_in, names_in
from coder_lsp.syntax.declared import Definition, Import
from coder_lsp.workspace.filters import MAX_FILE_BYTES, left_out_by_size, left_out_by_text
from coder_lsp.workspace.secrets import mask
from coder_lsp.workspace.source import RawFile, Skipped, digest, read_raw

if TYPE_CHECKING:
    from coder_lsp.retrieval.store import ImportRow, SymbolRow
    from coder_lsp.workspace.folder import Folder

UNKNOWN_TIME = -1
"""In place of a time that proves nothing: the next scan compares digests."""

# A file that is written again within the clock's grain keeps its time (git calls it racy). FAT counts two seconds.
_RACY_NS = 2_000_000_000


@dataclass(frozen=True)
class Unchanged:
    """The content is what is known, only its stamp is new."""

    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Gone:
    """Nothing at this path that the workspace admits."""

    path: str


Reading = FileRecord | SkippedFile | Unchanged | Gone


def read_file(folder: Folder, item: tuple[str, bytes]) -> Reading:
    """Read one file; ``item`` is its path and the digest that is known of it, empty if none is."""
    path, known = item
    try:
        status = os.lstat(folder.root / path)
    except (OSError, ValueError):
        return Gone(path)
    if not stat.S_ISREG(status.st_mode) or left_out_by_size(status.st_size) or folder.admits(path):
        return Gone(path)
    if known:
        raw = read_raw(folder.root / path, MAX_FILE_BYTES)
        if isinstance(raw, RawFile) and digest(raw.data) == known:
            return Unchanged(path, len(raw.data), _stamp(raw.mtime_ns))
    source = folder.read(path)
    if isinstance(source, Skipped):
        if source.reason == "gone":
            return Gone(path)
        # Permissions can change without the file's time.
        mtime_ns = UNKNOWN_TIME if source.reason == "unreadable" else _stamp(status.st_mtime_ns)
        return SkippedFile(path, status.st_size, mtime_ns, source.reason)
    return make_record(path, source.text, source.size_bytes, _stamp(source.mtime_ns), source.digest)


def read_document(folder: Folder, path: str, text: str) -> FileRecord | None:
    """The same for the text of an open document, which is not on disk; it is never stored, so it has no stamp."""
    data = text.encode("utf-8", "replace")
    text = data.decode()  # An editor may send half a surrogate pair; neither SQLite nor a parser takes one.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if folder.admits(path) or left_out_by_size(len(data)) or left_out_by_text(path, text):
        return None
    return make_record(path, mask(text, path)[0])


def make_record(
    path: str, text: str, size_bytes: int = 0, mtime_ns: int = UNKNOWN_TIME, digest: bytes = b""
) -> FileRecord:
    """The record of a text."""
    from coder_lsp.retrieval.extract import extract

    found = extract(path, text)
    lines = [line for chunk in found.chunks for line in (chunk.start_line, chunk.end_line)]
    return FileRecord(
        path=path,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        digest=digest,
        language=found.language,
        package=found.outline.package,
        lines=found.lines,
        chunks=struct.pack(f"<{len(lines)}I", *lines),
        terms=found.terms,
        text=text.encode(),
        symbols=tuple(_symbol_row(definition) for definition in found.outline.definitions),
        imports=tuple(_import_row(imported) for imported in found.outline.imports),
    )


def chunks_of(packed: bytes) -> list[Chunk]:
    return [Chunk(*lines) for lines in struct.iter_unpack("<2I", packed)]


def chunk_of(packed: bytes, number: int) -> Chunk | None:
    """One of them, None if there are not so many."""
    if 8 * number + 8 > len(packed):
        return None
    return Chunk(*struct.unpack_from("<2I", packed, 8 * number))


def definition_of(row: SymbolRow) -> Definition:
    name, kind, parent, signature, doc, start_line, end_line = row
    return Definition(name, kind, parent, start_line, end_line, signature, doc)


def import_of(row: ImportRow) -> Import:
    module, level, line, names, aliases = row
    # Most imports rename nothing, and a block reads hundreds of them.
    pairs = aliases_in(aliases) if aliases != "[]" else ()
    return Import(module, _names(names), level, line, pairs)


_names = lru_cache(maxsize=4096)(names_in)
"""The same few are imported everywhere."""


def _symbol_row(definition: Definition) -> SymbolRow:
    return (
        definition.name,
        definition.kind,
        definition.parent,
        definition.signature,
        definition.doc,
        definition.start_line,
        definition.end_line,
    )


def _import_row(imported: Import) -> ImportRow:
    names, aliases = json.dumps(imported.names), json.dumps(imported.aliases)
    return (imported.module, imported.level, imported.line, names, aliases)


def _stamp(mtime_ns: int) -> int:
    return UNKNOWN_TIME if mtime_ns > time.time_ns() - _RACY_NS else mtime_ns
