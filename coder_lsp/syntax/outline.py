"""The outline of a file: what it declares, what it imports, the package it is in. From one parse, a few milliseconds.

``queries`` says what to look for in a tree, ``heads`` how a definition is shown, ``import_statements`` reads imports.
Where there is no grammar, no time, or too much text, and for the stretches of half-typed code that no tree explains,
``patterns`` looks at lines instead; so there is always an answer, and never an exception. Things local to a function
are left out: no other file can name them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, Language, by_id
from coder_lsp.syntax import heads, patterns
from coder_lsp.syntax.declared import Definition, Import, Outline
from coder_lsp.syntax.import_statements import imports_of, package_of
from coder_lsp.syntax.queries import finder
from coder_lsp.syntax.tree import parse

if TYPE_CHECKING:
    from tree_sitter import Node

    from coder_lsp.syntax.queries import Finder, Match, Pattern

__all__ = ["Definition", "Import", "Outline", "outline"]

LIMIT_MS = 500.0
WHOLE_LINES = 12
"""An interface, enum, record or struct of so many lines is its own signature."""
WHOLE_CHARACTERS = 1_000

_MAX_PATH = 300
"""Characters of nested names; what is deeper is made by a machine and left out."""
_FUNCTIONS = {"function", "method"}
_CLASSES = {"class", "interface", "enum", "scope"}
_VALUES = {"constant", "field", "type", "macro"}
_NAME_NODE = re.compile(r"(?:^|_)(?:identifier|name|constant|word|symbol)$")
_GENERIC = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_IDENTIFIER = re.compile(r"~?[A-Za-z_$\u0080-\U0010ffff][\w$:~]*[?!=]?")
_LOADS = re.compile(r"=\s*(?:await\s+)?(?:require|import)\b")
_LOADING = {"javascript", "typescript", "tsx", "lua"}
"""Grammars whose imports look like constants."""
_CONSTRUCTORS = {"__init__", "__post_init__", "constructor", "initialize"}
_SELF = {b"self", b"this"}
_OPERATOR = re.compile(r"operator\s*(?:\(\)|[^(]{1,80})")
_NOT_PARENTS = {"exports", "module.exports", "this", "self", "window", "globalThis", "global"}
_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)(?:</script>|\Z)", re.DOTALL | re.IGNORECASE)


def outline(language: str | Language, text: str, *, limit_ms: float = LIMIT_MS) -> Outline:
    """What ``text`` declares and imports. Never raises; what cannot be read in time is read roughly."""
    known = by_id(language) if isinstance(language, str) else language
    if known.style is BlockStyle.TAG:
        return _of_scripts(text, limit_ms)
    found = _from_tree(known, text, limit_ms)
    if found is not None:
        return found
    return Outline(patterns.definitions(known, text), imports_of(known.id, text), package_of(known.id, text))


@dataclass(frozen=True)
class _Open:
    """A definition that the walk is inside of."""

    start: int
    end: int
    path: str
    name: str
    kind: str
    local: bool


@dataclass(frozen=True)
class _Source:
    """What the walk reads from."""

    language: str
    grammar: str
    text: bytes
    lines: list[bytes]
    marks: heads.Marks

    def slice(self, start: int, end: int) -> str:
        return self.text[start:end].decode("utf-8", "replace")


def _from_tree(known: Language, text: str, limit_ms: float) -> Outline | None:
    if known.grammar is None:
        return None
    look = finder(known.grammar)
    if look is None:
        return None
    tree = parse(known, text, limit_ms=limit_ms)
    if tree is None:
        return None
    matches = look.find(tree.tree.root_node)
    source = _Source(known.id, known.grammar, tree.source, tree.source.split(b"\n"), heads.marks(known.id))
    found = _definitions(matches, source)
    errors = [captures["error"][0] for pattern, captures in matches if pattern.kind == "error"]
    if not look.written or (errors and known.style is BlockStyle.INDENT):
        # By names of nodes much is missed; and where indentation makes blocks, an open bracket swallows what follows.
        found = _completed(found, patterns.definitions(known, text))
    elif errors:
        rows = {row for node in errors for row in range(node.start_point[0], node.end_point[0] + 1)}
        found = _completed(found, patterns.definitions(known, text, rows))
    return Outline(tuple(found), _imports(look, matches, source, text), _package(matches, source, text))


def _definitions(matches: list[Match], source: _Source) -> list[Definition]:
    """Definitions in order, each with the parents that it lies in."""
    items = []
    for pattern, captures in matches:
        if pattern.kind not in {"import", "package", "error"}:
            node = captures[pattern.capture][0]
            items.append((node.start_byte, -node.end_byte, pattern.order, node, pattern, captures))
    items.sort(key=itemgetter(0, 1, 2))
    found: list[Definition] = []
    stack: list[_Open] = []
    seen: set[tuple[int, str]] = set()
    members: set[tuple[str, str]] = set()
    outer: Node | None = None
    outer_end = -1
    for start, minus_end, _order, node, pattern, captures in items:
        end = -minus_end
        while stack and stack[-1].end <= start:
            stack.pop()
        if pattern.kind == "outer":
            if start >= outer_end and ("line" not in pattern.flags or _same_row(node)):
                outer, outer_end = node, end
            continue
        around = stack[-1] if stack else None
        beside = around is not None and around.start == start and around.end == end  # ``int a, b``: not b within a
        if around is not None and around.local and not beside:
            if "self" not in pattern.flags or not _is_member(stack, captures, source):
                continue
            around = next((one for one in reversed(stack) if not one.local), None)
        qualifier, name = _name(node, captures, source)
        if not name or (start, name) in seen or ("accessor" in pattern.flags and not _is_accessor(captures, source)):
            continue
        seen.add((start, name))
        if beside:
            stack.pop()
            around = stack[-1] if stack else None
        parent = ".".join(part for part in (around.path if around else "", qualifier) if part)
        kind = _kind(pattern, name, around, qualifier, source)
        if "self" in pattern.flags and (parent, name) in members:
            continue
        members.add((parent, name))
        if kind != "scope":
            wrapper = outer if outer is not None and start < outer_end else None
            definition = _definition(node, wrapper, (name, kind, parent), (pattern, captures), source)
            if wrapper is not None and pattern.kind not in _VALUES:
                outer_end = -1
            if kind == "constant" and source.grammar in _LOADING and _LOADS.search(definition.signature):
                continue
            found.append(definition)
        if kind not in {"field", "macro"} and "flat" not in pattern.flags:
            path = f"{parent}.{name}" if parent else name
            stack.append(_Open(start, end, path, name, kind, local=kind in _FUNCTIONS or len(path) > _MAX_PATH))
    return found


def _definition(
    node: Node, wrapper: Node | None, what: tuple[str, str, str], found: Match, source: _Source
) -> Definition:
    name, kind, parent = what
    pattern, captures = found
    first = node if wrapper is None else wrapper
    start, (row, column) = first.start_byte, first.start_point
    end, (end_row, end_column) = node.end_byte, node.end_point
    end_line = end_row if end_column == 0 and end_row > row else end_row + 1
    bodies = captures.get("body")
    body = bodies[0] if bodies else None
    if body is None and kind not in _VALUES:
        body = node.child_by_field_name("body")
    python = source.grammar in {"python", "starlark"}
    doc = ""
    short = "whole" in pattern.flags and end_line - row <= WHOLE_LINES and end - start <= WHOLE_CHARACTERS
    if short:
        signature = heads.whole(source.slice(start, end), column)
    elif body is not None:
        signature = heads.signature(_without_opener(source.slice(start, body.start_byte), source), column, colon=python)
        if python:
            doc = heads.docstring(source.text, body.start_byte)
    elif "whole" in pattern.flags or "head" in pattern.flags:
        signature = heads.signature(source.slice(start, end).split("\n", 1)[0], column)
    elif kind in _FUNCTIONS and source.grammar not in {"ruby", "lua"}:  # where ``end`` may follow nothing
        signature = heads.signature(source.slice(start, end), column)
    else:
        signature = heads.value(source.slice(start, end), column)
    top = row
    if column == 0 or not source.lines[row][:column].strip():
        top, comment = heads.above(source.lines, row, source.marks)
        doc = doc or comment
    return Definition(name, kind, parent, top, end_line, signature, doc)


def _name(node: Node, captures: dict[str, list[Node]], source: _Source) -> tuple[str, str]:
    """(qualifier, name): ``a::Cart::draw`` is ``("a.Cart", "draw")``."""
    named = captures.get("name")
    name_node = named[0] if named else _guessed_name(node)
    if name_node is None:
        return "", ""
    name = source.slice(name_node.start_byte, name_node.end_byte)
    owners = captures.get("parent")
    qualifier = ""
    if owners:
        owner = source.slice(owners[0].start_byte, owners[0].end_byte)
        owner = owner.removesuffix(".prototype")
        qualifier = "" if owner in _NOT_PARENTS else _plain(owner)
    if name.isidentifier():
        return qualifier, name
    return _split(name, qualifier, source)


def _split(name: str, qualifier: str, source: _Source) -> tuple[str, str]:
    name = name.strip().strip("\"'`:")
    if source.grammar in {"c", "cpp", "cuda", "objc", "glsl"}:
        operator = _OPERATOR.search(name)
        if operator and not name[operator.start() + 8 : operator.start() + 9].isidentifier():
            owner = name[: operator.start()].rstrip(": ")
            return ".".join(filter(None, (qualifier, _plain(owner)))), operator[0].strip()
        found = _IDENTIFIER.search(_stripped(name))
        name = found[0] if found else ""
    elif source.grammar in {"php", "ruby"}:
        name = name.lstrip("$@")
    else:
        name = _stripped(name).lstrip("*&")
    for separator in ("::", ":", "."):
        owner, found_one, last = name.rpartition(separator)
        if found_one and owner and last:
            return ".".join(filter(None, (qualifier, _plain(owner)))), last
    return qualifier, name.strip()[:200]


def _plain(owner: str) -> str:
    """A type as a parent's name: ``*List[T]`` is ``List``, ``a::B<T>`` is ``a.B``."""
    name = _stripped(owner).strip("*& \n(){}")
    return name.replace("::", ".").replace(":", ".").split()[-1] if name else ""


