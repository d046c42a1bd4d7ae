"""Syntax trees: scopes, strings, comments, in code point offsets, on any text."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.syntax import tree as syntax


def at(marked: str) -> tuple[str, int]:
    """Text and offset of a document with the cursor written as ``¦``."""
    cursor = marked.index("¦")
    return marked[:cursor] + marked[cursor + 1 :], cursor


def tree_at(language: str, marked: str):
    text, cursor = at(marked)
    tree = syntax.parse(language, text)
    assert tree is not None
    return tree, cursor


@pytest.mark.parametrize(
    ("language", "marked", "kind", "empty"),
    [
        ("python", "def f(x):\n    ¦\n", "function", True),
        ("python", 'def f(x):\n    """Doc."""\n    # so\n    ¦\n', "function", True),
        ("python", "def f(x):\n    y = x\n    ¦\n", "function", False),
        ("python", "def f(x):\n    y = x\n¦\n", "function", None),
        ("python", "class A:\n    def f(self):\n        pass\n\n    ¦\n", "class", False),
        ("javascript", "const f = () => {\n  ¦\n}\n", "function", True),
        ("typescript", "class A { foo(): void {\n ¦\n} }", "function", True),
        ("java", "class A {\n  void f() {\n    g();¦\n  }\n}", "function", False),
        ("go", "func f() {\n\t¦\n}\n", "function", True),
        ("rust", "impl A { fn f() {\n    ¦\n} }\n", "class", False),
        ("cpp", "int f() {\n  ¦\n}", "function", True),
        ("csharp", "class A { void F() {\n  ¦\n } }", "function", True),
        ("ruby", "def f\n  ¦\nend\n", "function", True),
        ("lua", "function f()\n  ¦\nend\n", "function", True),
        ("json", '{"a": {¦}}', "block", True),
        ("html", "<div>\n  ¦\n</div>", "block", None),
    ],
)
def test_what_encloses_a_place(language, marked, kind, empty):
    tree, cursor = tree_at(language, marked)
    scope = syntax.enclosing(tree, cursor, kind)
    if empty is None:
        assert scope is None or kind == "block"
    else:
        assert scope is not None
        assert scope.empty is empty
        assert scope.start <= cursor


def test_scopes_come_innermost_first_and_in_code_points():
    """The scope's offsets count code points, though tree-sitter counts bytes."""
    tree, cursor = tree_at("javascript", "/* äöü 😀 */ class Å { ff() { ¦ } }")
    scopes = syntax.scopes(tree, cursor)
    assert [scope.kind for scope in scopes] == ["block", "function", "block", "class"]
    assert tree.text[scopes[1].start : scopes[1].end] == "ff() {  }"
    assert syntax.body_is_empty(tree, cursor)


@pytest.mark.parametrize(
    ("language", "marked", "where"),
    [
        ("python", 'x = "a ¦b"\n', "string"),
        ("python", 'x = "ab"¦\n', ""),
        ("python", "x = 1  # wh¦y\n", "comment"),
        ("python", "x = 1  # why¦\n", "comment"),
        ("python", 'x = f"a {b¦}"\n', ""),
        ("python", 'def f():\n    """é ¦"""\n', "string"),
        ("rust", "fn f<'a>(x: &'a str) { g('¦') }", "string"),
        ("javascript", 'x = /["]¦/; y = 1\n', ""),
        ("java", "/* a ¦ b */ class A {}", "comment"),
        ("java", "/* a b */¦ class A {}", ""),
        ("go", "var s = `a\n¦b`\n", "string"),
    ],
)
def test_strings_and_comments(language, marked, where):
    tree, cursor = tree_at(language, marked)
    assert syntax.inside(tree, cursor) == where
    assert syntax.inside_string(tree, cursor) is (where == "string")
    assert syntax.inside_comment(tree, cursor) is (where == "comment")


def test_no_grammar_no_tree():
    assert syntax.parse("plaintext", "hello") is None
    assert syntax.parse("stata", "x") is None


def test_too_large_or_too_slow_gives_none():
    assert syntax.parse("python", "x = 1\n" * 200_000) is None
    assert syntax.parse("python", "def f(:\n  (\n" * 40_000, limit_ms=1.0) is None


def test_a_window_is_parsed_around_a_place():
    text = "".join(f"def f{i}():\n    return {i}  # é\n\n\n" for i in range(9_000))
    cursor = text.index("return 4567")
    tree = syntax.parse("python", text, around=cursor)
    assert tree is not None
    assert len(tree.text) < 60_000
    assert text.startswith(tree.text, tree.start)
    scope = syntax.enclosing(tree, cursor, "function")
    assert scope is not None
    assert text[scope.start : scope.end].startswith("def f4567():")
    assert syntax.scopes(tree, 0) == (), "outside the window nothing is known"


def test_one_endless_line_is_parsed_in_a_window_too():
    text = "x=[" + "1," * 300_000 + "]"
    tree = syntax.parse("javascript", text, around=300_000, limit_ms=5_000)
    assert tree is not None
    assert len(tree.text) <= 100_000


async def test_threads_may_parse_at_the_same_time():
    """No parser or tree is shared: ten threads get ten correct answers."""
    text, cursor = at("class A:\n    def f(self):\n        ¦\n" + "x = 1\n" * 2_000)

    def empty() -> bool:
        tree = syntax.parse("python", text, limit_ms=30_000)
        assert tree is not None
        return syntax.body_is_empty(tree, cursor)

    assert await asyncio.gather(*(asyncio.to_thread(empty) for _ in range(10))) == [True] * 10


def test_parsing_leaves_no_text_behind():
    """Bug: tree-sitter 0.26.1 keeps what it was given to read, 16 kB a keystroke, for as long as the server runs."""
    text = "".join(f"def function_{n}(value):\n    return value + {n}\n" for n in range(300))
    tracemalloc.start()
    try:
        syntax.parse("python", text)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            syntax.parse("python", text)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < len(text)


def test_importing_syntax_loads_no_tree_sitter():
    code = "import sys, coder_lsp.syntax.tree, coder_lsp.completion.shape; sys.exit('tree_sitter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_source = st.text(st.sampled_from("ab1 \n\t(){}[]:;'\"`#/*\\<>=é😀\x00") | st.characters(codec="utf-8"), max_size=80)
_languages = st.sampled_from(["python", "javascript", "cpp", "rust", "ruby", "html", "yaml", "lua", "shellscript"])


@given(_languages, _source, st.integers(0, 80))
def test_any_text_can_be_asked_about(language, text, place):
    tree = syntax.parse(language, text, around=min(place, len(text)))
    if tree is None:
        return
    assert syntax.inside(tree, place) in {"", "string", "comment"}
    for scope in syntax.scopes(tree, place):
        assert 0 <= scope.start <= scope.end <= len(text)


@given(_languages, _source, _source, _source, _source)
def test_reparsing_after_an_edit_equals_parsing_afresh(language, head, old, new, tail):
    before = syntax.parse(language, head + old + tail)
    assert before is not None
    again = syntax.parse(language, head + new + tail, previous=before)
    fresh = syntax.parse(language, head + new + tail)
    assert again is not None
    assert fresh is not None
    assert str(again.tree.root_node) == str(fresh.tree.root_node)


@given(st.text(max_size=30), st.integers(0, 30))
def test_byte_and_code_point_offsets_are_inverse(text, offset):
    tree = syntax.parse("python", text)
    assert tree is not None
    offset = min(offset, len(text))
    if all(not "\ud800" <= character <= "\udfff" for character in text):
        assert tree.offset(tree.byte(offset)) == offset
