"""The few file operations that must not go wrong: atomic writes, digests, free space, one process at a time.

Everything the model store and the downloads write goes through here, so that a crash, a full disk or a second process
leaves either the old state or the new one. Knows paths and bytes, not models.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from coder_lsp.errors import DiskFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    OnBytes = Callable[[int], object]
    """Told after each piece how many bytes of the whole are done."""

CHUNK_BYTES = 4 << 20
_LONGEST_NAME = 255
"""Bytes, on every file system in use."""
SPARE_BYTES = 64 << 20
"""Left free on the disk by our own check; a disk filled to the last byte breaks other programs."""


def is_plain_name(name: str) -> bool:
    r"""Whether a name can only be that of something in its folder: no way out of it, nothing no file system has.

    >>> [is_plain_name(name) for name in ("a.gguf", "../a.gguf", "..", "", "a\\0")]
    [True, False, False, False, False]
    """
    try:
        encoded = os.fsencode(name)
    except ValueError:
        return False
    return Path(name).name == name != ".." and 0 < len(encoded) <= _LONGEST_NAME and b"\0" not in encoded


def write_text(path: Path, text: str) -> None:
    """Replace a file by a temporary one beside it: readers see the old text or the new, nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            sync(stream.fileno())
        if path.exists():
            shutil.copymode(path, name)
        os.replace(name, path)  # noqa: PTH105  (`name` comes from mkstemp as text)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108  (same)
        raise
    sync_folder(path.parent)


def sync(descriptor: int) -> None:
    """Down to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Make a rename inside ``path`` durable. Not every platform opens folders; there it is up to the system."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path, on_bytes: OnBytes | None = None) -> str:
    with path.open("rb") as stream:
        return sha256_of_stream(stream, on_bytes=on_bytes)


def sha256_of_stream(stream: BinaryIO, limit: int | None = None, on_bytes: OnBytes | None = None) -> str:
    """Digest of the next ``limit`` bytes, or of everything that is left."""
    digest = hashlib.sha256()
    done = 0
    while limit is None or done < limit:
        piece = stream.read(CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit - done))
        if not piece:
            break
        digest.update(piece)
        done += len(piece)
        if on_bytes is not None:
            on_bytes(done)
    return digest.hexdigest()


def copy_with_digest(source: BinaryIO, target: BinaryIO, on_bytes: OnBytes | None = None) -> tuple[int, str]:
    """Copy everything that is left of ``source``; returns its length and digest."""
    digest = hashlib.sha256()
    done = 0
    while piece := source.read(CHUNK_BYTES):
        digest.update(piece)
        target.write(piece)
        done += len(piece)
        if on_bytes is not None:
            on_bytes(done)
    return done, digest.hexdigest()


def need_space(folder: Path, needed_bytes: int) -> None:
    """Check before writing that ``folder``'s disk has room.

    :raises DiskFull: it has not, with both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        raise DiskFull(
            f"not enough disk space in {folder}: {human(needed_bytes)} needed, {human(free)} free",
            hint="free some space, or move the models elsewhere with CODER_LSP_HOME",
        )


@contextlib.contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """A disk that fills up while we write becomes :class:`DiskFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFull(
            f"the disk of {folder} is full: {human(shutil.disk_usage(folder).free)} free",
            hint="free some space and run the command again; what has arrived is kept",
        ) from error


@contextlib.contextmanager
def exclusive(lock_file: Path, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """One process at a time. ``on_wait`` is called once if another one has the lock; ends with its holder's death."""
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        lock.release()


def human(count: float) -> str:
    """``491.4 MB``: decimal units, as the sizes on download pages are."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
