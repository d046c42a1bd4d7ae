"""Heads of definitions as text: signatures, and the comments and attributes directly above. Nothing here parses.

Works on lines of bytes, the same for definitions that a tree found and for those that a pattern found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from coder_lsp.languages import by_id

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINES = 6
MAX_CHARACTERS = 400
MAX_DOC_CHARACTERS = 200
_MAX_COMMENT_LINES = 200
_MAX_HEAD = 4_000
"""Characters of a head that are looked at."""

_WORD = re.compile(r"\w")
_FRAME = re.compile(r"^[\s/*#\-!<>;%\"'({=|]+|[\s*/#\-=})|]+$")
_TAG = re.compile(r"<[^<>]{1,60}>")
_ATTRIBUTES = {
    "rust": re.compile(rb"#!?\[.*\]$"),
    **dict.fromkeys(
        ("javascript", "javascriptreact", "typescript", "typescriptreact"), re.compile(rb"@[\w.]+(?:\([^()]*\))?$")
    ),
}
"""Where attributes are no part of the node of what they describe."""
_PRAGMA = re.compile(r"^(?:noqa|type:|pylint|mypy|ruff|eslint|prettier|ts-|go:|\+build|nolint|clang-format|@|region\b)")
_DOCSTRING = re.compile(rb"[rRuU]?(\"\"\"|'''|\"|')\s*([^\n]*)")
_COLON = re.compile(r":\s*(?:#[^\n]*\s*)*\Z")


@dataclass(frozen=True)
class Marks:
    """How the lines above a definition show that they belong to it."""

    comments: tuple[bytes, ...]
    attribute: re.Pattern[bytes] | None
    blocks: tuple[tuple[bytes, bytes], ...]


@lru_cache(maxsize=256)
def marks(language_id: str) -> Marks:
    """From the language's comment syntax."""
    known = by_id(language_id)
    return Marks(
        tuple(mark.encode() for mark in known.line_comments),
        _ATTRIBUTES.get(known.id),
        tuple((opener.encode(), closer.encode()) for opener, closer in known.block_comments),
    )


def above(lines: Sequence[bytes], row: int, known: Marks) -> tuple[int, str]:
    """First line of the comments and attributes that end directly above ``row``, and what they say first."""
    top = row
    while top > 0:
        line = lines[top - 1].strip()
        if not line:
            break
        if line.startswith(known.comments) or (known.attribute and known.attribute.match(line)):
            top -= 1
            continue
        opened = _block_start(lines, top - 1, line, known)
        if opened < 0:
            break
        top = opened
    return top, _first_words(lines[top:row], known) if top < row else ""


def docstring(source: bytes, byte: int) -> str:
    """First line of the Python string that starts at ``byte``, empty if there is none."""
    found = _DOCSTRING.match(source, byte)
    if found is None:
        return ""
    line = found[2]
    if not line.strip():
        return ""
    return line.split(found[1])[0].decode("utf-8", "replace").strip()[:MAX_DOC_CHARACTERS]


def signature(text: str, column: int, *, colon: bool = False) -> str:
    """A head as it is shown: dedented by ``column``, at most six lines and 400 characters.

    ``colon``: Python, the head ends with its colon and what stands between it and the body is no part of it.
    """
    head = _COLON.sub(":", text[:_MAX_HEAD]) if colon else text[:_MAX_HEAD].rstrip()
    if "\n" not in head:
        return _cut(head)
    lines = _dedented(head, column)
    if len(lines) > MAX_LINES:
        lines = _joined(lines)
    return _cut("\n".join(lines))


def whole(text: str, column: int) -> str:
    """A short definition with its body."""
    return text.rstrip() if "\n" not in text else "\n".join(_dedented(text.rstrip(), column))


def value(text: str, column: int) -> str:
    """A constant, field or alias: in full up to three lines, else its first line."""
    text = text.rstrip()
    if "\n" not in text:
        return _cut(text)
    if text.count("\n") > 2:  # told above
        return _cut(text.partition("\n")[0].rstrip() + " …")
    return _cut("\n".join(_dedented(text, column)))


def _block_start(lines: Sequence[bytes], last: int, line: bytes, known: Marks) -> int:
    """The line on which the block comment that ends line ``last`` starts, if nothing stands before it; else -1."""
    for opener, closer in known.blocks:
        if not line.endswith(closer):
            continue
        for row in range(last, max(-1, last - _MAX_COMMENT_LINES), -1):
            text = lines[row]
            if row != last and closer in text:
                break
            if opener in text:
                return row if text.lstrip().startswith(opener) else -1
    return -1


def _first_words(lines: Sequence[bytes], known: Marks) -> str:
    for raw in lines:
        line = raw.strip()
        if known.attribute and known.attribute.match(line):
            continue
        text = line[:1000].decode("utf-8", "replace")
        text = _FRAME.sub("", _TAG.sub("", text) if "<" in text else text)
        if _WORD.search(text) and not _PRAGMA.match(text):
            return text[:MAX_DOC_CHARACTERS]
    return ""


def _dedented(text: str, column: int) -> list[str]:
    first, *rest = text.replace("\r", "").split("\n")
    return [first.rstrip(), *((line[column:] if line[:column].isspace() else line).rstrip() for line in rest)]


def _joined(lines: list[str]) -> list[str]:
    """Many lines on one, decorators apart; cut where comments would swallow what follows."""
    if any("//" in line or "# " in line for line in lines):
        return [*lines[:MAX_LINES], "…"]
    heads = next((place for place, line in enumerate(lines) if not line.startswith("@")), 0)
    text = " ".join(line.strip() for line in lines[heads:] if line.strip())
    text = text.replace("( ", "(").replace(", )", ")").replace("[ ", "[").replace(", ]", "]").replace(" )", ")")
    return [*lines[: min(heads, MAX_LINES - 1)], text]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1].rstrip() + "…"
