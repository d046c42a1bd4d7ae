"""The demo's project and the places in it where a completion is asked for.

The project is package data, whole and tidy; a place names a stretch of it that is taken out as if it had not been typed
yet. This module reads and cuts text; it starts nothing and asks nobody. ``demo.editor`` and ``cli.demo`` do.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tomlkit

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """``hole`` stands in ``file`` (relative, with ``/``) from ``line`` and ``column`` on, both counted from 1."""

    title: str
    file: str
    language: str
    line: int
    column: int
    hole: str


@dataclass(frozen=True)
class Gap:
    """A file without its hole: what stands before the cursor and what after it."""

    before: str
    after: str


def load_places() -> tuple[Place, ...]:
    """All places, in the order in which they are shown."""
    entries = tomlkit.parse((_HERE / "places.toml").read_text(encoding="utf-8")).unwrap()["place"]
    return tuple(Place(**entry) for entry in entries)


def copy_project(target: Path) -> Path:
    """Copy the project into the folder ``target``, which it makes; returns that folder."""
    shutil.copytree(_HERE / "project", target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def cut(text: str, place: Place) -> Gap:
    """Take the place's hole out of its file's text.

    :raises ValueError: the hole does not stand there.
    """
    lines = text.split("\n")
    cursor = sum(len(line) + 1 for line in lines[: place.line - 1]) + place.column - 1
    if not text.startswith(place.hole, cursor):
        raise ValueError(f"{place.file}:{place.line}:{place.column} does not hold {place.hole!r}")
    return Gap(before=text[:cursor], after=text[cursor + len(place.hole) :])
