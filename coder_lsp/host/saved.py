"""Evaluated places on disk: the tokens of a sequence with the keys and values of them, one file a document.

What a model makes of a thousand tokens takes it seconds to compute and milliseconds to read back. A file is good for
one model file, engine build and cache type alone, which its folder's name says, and is whole or not there: written
beside its place and renamed, with a digest over all of it. One that cannot be read, is damaged or was made by another
version is removed and ignored. A file has the tokens of source text in it, so it is readable by the user alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import tempfile
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

_MAGIC = b"CLSPKV1\n"
_HEADER = struct.Struct("<8s16sQQ")
"""Magic, digest of the rest, number of tokens, bytes of state."""
_SUFFIX = ".kv"
_REMEMBERED = 64
"""Documents whose tokens on disk are known without looking, or known not to be there; 8 KB each at most."""


@dataclass(frozen=True)
class SavedPlace:
    """A sequence as it was; ``state`` is the engine's own format."""

    tokens: tuple[int, ...]
    state: bytes


class SavedPlaces:
    """At most ``limit`` places in ``folder``, the least recently used ones go. Never raises for what a disk can do."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._tokens: OrderedDict[str, array[int]] = OrderedDict()
        """Of what is on disk, as far as it was asked about: a question a keystroke must not read a file."""

    def shared(self, document: str, tokens: Sequence[int]) -> int:
        """With how many tokens of ``tokens`` the saved place of a document begins."""
        known = self._tokens.get(document)
        if known is None:
            known = self._remember(document, self._read_tokens(document))
        count = 0
        for ours, theirs in zip(known, tokens, strict=False):
            if ours != theirs:
                break
            count += 1
        return count

    def load(self, document: str) -> SavedPlace | None:
        """The saved place of a document; None if there is none that is whole."""
        path = self._path(document)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        place = _unpacked(data)
        if place is None:
            logger.info("a saved place is damaged and is removed")
            self.forget(document)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return place

    def save(self, document: str, tokens: Sequence[int], state: bytes) -> bool:
        """Write a place and drop what is over the limit; tells whether it could be written."""
        ids = array("i", tokens).tobytes()
        body = hashlib.blake2b(ids, digest_size=16)
        body.update(state)
        header = _HEADER.pack(_MAGIC, body.digest(), len(tokens), len(state))
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix="writing-")  # 0600
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(header)
                    file.write(ids)
                    file.write(state)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path(document))
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as error:
            logger.warning("a place could not be saved: %s", error.strerror or type(error).__name__)
            return False
        self._remember(document, array("i", tokens))
        self._trim()
        return True

    def forget(self, document: str) -> None:
        self._remember(document, array("i"))
        with contextlib.suppress(OSError):
            self._path(document).unlink()

    def _remember(self, document: str, tokens: array[int]) -> array[int]:
        self._tokens[document] = tokens
        self._tokens.move_to_end(document)
        if len(self._tokens) > _REMEMBERED:
            self._tokens.popitem(last=False)
        return tokens

    def _read_tokens(self, document: str) -> array[int]:
        """From the beginning of the file alone."""
        try:
            with self._path(document).open("rb") as file:
                magic, _, count, size = _HEADER.unpack(file.read(_HEADER.size))
                expected = _HEADER.size + 4 * count + size
                if magic != _MAGIC or os.fstat(file.fileno()).st_size != expected:
                    return array("i")
                ids = array("i")
                ids.frombytes(file.read(4 * count))
                return ids
        except (OSError, struct.error, ValueError):
            return array("i")

    def _path(self, document: str) -> Path:
        name = hashlib.blake2b(document.encode("utf-8", "replace"), digest_size=16).hexdigest()
        return self._folder / f"{name}{_SUFFIX}"

    def _trim(self) -> None:
        """Of this folder, and of the folders beside it: those of models that are not used any more get old."""
        found: list[tuple[float, Path]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.parent.glob(f"*/*{_SUFFIX}"):
                with contextlib.suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        for _, path in sorted(found, reverse=True)[self._limit :]:
            with contextlib.suppress(OSError):
                path.unlink()


def _unpacked(data: bytes) -> SavedPlace | None:
    try:
        magic, digest, count, size = _HEADER.unpack_from(data)
    except struct.error:
        return None
    start, end = _HEADER.size, _HEADER.size + 4 * count
    if magic != _MAGIC or len(data) != end + size:
        return None
    if hashlib.blake2b(memoryview(data)[start:], digest_size=16).digest() != digest:
        return None
    ids = array("i")
    ids.frombytes(data[start:end])
    return SavedPlace(tuple(ids), data[end:])
