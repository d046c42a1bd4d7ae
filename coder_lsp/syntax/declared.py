r"""What a file declares and what it asks for: the values that ``outline`` makes and ``retrieval`` keeps.

Lines are 0-based, ranges half-open, and a line ends with ``\n`` (nothing else ends one). No behaviour here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """One named thing. ``[start_line, end_line)`` includes decorators, attributes and the comment directly above."""

    name: str
    kind: str
    """``function method class interface enum type constant field module macro``."""
    parent: str
    """``Outer.Inner``, without the file's package; empty at the top of a file."""
    start_line: int
    end_line: int
    signature: str
    """The head as written, without its body, dedented; a short interface, enum or record in full."""
    doc: str
    """First line of its docstring or of the comment above, empty if there is none."""


@dataclass(frozen=True)
class Import:
    """One module that a file names: ``from ..a import b as c`` is ``Import("a", ("b",), 2, line, (("c", "b"),))``."""

    module: str
    """As the language writes it, without quotes. Where the last part is a name (Java, Rust), it is in ``names``."""
    names: tuple[str, ...]
    """Original names; ``*`` for all, ``default`` for an ECMAScript default."""
    level: int
    """Python: leading dots. Else 1 if relative to the importing file by its syntax (``#include "x"``), or 0."""
    line: int
    aliases: tuple[tuple[str, str], ...] = ()
    """(name in this file, original name) where the two differ; the original is empty for the module itself."""


@dataclass(frozen=True)
class Outline:
    """A file at a glance. In order of lines."""

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
    package: str = ""
    """The package or namespace that the file says it is in."""
