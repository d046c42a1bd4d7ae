"""Files of samples: one JSON object a line, added to as they are made, so that a run may be ended at any time.

What a line holds is the business of whoever writes it. Reading gives objects; a last line that was cut short is left
out, and the next one is written over it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from coder_lsp.errors import CoderLspError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of samples; none if there is no such file.

    :raises InputError: it cannot be read or holds something else.
    """
    if not path.exists():
        return []
    found = []
    # Not splitlines(): JSON may hold other line ends as they are.
    *lines, cut_short = _text(path).split("\n")
    for number, line in enumerate([*lines, cut_short], start=1):
        if not line.strip():
            continue
        try:
            found.append(_object(line))
        except ValueError as error:
            if number > len(lines):
                break
            raise InputError(f"{path}, line {number} is no sample: {error}") from error
    return found


def load(path: Path, kind: type[T]) -> list[T]:
    """The rows of a file of samples as the dataclass that made them; none if there is no such file.

    :raises InputError: it cannot be read or holds something else.
    """
    names = {field.name for field in fields(kind)}
    found = []
    for number, row in enumerate(samples(path), start=1):
        if row.keys() != names:
            raise InputError(f"{path}, line {number} is no sample of this evaluation", hint="name another file")
        found.append(kind(**row))
    return found


def append(path: Path, row: Mapping[str, Any] | DataclassInstance) -> None:
    """Add one line, after what a run that was ended may have left of its last.

    :raises CoderLspError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            end = stream.seek(0, 2)
            if end and _at(stream, end - 1) != b"\n":
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(json.dumps(dict(row) if isinstance(row, Mapping) else asdict(row)).encode() + b"\n")
    except OSError as error:
        raise CoderLspError(f"cannot write {path}: {error.strerror}", hint="name another file with --out") from error


def tasks(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a task file with their line numbers, from 1; gzipped or not.

    :raises InputError: it cannot be read, or a line is no JSON object.
    """
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, _object(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from error


def text_of(row: Mapping[str, Any], name: str, where: str) -> str:
    """A field that must be there and be text; ``a.b`` is the field ``b`` of the object ``a``.

    :raises InputError: it is not.
    """
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {'missing' if value is None else type(value).__name__}, it must be text")
    return value


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _object(line: str) -> dict[str, Any]:
    row: Any = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"{type(row).__name__} instead of an object")  # noqa: TRY004  # as json's own
    return row


def _at(stream: Any, offset: int) -> bytes:
    stream.seek(offset)
    return bytes(stream.read(1))