def _stripped(name: str) -> str:
    """Without type arguments, also nested ones."""
    for _ in range(4):
        shorter = _GENERIC.sub("", name)
        if shorter == name:
            break
        name = shorter
    return name


def _guessed_name(node: Node) -> Node | None:
    for field in ("name", "declarator", "identifier"):
        named = node.child_by_field_name(field)
        if named is not None:
            return named
    return next((child for child in node.named_children[:8] if _NAME_NODE.search(child.type)), None)


def _kind(pattern: Pattern, name: str, around: _Open | None, qualifier: str, source: _Source) -> str:
    kind = pattern.kind
    if kind == "function":
        return "method" if qualifier or (around is not None and around.kind in _CLASSES) else kind
    if kind == "field" and around is None:
        return "constant"
    if kind == "constant" and source.grammar == "python" and name[:1].isupper() and not name.isupper():
        return "type"
    return kind


def _is_member(stack: list[_Open], captures: dict[str, list[Node]], source: _Source) -> bool:
    """``self.x = …`` counts where objects are made; a constructor's parameters that are fields have no ``@self``."""
    owner = captures.get("self")
    if len(stack) < 2 or stack[-2].kind not in _CLASSES:  # the method and its class
        return False
    if owner is None:
        return True
    if stack[-1].name not in _CONSTRUCTORS:
        return False
    written = source.text[owner[0].start_byte : owner[0].end_byte]
    return written in _SELF or written.startswith(b"@")


