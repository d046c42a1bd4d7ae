"""Outlines of anything: half-typed code, languages without grammar, huge and hostile text; and how heads are shown."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coder_lsp.languages import all_languages
from coder_lsp.syntax.outline import Definition, outline


def named(found, name) -> Definition:
    matching = [one for one in found.definitions if one.name == name]
    assert len(matching) == 1, [one.name for one in found.definitions]
    return matching[0]


def names(language, text):
    return [(one.kind, one.name) for one in outline(language, text).definitions]


# -- heads


def test_a_head_of_many_lines_is_put_on_one_and_decorators_stay_lines():
    text = "@cache\ndef f(\n    a: int,\n    b: int,\n    c: int,\n    d: int,\n    e: int = 5,\n) -> None:\n    pass\n"
    signature = named(outline("python", text), "f").signature
    assert signature == "@cache\ndef f(a: int, b: int, c: int, d: int, e: int = 5) -> None:"


def test_a_head_of_few_lines_stays_as_written_without_its_indentation():
    text = (
        "class A:\n    def f(\n        self,\n        a: int,\n    ) -> None:  # why\n        # because\n        pass\n"
    )
    assert named(outline("python", text), "f").signature == "def f(\n    self,\n    a: int,\n) -> None:"


def test_an_endless_head_is_cut():
    text = f"def f(a={'x' * 2_000!r}):\n    pass\n"
    assert len(named(outline("python", text), "f").signature) == 400


def test_a_short_interface_is_its_signature_and_a_long_one_only_its_head():
    short = "export interface A {\n  a: number;\n  b(): void;\n}"
    assert named(outline("typescript", short), "A").signature == short
    long = "export interface A {\n" + "".join(f"  m{number}: number;\n" for number in range(20)) + "}"
    assert named(outline("typescript", long), "A").signature == "export interface A"


def test_a_long_constant_is_its_first_line():
    assert named(outline("python", "X = [\n    1,\n    2,\n    3,\n]\n"), "X").signature == "X = [ …"


@pytest.mark.parametrize(
    ("language", "text", "start", "doc"),
    [
        ("python", "# one\n# two\ndef f(): pass\n", 0, "one"),
        ("python", "x = 1  # one\ndef f(): pass\n", 1, ""),
        ("python", "# one\n\ndef f(): pass\n", 2, ""),
        ("python", '# above\ndef f():\n    r"""Inside. More."""\n', 0, "Inside. More."),
        ("python", "# noqa: X\n# said\ndef f(): pass\n", 0, "said"),
        ("rust", "/// One.\n#[inline]\n#[must_use]\nfn f() {}\n", 0, "One."),
        (
            "java",
            "class A {\n  /**\n   * One.\n   *\n   * @param a two\n   */\n  @Override\n  void f() {}\n}",
            1,
            "One.",
        ),
        ("typescript", "/* one */ let x = 1;\nfunction f() {}\n", 1, ""),
        ("csharp", "/// <summary>\n/// One.\n/// </summary>\nclass f { }\n", 0, "One."),
        ("go", "//go:noinline\n// f is it.\nfunc f() {}\n", 0, "f is it."),
        ("c", "int x; /* a */\nint f(void);\n", 1, ""),
    ],
)
def test_the_comment_directly_above_belongs_to_a_definition(language, text, start, doc):
    found = named(outline(language, text), "f")
    assert (found.start_line, found.doc) == (start, doc)


def test_only_objects_made_in_a_constructor_have_fields():
    text = (
        "class A:\n    x: int\n    def __init__(self):\n        self.x = 1\n        self.y: int = 2\n"
        "        other.z = 3\n    def f(self):\n        self.v = 1\n"
    )
    fields = [one for one in outline("python", text).definitions if one.kind == "field"]
    assert [(one.parent, one.name, one.start_line) for one in fields] == [("A", "x", 1), ("A", "y", 4)]


def test_what_is_local_to_a_function_is_left_out():
    assert names("python", "def f():\n    class A:\n        def g(self): pass\n    def h(): pass\n") == [
        ("function", "f")
    ]
    assert names("javascript", "function f() { function g() {} const h = () => 1 }") == [("function", "f")]
    assert names("javascript", "(function () { function g() {} })()") == [("function", "g")]


def test_a_page_has_the_outline_of_its_scripts_on_the_pages_lines():
    page = (
        "<template>\n  <p/>\n</template>\n<script lang='ts'>\nimport A from './a'\nfunction f(): void {}\n</script>\n"
    )
    found = outline("vue", page)
    assert (named(found, "f").start_line, found.imports[0].module, found.imports[0].line) == (5, "./a", 4)
    assert outline("html", "<p>function f() {}</p>").definitions == ()


# -- what no tree explains


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "class A:\n    def f(self, x\n\ndef g():\n    pass\n", {"A", "f", "g"}),
        ("python", "def f(a):\n    return (a\n\nclass B:\n    def g(self):\n        pass\n", {"f", "B", "g"}),
        ("typescript", "class A {\n  f(x: number {\n  }\n}\nfunction g() {}\n", {"A", "g"}),
        ("java", "class A {\n  void f( {\n  }\n  void g() { }\n}\n", {"A", "g"}),
        ("go", "package a\nfunc f(x int {\n}\nfunc g() {}\n", {"f", "g"}),
        ("rust", "struct A {\n  x: u8\nfn f() {}\n", {"A", "f"}),
        ("cpp", "class A {\n  int f(;\n};\nint g() { return 0; }\n", {"A", "g"}),
    ],
)
def test_half_typed_code_still_tells_what_can_be_seen(language, text, expected):
    assert expected <= {one.name for one in outline(language, text).definitions}


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "vb",
            "Public Class Cart\n  Private Sub Add(x)\n  End Sub\nEnd Class\n",
            [("class", "Cart"), ("method", "Add")],
        ),
        ("prolog", "parent(X, Y) :-\n  father(X, Y).\n", [("function", "parent")]),
        ("coffeescript", "class A\n  f: (x) -> x\ng = -> 1\n", [("class", "A"), ("method", "f"), ("function", "g")]),
        ("awk", "function add(a, b) {\n  return a + b\n}\n", [("function", "add")]),
        ("lean", "theorem foo : a = a := rfl\ndef bar := 1\n", [("function", "foo"), ("function", "bar")]),
        ("sql", "CREATE TABLE IF NOT EXISTS carts (\n  id int\n);\n", [("class", "carts")]),
        ("dart", "class A {\n  int f(int x) {\n    return x;\n  }\n}\n", [("class", "A"), ("method", "f")]),
        ("elixir", "defmodule A.B do\n  def f(x) do\n    x\n  end\nend\n", [("module", "B"), ("method", "f")]),
        ("proto", "message Cart {\n  int32 id = 1;\n}\n", [("class", "Cart")]),
        ("zig", "pub fn add(a: i32) i32 {\n    return a;\n}\n", [("function", "add")]),
        ("commonlisp", "(defun add (a b)\n  (+ a b))\n", [("function", "add")]),
        ("plaintext", "def f is not a function\nclass dismissed\n", []),
        ("json", '{"class Foo": 1}', []),
    ],
)
def test_languages_without_rows_of_their_own(language, text, expected):
    found = outline(language, text).definitions
    assert [(one.kind, one.name) for one in found if one.kind != "field"] == expected


def test_the_lines_of_a_definition_seen_by_its_look_end_with_its_block():
    found = outline("awk", "# Adds.\nfunction add(a) {\n  x\n\n  y\n}\n\nfunction other() {\n}\n").definitions
    assert [(one.name, one.start_line, one.end_line, one.doc) for one in found] == [
        ("add", 0, 6, "Adds."),
        ("other", 7, 9, ""),
    ]


@pytest.mark.parametrize(
    ("language", "text", "modules"),
    [
        ("dart", "import 'package:shop/cart.dart';\npart 'x.dart';\n", ["package:shop/cart.dart", "x.dart"]),
        ("julia", 'using A, B.C\ninclude("x.jl")\n', ["A", "B.C", "x.jl"]),
        ("elixir", "alias A.B\n", ["A.B"]),
        ("haskell", "import qualified Data.Map as M\n", ["Data.Map"]),
        ("perl", "use A::B;\nrequire C;\n", ["A::B", "C"]),
        ("proto", 'import "a/b.proto";\n', ["a/b.proto"]),
        ("zig", 'const a = @import("a.zig");\n', ["a.zig"]),
        ("cmake", "include(cmake/x.cmake)\nadd_subdirectory(src)\n", ["cmake/x.cmake", "src"]),
        ("scss", '@use "a/b";\n', ["a/b"]),
        ("erlang", '-include("a.hrl").\n', ["a.hrl"]),
    ],
)
def test_imports_of_other_languages(language, text, modules):
    assert [one.module for one in outline(language, text).imports] == modules


def test_a_text_too_large_or_too_slow_for_a_tree_is_read_by_its_lines():
    text = "import os\n" + "def f(a):\n    return a\n\n" * 50_000
    found = outline("python", text)
    assert found.imports[0].module == "os"
    assert len(found.definitions) > 40_000
    slow = outline("python", "import os\nclass A:\n    def f(self):\n        pass\n" * 4_000, limit_ms=1)
    assert [one.kind for one in slow.definitions[:2]] == ["class", "method"]


# -- anything


@pytest.mark.parametrize(
    "language", ["python", "javascript", "typescript", "cpp", "java", "rust", "go", "scala", "lua"]
)
@pytest.mark.parametrize(
    "text", ["[" * 10_000, "x = " + "(" * 10_000 + ")" * 10_000, "class A {\n" * 3_000, "{" * 10_000]
)
def test_ten_thousand_brackets_overflow_nothing(language, text):
    outline(language, text)


def test_names_nested_by_a_machine_do_not_grow_without_end():
    found = outline("javascript", "class A { static x = " * 2_000 + "1" + "}" * 2_000)
    assert all(len(one.parent) <= 310 for one in found.definitions)


_PIECES = (
    """def f|class A|(|)|{|}|:|import |from |.| as |@|#|//|/*|*/|'|"|function |=|=>|use |::|;|<script>|é|😀|struct """
)
_pieces = st.sampled_from(
    [*_PIECES.split("|"), "\n", "\n    ", "\r\n", '"""', "\x00", "\udc80", "typedef ", "self.x = 1"]
)
_texts = st.lists(_pieces, max_size=60).map("".join) | st.text(max_size=200)
_languages = st.sampled_from([language.id for language in all_languages()])


@settings(deadline=None)
@given(_languages, _texts)
@example("python", "from")
@example("rust", "use a::{b::{c")
def test_any_text_has_an_outline(language, text):
    """Never an exception; ranges lie in the text, are not empty, and come in order."""
    found = outline(language, text)
    lines = text.count("\n") + 1
    assert all(0 <= one.start_line < one.end_line <= lines for one in found.definitions)
    assert all(one.name and one.kind for one in found.definitions)
    assert all(0 <= one.line < lines for one in found.imports)
    assert found == outline(language, text)


def test_importing_outline_loads_no_tree_sitter():
    code = "import sys, coder_lsp.syntax.outline; sys.exit('tree_sitter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
