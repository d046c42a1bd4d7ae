"""What to look for in a grammar's trees: the queries of ``queries/*.scm``, and one made up for grammars without.

A file holds one pattern a line, the more particular first: of two that match the same node with the same name the
first counts. Captures:

``@name``, ``@parent``, ``@body``
    parts of a definition. The head ends where the body starts; without the capture, at the field ``body``.
``@class``, ``@function`` … with flags behind dots
    the definition and its kind. ``whole``: shown in full if short; ``head``: shown by its first line; ``flat``: no
    parent of what is in it; ``self``: a member although it stands in a function (``self.x = …``); ``accessor``: Ruby's.
``@scope``
    what is in it has this parent, but it is no definition itself (Rust's ``impl``).
``@outer``, ``@outer.line``
    belongs to the definition in it (a decorator, ``export``, ``template``), with ``line`` only where both start on one
    line.
``@import``, ``@package``, ``@error``
    an import statement, the name of the file's package, what could not be parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.syntax.tree import CLASS_NODE, FUNCTION_NODE

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query

_FILES = {
    "bash": ("bash",),
    "c": ("c",),
    "cpp": ("cpp", "c"),
    "csharp": ("csharp",),
    "cuda": ("cpp", "c"),
    "glsl": ("c",),
    "go": ("go",),
    "java": ("java",),
    "javascript": ("ecma",),
    "kotlin": ("kotlin",),
    "lua": ("lua",),
    "objc": ("c",),
    "php": ("php",),
    "python": ("python",),
    "ruby": ("ruby",),
    "rust": ("rust",),
    "scala": ("scala",),
    "starlark": ("python", "starlark"),
    "swift": ("swift",),
    "tsx": ("ecma", "typescript"),
    "typescript": ("ecma", "typescript"),
}
MATCH_LIMIT = 1_000
"""Patterns half matched at one place; thousands only where code is nested thousands deep."""
_FOLDER = Path(__file__).with_name("queries")
_MAIN_CAPTURE = re.compile(
    r"@((?:class|function|method|interface|enum|type|constant|field|module|macro|scope|outer|import|error)[.\w]*|package)"
)

Match = tuple["Pattern", dict[str, list["Node"]]]


@dataclass(frozen=True)
class Pattern:
    """What one pattern finds."""

    capture: str
    kind: str
    flags: frozenset[str]
    order: int


@dataclass(frozen=True)
class Finder:
    """The compiled query of a grammar; unchanging, for any thread."""

    query: Query
    patterns: tuple[Pattern, ...]
    written: bool
    """A file was written for this grammar; else the pattern is a guess by the names of its nodes."""

    @property
    def finds_imports(self) -> bool:
        return any(pattern.kind == "import" for pattern in self.patterns)

    def find(self, root: Node) -> list[Match]:
        """All matches in the order they end.

        Time is bounded by :data:`MATCH_LIMIT`, not by a deadline: a progress callback here crashes the interpreter in
        tree-sitter 0.26.1 (it does not where text is parsed).
        """
        from tree_sitter import QueryCursor

        found = QueryCursor(self.query, match_limit=MATCH_LIMIT).matches(root)
        return [(self.patterns[index], captures) for index, captures in found]


@lru_cache(maxsize=64)
def finder(grammar: str) -> Finder | None:
    """The query for a grammar, None if there is no such grammar or nothing in it looks like a definition."""
    from tree_sitter_language_pack import get_language

    try:
        language: Any = get_language(grammar)  # type: ignore[arg-type]  # any of its literals
    except LookupError:
        return None
    files = _FILES.get(grammar, ())
    texts = [line for name in files for line in _patterns(name)] or _guessed(language)
    compiled, texts = _compiled(language, texts)
    if compiled is None:
        return None
    return Finder(compiled, tuple(_pattern(text, order) for order, text in enumerate(texts)), bool(files))


def _patterns(name: str) -> list[str]:
    text = (_FOLDER / f"{name}.scm").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("(")]


def _guessed(language: Language) -> list[str]:
    found = []
    for number in range(language.node_kind_count):
        kind = language.node_kind_for_id(number)
        if not kind or not language.node_kind_is_named(number) or not language.node_kind_is_visible(number):
            continue
        if CLASS_NODE.search(kind):
            found.append(f"({kind}) @class")
        elif FUNCTION_NODE.search(kind):
            found.append(f"({kind}) @function")
    return [*dict.fromkeys(found), "(ERROR) @error"] if found else []


def _compiled(language: Language, texts: list[str]) -> tuple[Query | None, list[str]]:
    """All patterns in one query; where the grammar lacks a node of one (another version, a dialect), those it has."""
    from tree_sitter import Query, QueryError

    if not texts:
        return None, []
    try:
        return Query(language, "\n".join(texts)), texts
    except QueryError:
        known = []
        for text in texts:
            try:
                Query(language, text)
            except QueryError:
                continue
            known.append(text)
        return (Query(language, "\n".join(known)), known) if known else (None, [])


def _pattern(text: str, order: int) -> Pattern:
    capture = _MAIN_CAPTURE.findall(text)[-1]
    kind, *flags = capture.split(".")
    return Pattern(capture, kind, frozenset(flags), order)
