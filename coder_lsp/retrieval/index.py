"""What can be asked of the workspace: chunks by their words, definitions by their names, text, imports. Over all roots.

The search index and the list of files are in memory, texts and definitions stay in each root's store. On top lie
records that are in no store: the unsaved text of open documents, which hides the disk's (an overlay), and files whose
store cannot be written. One thread, the indexer's, changes the index; any thread may ask meanwhile. Questions do not
raise: what a damaged store cannot answer is missing, and ``on_damage`` is told which root and store it was. A file is
known by a number that is never used again; ``file`` says which one it is.

An answer may mix a file as it was with the same file as it is, for the time of one update (milliseconds, or as long as
another session that writes the same store is ahead); ranges are cut to the lines there are.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from coder_lsp.retrieval.bm25 import Bm25Index
from coder_lsp.retrieval.database import Fault, StoreError
from coder_lsp.retrieval.record import chunk_of, chunks_of, definition_of, import_of
from coder_lsp.retrieval.store import StoredText

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.retrieval.chunk import Chunk
    from coder_lsp.retrieval.store import FileRecord, ImportRow, Store, StoredFile, SymbolRow
    from coder_lsp.syntax.outline import Definition, Import

T = TypeVar("T")

DEFINITIONS_A_NAME = 32
"""A name that is declared more often says little; ``main`` and ``__init__`` are in every second file."""

_TEXTS_KEPT = 128
_BYTES_KEPT = 1_500_000
"""Of these texts together. A file may have a megabyte, so their number alone would be no limit."""
_FILES_A_LOAD = 500
_GIVE_WAY_S = 0.05


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file that is in the index, as it is there. ``path`` is relative to ``root``, with ``/``."""

    root: Path
    path: str
    language: str
    package: str
    lines: int
    packed_chunks: bytes
    digest: bytes
    """Of the file on disk; empty for an open document's text."""

    @property
    def chunks(self) -> list[Chunk]:
        return chunks_of(self.packed_chunks)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found; ``number`` counts the chunks of its file."""

    file: int
    number: int
    chunk: Chunk
    score: float


@dataclass(frozen=True)
class RootStats:
    """One root. ``database`` None: it is in memory only."""

    root: Path
    files: int
    symbols: int
    imports: int
    skipped: int
    database: Path | None
    database_bytes: int


@dataclass(frozen=True)
class IndexStats:
    """The index at a glance; ``memory_bytes`` is what the search index holds."""

    files: int
    chunks: int
    terms: int
    overlays: int
    memory_bytes: int
    generation: int
    roots: tuple[RootStats, ...]


class Index:
    """See the module. ``generation`` is another one after every change."""

    def __init__(self, *, on_damage: Callable[[Path, Store], None]) -> None:
        self.generation = 0
        self._on_damage = on_damage
        self._search = Bm25Index()
        self._numbers = itertools.count(1)
        self._files: dict[int, IndexedFile] = {}
        self._roots: dict[Path, _Root] = {}
        self._overlays: dict[int, FileRecord] = {}
        self._held: dict[int, FileRecord] = {}
        self._unsaved: set[int] = set()
        """Files with an overlay and nothing on disk beneath."""
        self._named: dict[str, set[int]] = {}
        """Name -> files of ``_overlays`` and ``_held`` that define it."""
        self._texts: OrderedDict[int, _Kept] = OrderedDict()
        self._requests = 0
        self._quiet = threading.Event()

    # -- questions, from any thread

    def search(
        self, tokens: Sequence[str], k: int, *, weights: Sequence[float] | None = None, exclude: Collection[int] = ()
    ) -> list[Hit]:
        """The best chunks for a query, best first; none of the files in ``exclude``."""
        hits = []
        for file, number, score in self._search.search(tokens, k, weights=weights, exclude=tuple(exclude)):
            known = self._files.get(file)
            chunk = chunk_of(known.packed_chunks, number) if known else None
            if chunk:
                hits.append(Hit(file, number, chunk, score))
        return hits

    def definitions(
        self, names: Collection[str], *, limit: int = DEFINITIONS_A_NAME
    ) -> dict[str, list[tuple[int, Definition]]]:
        """(file, definition) of each name that has some, at most ``limit`` a root of those on disk."""
        found: dict[str, list[tuple[int, Definition]]] = {}
        for root, state in list(self._roots.items()):
            for path, row in self._ask(root, lambda store: store.definitions(names, limit=limit)) or ():
                file = state.numbers.get(path)
                if file is not None and file not in self._overlays and file not in self._held:
                    found.setdefault(row[0], []).append((file, definition_of(row)))
        for name in names:
            for file in sorted(self._named.get(name, ())):
                for row in self._rows_on_top(file):
                    if row[0] == name:
                        found.setdefault(name, []).append((file, definition_of(row)))
        return found

    def definitions_in(self, file: int, *, parent: str | None = None) -> list[Definition]:
        """All of one file, by line; with ``parent``, only what is declared right inside of it."""
        known, record = self._look_up(file)
        if known is None:
            return []
        if record is None:
            rows = self._ask(known.root, lambda store: store.definitions_in(known.path, parent)) or []
        else:
            rows = [row for row in record.symbols if parent is None or row[2] == parent]
        return [definition_of(row) for row in rows]

    def imports(self, file: int) -> list[Import]:
        return self.imports_of([file]).get(file, [])

    def imports_of(self, files: Iterable[int]) -> dict[int, list[Import]]:
        """File -> its imports, of those that have some; one question for all files of a root."""
        rows: dict[int, Sequence[ImportRow]] = {}
        stored: dict[Path, dict[str, int]] = {}
        for file in files:
            known, record = self._look_up(file)
            if record is not None:
                rows[file] = record.imports
            elif known is not None:
                stored.setdefault(known.root, {})[known.path] = file
        for root, paths in stored.items():
            rows.update((paths[path], found) for path, found in self._stored_imports(root, paths).items())
        return {file: self._decode_imports(file, found) for file, found in rows.items()}

    def lines(self, file: int, start_line: int = 0, end_line: int | None = None) -> list[str]:
        """Lines of a file without their ends; those of the range that exist."""
        known = self._files.get(file)
        if known is None:
            return []
        kept = self._texts.get(file)
        # An update makes a new IndexedFile, so a text that was read before it is never taken for the file's.
        text = kept.text if kept and kept.file is known else self._read(known.root, {file: known}).get(file)
        return text.lines()[start_line:end_line] if text else []

    def notes(self, file: int) -> dict[str, frozenset[int]]:
        """Room for what was worked out of the lines of a file, by name; it is gone when they are read again."""
        kept = self._texts.get(file)
        return kept.notes if kept and kept.file is self._files.get(file) else {}

    def prefetch(self, files: Iterable[int]) -> None:
        """Read the lines of files that will be asked for in one go, which is quicker than one by one."""
        missing: dict[Path, dict[int, IndexedFile]] = {}
        for file in files:
            known, kept = self._files.get(file), self._texts.get(file)
            if known and not (kept and kept.file is known):
                missing.setdefault(known.root, {})[file] = known
        for root, wanted in missing.items():
            self._read(root, wanted)

    def file(self, file: int) -> IndexedFile | None:
        """None if it is not in the index any more."""
        return self._files.get(file)

    def files(self) -> list[tuple[int, IndexedFile]]:
        return list(self._files.items())

    def number(self, root: Path, path: str) -> int | None:
        """The number of a file, None if it is not in the index."""
        state = self._roots.get(root)
        return state.numbers.get(path) if state else None

    @property
    def roots(self) -> list[Path]:
        return list(self._roots)

    def stats(self) -> IndexStats:
        roots = []
        for root, state in list(self._roots.items()):
            rows = self._ask(root, lambda store: store.counts()) or {}
            database = state.store.path if state.store else None
            size_bytes = state.store.size_bytes() if state.store else 0
            counts = (rows.get("symbols", 0), rows.get("imports", 0), rows.get("skipped", 0))
            roots.append(RootStats(root, len(state.numbers), *counts, database, size_bytes))
        found = self._search
        return IndexStats(
            len(self._files),
            found.documents,
            found.terms,
            len(self._overlays),
            found.memory_bytes,
            self.generation,
            tuple(roots),
        )

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Around the questions of one request: the indexing thread stops at its next step, for 50 ms at most.

        While that thread computes, each query that goes to SQLite waits for the interpreter lock again and again. Only
        one thread may use this.
        """
        self._requests += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._quiet.set()

    # -- changes, from the indexing thread alone

    def give_way(self) -> None:
        """Let a request that runs now end first; called between small steps of work."""
        if self._requests:
            self._quiet.wait(_GIVE_WAY_S)

    def attach(self, root: Path, store: Store | None) -> None:
        """A root begins, with nothing in it."""
        self._roots[root] = _Root(store, {})

    def detach(self, root: Path) -> None:
        """A root and all its files go, overlays too. Its store is left open."""
        state = self._roots.get(root)
        for path in list(state.numbers) if state else ():
            self._drop(root, path)
        self._roots.pop(root, None)
        self.generation += 1

    def load(self, root: Path, files: Iterable[StoredFile]) -> list[str]:
        """Put in what the store has; returns the paths whose terms are damaged and which are left out."""
        damaged = []
        rest = iter(files)
        while part := list(itertools.islice(rest, _FILES_A_LOAD)):
            numbered = [(self._number(root, file.path), file) for file in part]
            try:
                self._search.set_files([(number, file.terms) for number, file in numbered])
            except ValueError:
                numbered, bad = self._load_one_by_one(root, numbered)
                damaged += bad
            for number, file in numbered:
                self._list(number, root, file)
            self.generation += 1
            self.give_way()
        return damaged

    def put(self, root: Path, records: Sequence[FileRecord], *, stored: bool) -> None:
        """Files are on disk as these records say; without ``stored`` the records are kept here."""
        for record in records:
            file = self._number(root, record.path)
            self._unsaved.discard(file)
            self._replace(self._held, file, None if stored else record)
            if file not in self._overlays:
                self._show(file, root, record)

    def remove(self, root: Path, paths: Collection[str]) -> None:
        """Files are not on disk any more; an overlay stays."""
        for path in paths:
            file = self.number(root, path)
            if file is None:
                continue
            self._replace(self._held, file, None)
            if file in self._overlays:
                self._unsaved.add(file)
            else:
                self._drop(root, path)

    def set_overlay(self, root: Path, record: FileRecord) -> None:
        """The record of an open document's text hides what is on disk."""
        file = self._number(root, record.path)
        if file not in self._files:
            self._unsaved.add(file)
        self._replace(self._overlays, file, record)
        self._show(file, root, record)

    def clear_overlay(self, root: Path, path: str) -> bool:
        """The disk counts again. False if the disk's version is not known here and has to be read."""
        file = self.number(root, path)
        if file is None or file not in self._overlays:
            return True
        self._replace(self._overlays, file, None)
        beneath: FileRecord | StoredFile | None = self._held.get(file)
        if file in self._unsaved:
            self._drop(root, path)
            return True
        if beneath is None:
            beneath = self._ask(root, lambda store: store.file(path))
        if beneath is not None:
            with contextlib.suppress(ValueError):
                self._show(file, root, beneath)
                return True
        self._drop(root, path)
        return False

    # -- how

    def _look_up(self, file: int) -> tuple[IndexedFile | None, FileRecord | None]:
        return self._files.get(file), self._overlays.get(file) or self._held.get(file)

    def _stored_imports(self, root: Path, paths: Collection[str]) -> dict[str, list[ImportRow]]:
        return self._ask(root, lambda store: store.imports_in(paths)) or {}

    def _decode_imports(self, file: int, rows: Sequence[ImportRow]) -> list[Import]:
        try:
            return [import_of(row) for row in rows]
        except ValueError:
            if known := self._files.get(file):
                self._report_damage(known.root, "the imports of a file cannot be read")
            return []

    def _read(self, root: Path, files: Mapping[int, IndexedFile]) -> dict[int, StoredText]:
        """The texts of some files of one root; they are kept, too."""
        found: dict[int, StoredText] = {}
        stored: dict[str, int] = {}
        for file, known in files.items():
            record = self._overlays.get(file) or self._held.get(file)
            if record is None:
                stored[known.path] = file
            else:
                found[file] = StoredText(record.text, record.lines)
                self._keep(file, known, found[file])
        texts = self._ask(root, lambda store: store.texts(stored)) if stored else None
        for path, (digest, text) in (texts or {}).items():
            file = stored[path]
            found[file] = text
            # The store has another text as soon as a change is written, by this session or another one, and this
            # index takes it in only then. For the moment that will do, but it is not this file's text.
            if digest == files[file].digest:
                self._keep(file, files[file], text)
        return found

    def _keep(self, file: int, known: IndexedFile, text: StoredText) -> None:
        self._texts[file] = _Kept(known, text)
        kept = sum(len(each.text.packed) for each in list(self._texts.values()))
        while len(self._texts) > _TEXTS_KEPT or (kept > _BYTES_KEPT and len(self._texts) > 1):
            with contextlib.suppress(KeyError):
                kept -= len(self._texts.popitem(last=False)[1].text.packed)

    def _rows_on_top(self, file: int) -> tuple[SymbolRow, ...]:
        record = self._overlays.get(file) or self._held.get(file)
        return record.symbols if record else ()

    def _ask(self, root: Path, question: Callable[[Store], T]) -> T | None:
        state = self._roots.get(root)
        if state is None or state.store is None:
            return None
        try:
            return question(state.store)
        except StoreError as error:
            if error.fault is Fault.DAMAGED:
                self._on_damage(root, state.store)
            return None

    def _report_damage(self, root: Path, what: str) -> None:
        state = self._roots.get(root)
        if state and state.store:
            state.store.suspicion = what
            self._on_damage(root, state.store)

    def _number(self, root: Path, path: str) -> int:
        numbers = self._roots[root].numbers
        if path not in numbers:
            numbers[path] = next(self._numbers)
        return numbers[path]

    def _load_one_by_one(
        self, root: Path, files: list[tuple[int, StoredFile]]
    ) -> tuple[list[tuple[int, StoredFile]], list[str]]:
        good, bad = [], []
        for number, file in files:
            try:
                self._search.set_file(number, file.terms)
                good.append((number, file))
            except ValueError:  # noqa: PERF203  # rare
                bad.append(file.path)
                self._drop(root, file.path)
        return good, bad

    def _show(self, file: int, root: Path, record: FileRecord | StoredFile) -> None:
        self._search.set_file(file, record.terms)
        self._list(file, root, record)
        self.generation += 1

    def _list(self, file: int, root: Path, record: FileRecord | StoredFile) -> None:
        language, package = sys.intern(record.language), sys.intern(record.package)
        self._files[file] = IndexedFile(
            root, record.path, language, package, record.lines, record.chunks, record.digest
        )

    def _drop(self, root: Path, path: str) -> None:
        file = self._roots[root].numbers.pop(path)
        self._search.remove_file(file)
        self._replace(self._overlays, file, None)
        self._replace(self._held, file, None)
        self._unsaved.discard(file)
        self._texts.pop(file, None)
        self._files.pop(file, None)
        self.generation += 1

    def _replace(self, layer: dict[int, FileRecord], file: int, record: FileRecord | None) -> None:
        """In a layer, and in the names that lead to it."""
        before = layer.pop(file, None)
        if record is not None:
            layer[file] = record
        other = self._held if layer is self._overlays else self._overlays
        kept = {row[0] for each in (record, other.get(file)) if each for row in each.symbols}
        for row in before.symbols if before else ():
            if row[0] not in kept and row[0] in self._named:
                self._named[row[0]].discard(file)
                if not self._named[row[0]]:
                    del self._named[row[0]]
        for row in record.symbols if record else ():
            self._named.setdefault(row[0], set()).add(file)


@dataclass(frozen=True, slots=True)
class _Kept:
    file: IndexedFile
    text: StoredText
    notes: dict[str, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Root:
    store: Store | None
    numbers: dict[str, int]
    """Path -> file."""