def _is_accessor(captures: dict[str, list[Node]], source: _Source) -> bool:
    call = captures["call"][0]
    return source.text[call.start_byte : call.end_byte].startswith(b"attr_")


def _same_row(node: Node) -> bool:
    """Whether a wrapper's definition starts on its line: the first child that is more than a word of the language."""
    child = node.named_child(0) if node.named_child_count else None
    return child is not None and child.start_point[0] == node.start_point[0]


def _without_opener(head: str, source: _Source) -> str:
    """Kotlin's and Scala's ``=`` before the body stands outside of it."""
    if source.grammar in {"kotlin", "scala"}:
        return head.rstrip().removesuffix("=")
    return head


def _completed(found: list[Definition], more: tuple[Definition, ...]) -> list[Definition]:
    """With what patterns see and the tree does not tell. A definition that both tell is the tree's."""
    told = {(one.name, row) for one in found for row in _head_rows(one)}
    new = [one for one in more if not any((one.name, row) in told for row in _head_rows(one))]
    return sorted([*found, *new], key=lambda one: (one.start_line, -one.end_line)) if new else found


def _head_rows(one: Definition) -> range:
    """Lines among which the name is: comments and decorators may be above it."""
    return range(one.start_line, min(one.end_line, one.start_line + 30))


def _imports(look: Finder, matches: list[Match], source: _Source, text: str) -> tuple[Import, ...]:
    if not look.finds_imports:
        return imports_of(source.language, text)
    nodes = [captures[pattern.capture][0] for pattern, captures in matches if pattern.kind == "import"]
    nodes.sort(key=lambda node: node.start_byte)
    found: list[Import] = []
    for node in nodes:
        found += imports_of(source.language, source.slice(node.start_byte, node.end_byte), node.start_point[0])
    return tuple(found)


def _package(matches: list[Match], source: _Source, text: str) -> str:
    names = [captures["package"][0] for pattern, captures in matches if pattern.kind == "package"]
    if not names:
        return package_of(source.language, text) if source.language == "groovy" else ""
    texts = [source.slice(node.start_byte, node.end_byte) for node in names]
    # Scala's clauses add up; elsewhere a second one is another part of the file.
    return re.sub(r"\s", "", ".".join(texts) if source.grammar == "scala" else texts[0])


def _of_scripts(text: str, limit_ms: float) -> Outline:
    """The scripts of a page or component (Vue, Svelte, HTML), as one TypeScript file on the same lines."""
    kept = []
    last = 0
    for script in _SCRIPT.finditer(text):
        kept.append("\n" * text.count("\n", last, script.start(1)))
        kept.append(script[1])
        last = script.end(1)
    return outline("typescript", "".join(kept), limit_ms=limit_ms) if kept else Outline()
