"""The text of one file, or why there is none. All reading of sources happens here.

Nothing that a disk can do raises: gone while we look, unreadable, a pipe or a device under a source's name, another
encoding, binary. Only regular files are read, through no symbolic link, never blocking, and never more than a limit.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_HIGH_BYTES = 0.30
"""Share of bytes from 0x80 on above which text that is not UTF-8 is in a script our fallback would garble."""
MAX_CONTROL_BYTES = 0.01
DIGEST_BYTES = 16

# The longer first: UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\x1b")) + b"\x7f"
_HIGH = bytes(range(128, 256))
_LINE_END = re.compile(r"\r\n?")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class SourceText:
    r"""A file as it is indexed: decoded, lines ended by ``\n``, lines with secrets blank."""

    text: str
    size_bytes: int
    mtime_ns: int
    digest: bytes
    """Of the raw bytes (BLAKE2b, 16 bytes)."""
    masked_lines: int = 0


@dataclass(frozen=True)
class Skipped:
    """There is no text to index, and why."""

    reason: str


@dataclass(frozen=True)
class RawFile:
    """What was read, with size and time from just before: a change while reading shows as a newer time later."""

    data: bytes
    mtime_ns: int


def read_raw(path: Path, limit_bytes: int, *, follow: bool = False) -> RawFile | Skipped:
    """The bytes of a regular file; through a symbolic link only if asked to."""
    try:
        descriptor = os.open(path, _FLAGS if follow else _FLAGS | _NO_LINKS)
    except FileNotFoundError:
        return Skipped("gone")
    except PermissionError:
        return Skipped("unreadable")
    except (OSError, ValueError):  # a symbolic link, a socket, a name that the system refuses
        return Skipped("not a regular file")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Skipped("not a regular file")
        if status.st_size > limit_bytes:
            return Skipped("too large")
        parts, left = [], limit_bytes + 1
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
    except OSError:
        return Skipped("unreadable")
    finally:
        os.close(descriptor)
    return Skipped("too large") if len(data) > limit_bytes else RawFile(data, status.st_mtime_ns)


def digest(data: bytes) -> bytes:
    """What tells two contents apart."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def decode(data: bytes) -> str | Skipped:
    r"""Text of a source file: by its byte order mark, as UTF-8, or as Windows-1252 if it is text at all.

    Lines end with ``\n`` afterwards, and there are as many of them as before.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return _LINE_END.sub("\n", data[len(mark) :].decode(encoding))
            except UnicodeDecodeError:
                return Skipped(f"not valid {encoding}")
    if b"\0" in data:
        return Skipped("binary")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        if _share(data, _HIGH) > MAX_HIGH_BYTES:
            return Skipped("unknown encoding")
        # Five bytes mean nothing in Windows-1252 and become U+FFFD.
        text = data.decode("cp1252", "replace")
    if _share(data, _CONTROL) > MAX_CONTROL_BYTES:
        return Skipped("binary")
    return _LINE_END.sub("\n", text) if "\r" in text else text


def _share(data: bytes, characters: bytes) -> float:
    return (len(data) - len(data.translate(None, characters))) / max(1, len(data))
