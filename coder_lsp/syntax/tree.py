"""Syntax trees: what surrounds a place in a document. The only module that touches tree-sitter, and only when asked.

Offsets are code points of the whole text; tree-sitter's byte offsets never leave this module. Half-typed code is the
normal case: every answer is the best a tree with errors allows. Work is bounded by a window around the place and by a
deadline; where there is no grammar, no time or too much text the answer is None and line heuristics take over.

Safe from any thread: a parser is made for each call (2 µs), and a :class:`SyntaxTree` is never changed. Text of a node
comes out of the tree's ``source``: tree-sitter's own ``Node.text`` would read anew.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.languages import BlockStyle, Language, by_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node, Tree

MAX_CHARACTERS = 1_000_000
"""Larger documents are not parsed at all."""
WINDOW_CHARACTERS = 24_000
"""With a place given, parse this much around it, three quarters of it before: ~3 ms for Python, ~6 for C++."""
LIMIT_MS = 40.0
_READ_BYTES = 65_536

FUNCTION_NODE = re.compile(
    r"(?:^|_)(?:function|method|constructor|destructor|lambda|closure|arrow_function|func_literal|subroutine|procedure)"
    r"(?:_(?:definition|declaration|item|statement|expression|literal|spec|def|body_declaration))?$|^(?:singleton_method|"
    r"anonymous_function|local_function_statement|init_declaration|task_declaration)$"
)
CLASS_NODE = re.compile(
    r"^(?:class|struct|interface|enum|trait|impl|union|module|namespace|protocol|contract|package|mod)"
    r"(?:_(?:definition|declaration|item|specifier|statement|spec|body_declaration))?$|"
    r"^(?:object|record|type)_(?:definition|declaration|item|spec)$"
)
_BLOCK = re.compile(
    r"(?:^|_)(?:block|body|suite|statements|compound_statement|declaration_list|field_declaration_list|do_group|then|"
    r"consequence|clause|object|mapping)$|^(?:do|element|begin_block|block_mapping|class_body)$"
)
_STRING = re.compile(r"string|heredoc|char_literal|character_literal|^(?:raw_text|attribute_value)$")
_COMMENT = re.compile(r"comment")
_NO_CONTENT = re.compile(r"comment|_tag$")
_NOT_TEXT = re.compile(r"interpolation|substitution|embedded|splice")


class _Given(threading.local):
    """What a thread gave tree-sitter to read last."""

    def __init__(self) -> None:
        self.text = bytearray()


_given = _Given()


@dataclass(frozen=True)
class Scope:
    """A function, class or block that encloses a place. ``empty``: its body has no statement, comments apart."""

    kind: str
    """``function``, ``class`` or ``block``."""
    node: str
    """The grammar's own name."""
    start: int
    end: int
    empty: bool


@dataclass(frozen=True)
class SyntaxTree:
    """A parsed stretch ``[start, start + len(source))`` of a document."""

    language: str
    text: str = field(repr=False)
    start: int
    source: bytes = field(repr=False)
    tree: Tree = field(repr=False)

    @property
    def has_error(self) -> bool:
        return self.tree.root_node.has_error

    def byte(self, offset: int) -> int:
        """Byte offset into the parsed stretch of a code point offset into the document, clamped to the stretch."""
        inside = min(max(offset - self.start, 0), len(self.text))
        return len(self.text[:inside].encode("utf-8", "replace"))

    def offset(self, byte: int) -> int:
        """The code point offset into the document of a byte of the parsed stretch."""
        return self.start + len(self.source[:byte].decode("utf-8", "ignore"))


