"""What we know about programming languages: names, files, comments, strings, where blocks begin and end.

One row type and three look-ups; the rows are in ``language_table``. Nothing here parses: ``syntax`` takes the
grammar's name from here, ``completion`` the patterns. A language that is not in the table is :data:`PLAIN`, prose
without comments or blocks, so every caller works on unknown files as well. The patterns look at one line without its
indentation, its trailing white space and its trailing comment.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath


class BlockStyle(str, enum.Enum):
    """How a language shows where a block ends."""

    BRACE = "brace"
    INDENT = "indent"
    KEYWORD = "keyword"
    """``end``, ``fi``, ``endmodule`` …"""
    TAG = "tag"
    LIST = "list"
    """Lisp: everything is brackets, indentation aligns with them."""
    PROSE = "prose"
    """Brackets and indentation in running text mean nothing."""


@dataclass(frozen=True)
class Language:
    """One row. ``ids`` are the names clients send as ``languageId`` (LSP, VS Code, Vim); the first is ours."""

    ids: tuple[str, ...]
    name: str
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    grammar: str | None = None
    """Name in tree-sitter-language-pack 0.13, None if it has none."""
    style: BlockStyle = BlockStyle.BRACE
    line_comments: tuple[str, ...] = ()
    block_comments: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"
    """Characters that quote a string which ends with its line."""
    long_quotes: tuple[tuple[str, str], ...] = ()
    """Delimiters of strings that may span lines."""
    opens_at_end: str = r"\{$"
    """A line that has just opened a block, with the cursor at its end."""
    opens_as_line: str = ""
    """More lines that open a block, known only once the line is complete (Ruby's ``if x``)."""
    closes: str = r"[)\]}]"
    """Start of a line that ends a block."""
    continues: str = ""
    """Start of a line that goes on with the statement whose block has just ended (``else``)."""
    defines: str = ""
    """Start of a definition, or of what stands before one (a decorator)."""
    imports: str = ""
    brackets: str = "()[]{}"
    """Pairs that must balance. Without ``()`` in shells, whose ``case`` has lone closers; none in prose."""
    tabs: bool = False
    """Indents with tabs where the file itself gives no evidence."""

    @property
    def id(self) -> str:
        return self.ids[0]


PLAIN = Language(("plaintext", "text"), "Plain text", (".txt",), quotes="", brackets="", style=BlockStyle.PROSE)


def by_id(language_id: str) -> Language:
    """The language a client names, :data:`PLAIN` if we do not know it. Case does not matter."""
    return _by_id().get(language_id.lower(), PLAIN)


def by_path(path: str) -> Language:
    """The language of a file by its name alone, :data:`PLAIN` if we do not know it."""
    name = PurePosixPath(path.replace("\\", "/")).name
    names, extensions = _by_file()
    if name in names:
        return names[name]
    lowered = name.lower()
    # Longest first: ``x.blade.php`` and ``CMakeLists.txt.in`` have more than one dot.
    parts = lowered.split(".")
    for start in range(1, len(parts)):
        found = extensions.get("." + ".".join(parts[start:]))
        if found is not None:
            return found
    return names.get(lowered, PLAIN)


def resolve(language_id: str, path: str = "") -> Language:
    """The client's word if it means something to us, else the file's name."""
    known = _by_id().get(language_id.lower())
    return known if known is not None and known is not PLAIN else by_path(path)


@lru_cache(maxsize=1)
def all_languages() -> tuple[Language, ...]:
    """Every row, :data:`PLAIN` first."""
    from coder_lsp.language_table import ROWS  # late: the rows need the type above

    return (PLAIN, *ROWS)


@lru_cache(maxsize=1)
def _by_id() -> dict[str, Language]:
    return {alias: language for language in all_languages() for alias in language.ids}


@lru_cache(maxsize=1)
def _by_file() -> tuple[dict[str, Language], dict[str, Language]]:
    names: dict[str, Language] = {}
    extensions: dict[str, Language] = {}
    for language in all_languages():
        for name in language.filenames:
            names.setdefault(name, language)
        for extension in language.extensions:
            extensions.setdefault(extension, language)
    return names, extensions
