"""One line or a block: the same answer for the same place, in many languages, with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.shape import decide_shape
from coder_lsp.types import Shape, Trigger

LINE, BLOCK = Shape.LINE, Shape.BLOCK


def decide(language: str, marked: str, trigger: Trigger = Trigger.AUTOMATIC, **options):
    """``¦`` marks the cursor."""
    cursor = marked.index("¦")
    return decide_shape(marked[:cursor] + marked[cursor + 1 :], cursor, language, trigger, **options)


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        ("python", "def f(x):¦\n"),
        ("python", "def f(\n    x,\n) -> int:¦\n"),
        ("python", "async def f():¦"),
        ("javascript", "function f() {¦"),
        ("javascript", "const f = async (x) => {¦}"),
        ("javascript", "items.map((x) => {¦})"),
        ("typescript", "class A {¦\n}\n"),
        ("java", "    public int f(int x) {¦\n    }\n"),
        ("go", "if err != nil {¦\n"),
        ("rust", "impl Foo for Bar {¦\n}\n"),
        ("c", "while (x) {¦"),
        ("cpp", "switch (x) {\n  case 1:¦\n}"),
        ("csharp", "public void F()\n{¦\n}"),
        ("ruby", "items.each do |item|¦\nend\n"),
        ("ruby", "def f(x)¦\n"),
        ("lua", "local function f(a, b)¦\nend"),
        ("lua", "for i = 1, 3 do¦"),
        ("shellscript", "if test -f x; then¦\nfi"),
        ("yaml", "services:¦\n"),
        ("json", '{"a": {¦}}'),
        ("html", '<div class="a">¦\n</div>'),
        ("haskell", "main = do¦"),
        ("scala", "def f(x: Int) =¦"),
        ("swift", "items.map { x in¦"),
        ("kotlin", "items.map { x ->¦"),
        ("elixir", "def f(x) do¦\nend"),
        ("php", "function f() {¦}"),
    ],
)
def test_a_line_that_opens_a_block(language, marked):
    decision = decide(language, marked)
    assert (decision.shape, decision.reason) == (BLOCK, "line opens a block")


@pytest.mark.parametrize(
    ("language", "marked", "reason"),
    [
        ("python", "def f(x):\n    ¦\n", "body just opened"),
        ("python", "def f(x):\n¦", "body just opened"),
        ("python", 'def f(x):\n    """Doc."""\n    ¦\n', "after a comment"),
        ("python", "x = 1\n# the next\n¦\n", "after a comment"),
        ("python", "def f():\n    a = 1\n    ¦\n    return a\n", "blank line between statements"),
        ("python", "¦\n", "start of the file"),
        ("typescript", "function f() {\n  ¦\n}\n", "body just opened"),
        ("typescript", "// Adds two numbers.\n¦\n", "after a comment"),
        ("java", "/**\n * Adds.\n */\n¦\n", "after a comment"),
        ("go", "func f() {\n\t¦\n}\n", "body just opened"),
        ("rust", "fn f() {\n    let x = 1;\n    ¦\n}\n", "blank line between statements"),
        ("c", "int f()\n{\n    ¦\n}", "body just opened"),
        ("ruby", "class A\n  ¦\nend\n", "body just opened"),
        ("ruby", "def f\n  if x\n    ¦\n  end\nend", "body just opened"),
        ("lua", "repeat\n  ¦\nuntil x", "body just opened"),
        ("yaml", "a:\n  ¦\n", "body just opened"),
        ("html", "<ul>\n  ¦\n</ul>", "body just opened"),
        ("json", "{\n  ¦\n}", "body just opened"),
        ("json", '{"a": [\n  ¦\n]}', "entries of a list"),
    ],
)
def test_a_blank_line_in_a_body(language, marked, reason):
    decision = decide(language, marked)
    assert (decision.shape, decision.reason) == (BLOCK, reason)


@pytest.mark.parametrize(
    ("language", "marked", "reason"),
    [
        ("python", "x = ¦\n", "mid-statement"),
        ("python", "return foo(¦)\n", "inside brackets"),
        ("python", "def f(¦):\n", "inside brackets"),
        ("python", "x = [¦]\n", "inside brackets"),
        ("python", "foo(\n    ¦\n)\n", "inside brackets"),
        ("python", "foo(\n    a,\n    ¦\n)\n", "inside brackets"),
        ("python", "x = y +\\\n    ¦\n", "the statement above goes on"),
        ("python", "x = ¦ + y\n", "text after the cursor"),
        ("python", "import o¦\n", "import"),
        ("python", "import os\n¦\n", "among imports"),
        ("python", 'x = "he said: ¦"\n', "inside a string"),
        ("python", 'x = "not closed {¦\n', "inside a string"),
        ("python", "# def f():¦\n", "inside a comment"),
        ("python", 'def f():\n    """Does ¦\n    """\n', "inside a string"),
        ("python", "x: ¦", "mid-statement"),
        ("python", "d = lambda:¦", "mid-statement"),
        ("javascript", 'import { a¦ } from "b"', "text after the cursor"),
        ("javascript", "import {¦}", "import"),
        ("javascript", "if (¦) {", "text after the cursor"),
        ("javascript", "foo(¦);", "inside brackets"),
        ("javascript", "const x = `a ${b} {¦`", "inside a string"),
        ("java", "import java.util.¦;", "import"),
        ("java", "List<String> xs = new ArrayList<¦>();", "text after the cursor"),
        ("go", 'fmt.Println("{¦")', "inside a string"),
        ("rust", "use std::¦;", "import"),
        ("rust", "let x: &'a str = y.¦;", "mid-statement"),
        ("c", "#include <std¦>", "import"),
        ("csharp", "using System.¦;", "import"),
        ("ruby", "x = foo.map(&:¦)", "mid-statement"),
        ("ruby", "require 'js¦'", "inside a string"),
        ("lua", "local x = require(¦)", "import"),
        ("html", '<a href="¦">x</a>', "text after the cursor"),
        ("html", "<p>¦</p>", "text after the cursor"),
        ("yaml", "name: ¦\n", "mid-statement"),
        ("markdown", "Some words ¦\n", "mid-statement"),
        ("markdown", "Some words\n\n¦\n", "prose"),
        ("plaintext", "¦", "prose"),
    ],
)
def test_a_line(language, marked, reason):
    decision = decide(language, marked)
    assert (decision.shape, decision.reason) == (LINE, reason)


@pytest.mark.parametrize(
    ("language", "marked", "shape"),
    [
        ("python", "x = ¦\n", BLOCK),
        ("python", "foo(\n    ¦\n)\n", BLOCK),
        ("python", "foo(¦)\n", LINE),
        ("python", "x = ¦ + y\n", LINE),
        ("markdown", "Words\n\n¦\n", BLOCK),
        ("python", 'def f():\n    """Does ¦\n    """\n', BLOCK),
        ("python", "import o¦\n", LINE),
        ("go", "x := ¦\n", BLOCK),
    ],
)
def test_asking_gets_a_block_at_a_line_end(language, marked, shape):
    assert decide(language, marked, Trigger.INVOKED).shape is shape


def test_multiline_off_is_a_line_everywhere():
    decision = decide("python", "def f():\n    ¦\n", Trigger.INVOKED, multiline=False)
    assert (decision.shape, decision.by) == (LINE, "rule")


def test_an_unterminated_string_is_seen_though_the_tree_is_broken():
    assert decide("python", "print('hello ¦\nx = 1\n").reason == "inside a string"


def test_apostrophes_that_are_no_quotes():
    """A Rust lifetime and prose in HTML must not look like strings."""
    assert decide("rust", "fn f<'a>(x: &'a str) {¦\n}").shape is BLOCK
    assert decide("html", "<p>don't</p>\n<div>¦\n</div>").shape is BLOCK


def test_crlf_and_tabs_make_no_difference():
    assert decide("go", "func f() {\r\n\t¦\r\n}\r\n").reason == "body just opened"
    assert decide("python", "def f():¦\r\n").reason == "line opens a block"


def test_the_path_names_the_language_the_client_does_not():
    assert decide("", "def f():¦\n", path="a.py").shape is BLOCK


def test_a_huge_file_is_decided_by_its_lines():
    """Over a million characters there is no tree; the answer is the same and quick."""
    assert decide("python", "x = 1\n" * 250_000 + "def f():\n    ¦\n").reason == "body just opened"
    assert decide("python", "x = 1\n" * 250_000 + "s = 'don¦").by == "lines"


@given(
    st.sampled_from(["python", "javascript", "rust", "ruby", "lua", "html", "yaml", "c", "nonsense"]),
    st.text(st.sampled_from("ab \n\t(){}[]:;'\"`#/\\<>=é😀\r"), max_size=60),
    st.integers(0, 60),
    st.sampled_from(list(Trigger)),
)
def test_any_place_gets_the_same_answer_twice(language, text, cursor, trigger):
    cursor = min(cursor, len(text))
    decision = decide_shape(text, cursor, language, trigger)
    assert decision == decide_shape(text, cursor, language, trigger)
    assert decision.reason