def parse(
    language: str | Language,
    text: str,
    *,
    around: int | None = None,
    previous: SyntaxTree | None = None,
    limit_ms: float = LIMIT_MS,
) -> SyntaxTree | None:
    """A tree of ``text``, or of a window about the place ``around``; None without grammar, out of time or too large.

    ``previous`` is the tree of an earlier version of the same text; what did not change is then not parsed again.
    """
    known = by_id(language) if isinstance(language, str) else language
    if known.grammar is None or len(text) > MAX_CHARACTERS:
        return None
    start, end = (0, len(text)) if around is None else _window(text, around)
    piece = text[start:end]
    source = piece.encode("utf-8", "replace")
    old = None
    if previous is not None and previous.language == known.id and previous.start == start:
        old = _edited(previous, source)
    tree = _parse(known.grammar, source, old, limit_ms)
    return None if tree is None else SyntaxTree(known.id, piece, start, source, tree)


def scopes(tree: SyntaxTree, offset: int) -> tuple[Scope, ...]:
    """Functions, classes and blocks around a place, the innermost first. The whole file is not one of them."""
    found = []
    column = _blank_column(tree, offset)
    for node in _ancestors(tree, offset if column is None else _last_visible(tree, offset)):
        if node.parent is None or not node.is_named:
            continue
        kind = _kind(node.type)
        if not kind or (column is not None and _indentation(tree, node) >= column):
            continue
        found.append(Scope(kind, node.type, tree.offset(node.start_byte), tree.offset(node.end_byte), _is_empty(node)))
    return tuple(found)


def enclosing(tree: SyntaxTree, offset: int, kind: str) -> Scope | None:
    """The innermost ``function``, ``class`` or ``block`` around a place."""
    return next((scope for scope in scopes(tree, offset) if scope.kind == kind), None)


def body_is_empty(tree: SyntaxTree, offset: int) -> bool:
    """Whether the innermost scope around a place has no statement yet (comments and a docstring do not count)."""
    around = scopes(tree, offset)
    return bool(around) and around[0].empty


def inside(tree: SyntaxTree, offset: int) -> str:
    """``string`` or ``comment`` if the place is within one (not at its edges), else nothing.

    The place after a line comment is within it until the line ends.
    """
    place = tree.byte(offset)
    for node in _ancestors(tree, offset):
        if _NOT_TEXT.search(node.type):
            return ""
        if _COMMENT.search(node.type) and node.is_named:
            at_end = node.end_byte == place and node.start_point.row == node.end_point.row
            if node.start_byte < place < node.end_byte or (at_end and not _ends_block_comment(tree, node)):
                return "comment"
        if _STRING.search(node.type) and node.is_named and node.start_byte < place < node.end_byte:
            return "string"
    return ""


def inside_string(tree: SyntaxTree, offset: int) -> bool:
    return inside(tree, offset) == "string"


def inside_comment(tree: SyntaxTree, offset: int) -> bool:
    return inside(tree, offset) == "comment"


