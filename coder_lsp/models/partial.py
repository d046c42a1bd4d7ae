"""The bytes of one model that have arrived so far, and what is known of them.

A partial file is a prefix of the whole: any source of the same content may go on where another stopped. ``identity``
says which content (the digest, or what the hub calls this version of the file); bytes of another identity are thrown
away. Pieces that were finished are listed with length and digest, and are read back before they are built upon, so that
a kill or a power cut at any moment costs time and never gives a wrong file. Lives in the store's workspace, never in a
model's folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from coder_lsp.models import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Piece:
    """A finished stretch, from the end of the one before."""

    bytes: int
    sha256: str


class Partial:
    """One growing file and its record, in a model's workspace; used under the model's lock."""

    def __init__(self, workspace: Path, file: str) -> None:
        self.workspace = workspace
        self.path = workspace / f"{file}.part"
        self._record = workspace / "part.json"
        workspace.mkdir(parents=True, exist_ok=True, mode=0o700)

    @staticmethod
    def tidy(workspace: Path) -> None:
        """Remove a workspace in which nothing has arrived."""
        if workspace.is_dir() and not any(path.stat().st_size for path in workspace.glob("*.part")):
            shutil.rmtree(workspace, ignore_errors=True)

    @property
    def size(self) -> int:
        """Bytes that are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def claim(self, identity: str) -> int:
        """Begin or go on with this content; returns how many bytes there are, after dropping those of any other."""
        if self._read()[0] != identity:
            self.discard()
            self._write(identity, ())
        return self.size

    def pieces(self, sizes: tuple[int, ...]) -> int:
        """Drop what is not a whole piece of these ``sizes`` or does not read back as recorded; returns what is left.

        The result counts pieces. Unrecorded bytes (another source wrote them) count up to the last whole piece.
        """
        identity, recorded = self._read()
        good: list[Piece] = []
        end = 0
        if recorded and self.path.exists():
            with self.path.open("rb") as stream:
                for piece, size in zip(recorded, sizes, strict=False):
                    whole = piece.bytes == size and end + size <= self.size
                    if not whole or files.sha256_of_stream(stream, limit=size) != piece.sha256:
                        break
                    good.append(piece)
                    end += size
            count = len(good)
        else:
            count = 0
            while count < len(sizes) and end + sizes[count] <= self.size:
                end += sizes[count]
                count += 1
        if self.path.exists():
            with self.path.open("r+b") as stream:
                stream.truncate(end)
        self._write(identity, tuple(good))
        return count

    def add_piece(self, piece: Piece) -> None:
        """Record a piece whose bytes are on the disk. Without a record of all before it, it cannot be recorded."""
        identity, recorded = self._read()
        if sum(known.bytes for known in recorded) + piece.bytes == self.size:
            self._write(identity, (*recorded, piece))

    @contextlib.contextmanager
    def appending(self, offset: int) -> Iterator[BinaryIO]:
        """The file, open for writing at ``offset``; on the disk when the block ends, however it ends."""
        self.path.touch(mode=0o600)
        with self.path.open("r+b") as stream:
            stream.truncate(offset)
            stream.seek(offset)
            try:
                yield stream
            finally:
                stream.flush()
                files.sync(stream.fileno())

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def _read(self) -> tuple[str, tuple[Piece, ...]]:
        """A record that cannot be read is no record."""
        try:
            table = json.loads(self._record.read_text(encoding="utf-8"))
            pieces = tuple(Piece(int(row["bytes"]), str(row["sha256"])) for row in table["pieces"])
            return str(table["identity"]), pieces
        except (OSError, ValueError, KeyError, TypeError):
            return "", ()

    def _write(self, identity: str, pieces: tuple[Piece, ...]) -> None:
        table = {"identity": identity, "pieces": [asdict(piece) for piece in pieces]}
        files.write_text(self._record, json.dumps(table))