def _window(text: str, around: int) -> tuple[int, int]:
    if len(text) <= WINDOW_CHARACTERS:
        return 0, len(text)
    start = max(0, around - WINDOW_CHARACTERS * 3 // 4)
    if start:
        # From a line at column 0 that begins like a statement; else from any line.
        top = re.compile(r"\n(?=[A-Za-z@#])").search(text, start, around)
        start = top.end() if top else text.find("\n", start, around) + 1 or start
    end = text.find("\n", min(len(text), around + WINDOW_CHARACTERS // 4))
    # A "line" of a minified file may be the whole of it.
    longest = around + WINDOW_CHARACTERS // 2
    return start, min(len(text) if end < 0 else end + 1, longest)


def _parse(grammar: str, source: bytes, old: Tree | None, limit_ms: float) -> Tree | None:
    from tree_sitter import Parser
    from tree_sitter_language_pack import get_language

    try:
        parser = Parser(get_language(grammar))  # type: ignore[arg-type]  # any of its literals
    except LookupError:
        return None
    end = time.monotonic() + limit_ms / 1000.0
    late = False

    def out_of_time(_offset: int, _error: bool) -> bool:
        nonlocal late
        late = late or time.monotonic() > end
        return late

    def read(offset: int, _point: object) -> bytearray:
        # tree-sitter 0.26.1 keeps a reference to each object that is returned here, for ever: 16 kB a keystroke. It
        # looks at an object until it asks for the next one only, so this thread has one, again and again.
        _given.text[:] = source[offset : offset + _READ_BYTES]
        return _given.text

    options: dict[str, Any] = {"progress_callback": out_of_time}
    if old is not None:  # refuses None
        options["old_tree"] = old
    try:
        tree: Any = parser.parse(read, **options)
    except ValueError:  # how the binding says that the callback stopped it
        return None
    return None if late else tree


def _edited(previous: SyntaxTree, source: bytes) -> Tree:
    """The earlier tree told of the one stretch in which the two sources differ."""
    old = previous.source
    shorter = min(len(old), len(source))
    same_head = _common(old, source, shorter)
    same_tail = _common(old[same_head:][::-1], source[same_head:][::-1], shorter - same_head)
    tree: Any = previous.tree.copy()
    old_end, new_end = len(old) - same_tail, len(source) - same_tail
    tree.edit(same_head, old_end, new_end, _point(source, same_head), _point(old, old_end), _point(source, new_end))
    return tree  # type: ignore[no-any-return]


def _common(one: bytes, other: bytes, most: int) -> int:
    """Length of the common beginning, by halving: slices compare faster than a loop."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _point(source: bytes, byte: int) -> tuple[int, int]:
    row = source.count(b"\n", 0, byte)
    return row, byte - (source.rfind(b"\n", 0, byte) + 1)


def _ancestors(tree: SyntaxTree, offset: int) -> Iterator[Node]:
    """Nodes that contain a place, the smallest first. Where two meet, the one that ends there counts as containing
    it as well: the cursor mostly stands at the end of what was just typed.
    """
    if not tree.start <= offset <= tree.start + len(tree.text):
        return
    place = tree.byte(offset)
    root = tree.tree.root_node
    node = root.descendant_for_byte_range(max(0, place - 1), place) or root
    while node is not None:
        yield node
        node = node.parent  # type: ignore[assignment]


def _blank_column(tree: SyntaxTree, offset: int) -> int | None:
    """Where indentation makes blocks, a node ends before the blank line the cursor is on. Then the scopes are those
    of the last visible character that are indented less than the cursor. None: the tree itself knows.
    """
    if by_id(tree.language).style is not BlockStyle.INDENT:
        return None
    line = tree.text[: max(0, offset - tree.start)].rpartition("\n")[2]
    return None if line.strip() else len(line)


def _last_visible(tree: SyntaxTree, offset: int) -> int:
    return tree.start + len(tree.text[: max(0, offset - tree.start)].rstrip())


def _indentation(tree: SyntaxTree, node: Node) -> int:
    """Leading white space of the line a scope's head is on."""
    head = node.parent if _BLOCK.search(node.type) and node.parent is not None else node
    start = tree.source.rfind(b"\n", 0, head.start_byte) + 1
    line = tree.source[start : head.start_byte + 1]
    return len(line) - len(line.lstrip(b" \t"))


def _kind(node_type: str) -> str:
    if FUNCTION_NODE.search(node_type):
        return "function"
    if CLASS_NODE.search(node_type):
        return "class"
    return "block" if _BLOCK.search(node_type) else ""


def _is_empty(node: Node) -> bool:
    body = node.child_by_field_name("body")
    if body is None:
        body = next((child for child in node.named_children if _BLOCK.search(child.type)), None)
    if body is None:
        body = node if _BLOCK.search(node.type) else None
    if body is None:
        return not any(_BLOCK.search(child.type) for child in node.named_children)
    return all(child.is_extra or _COMMENT.search(child.type) or _is_docstring(child) for child in body.named_children)


def _is_docstring(node: Node) -> bool:
    if node.type == "expression_statement" and node.named_child_count == 1:
        node = node.named_child(0)
    return node.type == "string"


def _ends_block_comment(tree: SyntaxTree, node: Node) -> bool:
    return tree.source[node.start_byte : node.end_byte].endswith((b"*/", b"-->", b"]]", b"*)", b"-}", b"|#", b"=#"))
