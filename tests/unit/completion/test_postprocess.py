"""From the model's text to the edit: concrete before / after / expected triples. ``¦`` marks the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.postprocess import Edit, clean, drop_suffix_overlap, examine, fix_indentation
from coder_lsp.types import Shape

LINE, BLOCK = Shape.LINE, Shape.BLOCK


def result(language: str, marked: str, model: str, shape: Shape = LINE, **options) -> str | None:
    """The document with the edit in it, the inserted text between ``⟦⟧``; None without an edit."""
    before, _, after = marked.partition("¦")
    edit = clean(model, before, after, language, shape, **options)
    return None if edit is None else f"{before}⟦{edit.text}⟧{after[edit.replace_after :]}"


def why_not(language: str, marked: str, model: str, shape: Shape = LINE) -> str:
    before, _, after = marked.partition("¦")
    verdict = examine(model, before, after, language, shape)
    assert verdict.edit is None, verdict.edit
    return verdict.reason


@pytest.mark.parametrize(
    ("language", "marked", "model", "expected"),
    [
        # Auto-closed brackets: the closer that stands there is not written again …
        ("python", "foo(¦)\n", "a, b)", "foo(⟦a, b⟧)\n"),
        ("python", "foo(¦)\n", "a, b", "foo(⟦a, b⟧)\n"),
        ("python", "foo(¦)\n", "bar(a))", "foo(⟦bar(a)⟧)\n"),
        ("python", "foo(¦)\n", "bar(a)", "foo(⟦bar(a)⟧)\n"),
        ("python", "foo(bar(¦))\n", "a))", "foo(bar(⟦a⟧))\n"),
        # … one that is missing is; with one of two there, the inner one is missing.
        ("python", "foo(bar(¦\n", "a))", "foo(bar(⟦a))⟧\n"),
        ("python", "foo(bar(¦)\n", "a))", "foo(bar(⟦a)⟧)\n"),
        # The rest of the line is taken over where the suggestion writes it and goes on.
        ("python", "def f(¦)\n", "a: int) -> int:", "def f(⟦a: int) -> int:⟧\n"),
        ("python", "def f(¦):\n", "a: int):", "def f(⟦a: int⟧):\n"),
        ("python", "def f(¦):\n", "a: int) -> int:", "def f(⟦a: int) -> int:⟧\n"),
        ("python", "self.fail(msg.format(¦))\n", "a.b), context)", "self.fail(msg.format(⟦a.b), context)⟧\n"),
        ("python", "foo(bar(¦))\n", "a), b", "foo(bar(⟦a⟧))\n"),
        ("python", "# see foo (¦)\n", "or bar), please", "# see foo (⟦or bar), please⟧\n"),
        ("javascript", "if (¦) {\n", "a > b) {", "if (⟦a > b⟧) {\n"),
        ("javascript", "if (¦)\n", "a > b) {", "if (⟦a > b) {⟧\n"),
        ("javascript", "foo(¦);\n", "a);", "foo(⟦a⟧);\n"),
        ("javascript", "foo(¦);\n", "a, () => {});", "foo(⟦a, () => {}⟧);\n"),
        ("java", "int x = f(¦);\n", "a, g(b));", "int x = f(⟦a, g(b)⟧);\n"),
        ("rust", "let v = vec![¦];\n", "1, 2];", "let v = vec![⟦1, 2⟧];\n"),
        # Quotes.
        ("python", 'x = "¦"\n', 'hello"', 'x = "⟦hello⟧"\n'),
        ("python", "x = foo(¦)\n", '"a"', 'x = foo(⟦"a"⟧)\n'),
        ("python", 'foo("¦")\n', 'a", "b")', 'foo("⟦a", "b⟧")\n'),
        ("python", 'foo("¦"\n', 'a", "b")', 'foo("⟦a", "b")⟧\n'),
        ("python", 'x = "a ¦"\n', 'say \\"b\\""', 'x = "a ⟦say \\"b\\"⟧"\n'),
        ("go", 'fmt.Println("¦")\n', 'hi")', 'fmt.Println("⟦hi⟧")\n'),
        # In the middle of a line: what follows is not repeated.
        ("python", "x = ¦ + c\n", "a + b + c", "x = ⟦a + b⟧ + c\n"),
        ("python", "return ¦(x)\n", "foo(x)", "return ⟦foo⟧(x)\n"),
        ("sql", "select ¦ from t\n", "a, b from t", "select ⟦a, b⟧ from t\n"),
        ("javascript", "const { ¦ } = props\n", "a, b } = props", "const { ⟦a, b⟧ } = props\n"),
        ("python", "foo(¦, c)\n", "a, b, c)", "foo(⟦a, b⟧, c)\n"),
        # A short overlap inside a word or an operator is none.
        ("python", "¦n + 1\n", "return ", "⟦return ⟧n + 1\n"),
        ("python", "x ¦= 1\n", "=", None),
        ("python", "return set¦= y\n", "(x) =", "return set⟦(x) =⟧= y\n"),
        # Spaces: one that is there already is not doubled, inside a string it may be.
        ("python", "x = ¦\n", " 1 + 2", "x = ⟦1 + 2⟧\n"),
        ("python", "x =¦\n", " 1 + 2", "x =⟦ 1 + 2⟧\n"),
        ("python", 'x = "a ¦"\n', ' b"', 'x = "a ⟦ b⟧"\n'),
        ("python", "aa  = 1\nb ¦\n", " = 22", "aa  = 1\nb ⟦ = 22⟧\n"),
        ("python", "return ¦x\n", "not ", "return ⟦not ⟧x\n"),
        ("python", "x = 1¦\n", "00  \n", "x = 1⟦00⟧\n"),
        # Unicode counts in code points.
        ("python", 'é = "😀¦"\n', 'ü😀")', 'é = "😀⟦ü😀⟧"\n'),
        ("javascript", "foo('日本¦');\n", "語');", "foo('日本⟦語⟧');\n"),
        # Tags and data.
        ("html", "<p>¦</p>\n", "Hello</p>", "<p>⟦Hello⟧</p>\n"),
        ("html", '<a href="¦">x</a>\n', '/home">', '<a href="⟦/home⟧">x</a>\n'),
        ("html", "<div ¦>\n", 'class="a">', '<div ⟦class="a"⟧>\n'),
        ("yaml", "name:¦\n", " web\nport: 1", "name:⟦ web⟧\n"),
        ("json", '{"a": ¦}\n', "1}", '{"a": ⟦1⟧}\n'),
        # Decorators, comments, docstrings.
        ("python", "@¦\ndef f():\n", "property\ndef f():", "@⟦property⟧\ndef f():\n"),
        ("python", "# Compute ¦\n", "the sum\nx = 1", "# Compute ⟦the sum⟧\n"),
        ("python", 'def f():\n    """¦"""\n', 'Does it."""', 'def f():\n    """⟦Does it.⟧"""\n'),
        # A single character that finishes something.
        ("python", "foo(a¦\n", ")", "foo(a⟦)⟧\n"),
        ("python", "def f()¦\n", ":", "def f()⟦:⟧\n"),
        ("java", "int x = 1¦\n", ";", "int x = 1⟦;⟧\n"),
        ("python", "retur¦\n", "n", "retur⟦n⟧\n"),
    ],
)
def test_lines(language, marked, model, expected):
    assert result(language, marked, model, LINE) == expected


@pytest.mark.parametrize(
    ("language", "marked", "model", "expected"),
    [
        # The brace that stands on the cursor's line gets a line of its own.
        ("javascript", "function f() {¦}\n", "\n  return 1;\n}", "function f() {⟦\n  return 1;\n⟧}\n"),
        ("typescript", "  foo(() => {¦});\n", "\n    a();\n  });\n", "  foo(() => {⟦\n    a();\n  ⟧});\n"),
        # The one on the next line stays where it is.
        ("java", "void f() {\n    ¦\n}\n", "g();\n}\n", "void f() {\n    ⟦g();⟧\n}\n"),
        ("go", "func f() {\n\t¦\n", "g()\n}\n", "func f() {\n\t⟦g()\n}⟧\n"),
        # The cursor's indentation written again.
        ("python", "def f():\n    ¦\n", "    return 1", "def f():\n    ⟦return 1⟧\n"),
        ("python", "def f():\n    ¦\n", "    a = 1\n    return a", "def f():\n    ⟦a = 1\n    return a⟧\n"),
        ("python", "def f():\n  ¦\n", "  return 1", "def f():\n  ⟦  return 1⟧\n"),
        (
            "python",
            "def f():\n    a()\n\ndef g():\n  ¦\n",
            "    return 1",
            "def f():\n    a()\n\ndef g():\n  ⟦  return 1⟧\n",
        ),
        ("python", "def f():\n¦\n", "    return 1", "def f():\n⟦    return 1⟧\n"),
        # Tabs and spaces: as the file has it.
        (
            "go",
            "func f() {\n\tif a {\n\t\t¦\n",
            "b()\n        c()\n    }\n}",
            "func f() {\n\tif a {\n\t\t⟦b()\n\t\tc()\n\t}\n}⟧\n",
        ),
        (
            "c",
            "void f() {\n\tg();\n\t¦\n}\n",
            "if (a)\n        b();\n",
            "void f() {\n\tg();\n\t⟦if (a)\n\t\tb();⟧\n}\n",
        ),
        ("python", "def f():\n  a()\n  ¦\n", "if b:\n\t\tc()\n", "def f():\n  a()\n  ⟦if b:\n    c()⟧\n"),
        ("python", "def f():\n   a()\n   ¦\n", "if b:\n\t\tc()\n", "def f():\n   a()\n   ⟦if b:\n      c()⟧\n"),
        ("go", "func f() {¦\n", "\n    return\n}", "func f() {⟦\n\treturn\n}⟧\n"),
        # … but not inside a string that spans lines.
        (
            "go",
            "func f() {\n\t¦\n}\n",
            "s := `\n    kept\n`\n    g(s)\n",
            "func f() {\n\t⟦s := `\n    kept\n`\n\tg(s)⟧\n}\n",
        ),
        # Overlap with what follows, white space apart.
        (
            "python",
            "def f():\n    ¦\n\n    return x\n",
            "x = 1\n    return x",
            "def f():\n    ⟦x = 1⟧\n\n    return x\n",
        ),
        (
            "python",
            "for a in b:\n    ¦\n    c()\n",
            "if a:\n        d()\n    c()",
            "for a in b:\n    ⟦if a:\n        d()⟧\n    c()\n",
        ),
        # The same statement deeper down is another one.
        (
            "python",
            "def f():\n    ¦\n    return x\n",
            "if x:\n        return x",
            "def f():\n    ⟦if x:\n        return x⟧\n    return x\n",
        ),
        ("html", "<ul>\n  ¦\n</ul>\n", "<li>\n    a\n  </li>\n</ul>", "<ul>\n  ⟦<li>\n    a\n  </li>⟧\n</ul>\n"),
        ("yaml", "a:\n  ¦\nb:\n", "c: 1\n  d: 2\nb:\n", "a:\n  ⟦c: 1\n  d: 2⟧\nb:\n"),
        (
            "python",
            "class A:\n    ¦\n\n    def g(self): ...\n",
            "@cached\n    def f(self):\n        return 1\n\n    def g(self): ...",
            "class A:\n    ⟦@cached\n    def f(self):\n        return 1⟧\n\n    def g(self): ...\n",
        ),
        # Trailing white space and blank lines go.
        ("python", "def f():\n    ¦\n", "a()\n    \n\n", "def f():\n    ⟦a()⟧\n"),
    ],
)
def test_blocks(language, marked, model, expected):
    assert result(language, marked, model, BLOCK) == expected


def test_crlf_files_get_crlf():
    assert result("python", "def f():\r\n    ¦\r\n", "a()\n    b()\n", BLOCK) == "def f():\r\n    ⟦a()\r\n    b()⟧\r\n"
    assert result("c", "if (¦)\r\n{\r\n", "a) {", LINE) == "if (⟦a) {⟧\r\n{\r\n"
    assert result("python", "foo(¦)\r\n", "a)\r\n", LINE) == "foo(⟦a⟧)\r\n"


def test_half_a_line_is_left_out_of_a_block():
    marked, model = "def f():\n    ¦\n", "a()\n    b()\n    retu"
    assert result("python", marked, model, BLOCK, truncated=True) == "def f():\n    ⟦a()\n    b()⟧\n"
    assert result("python", marked, "retu", BLOCK, truncated=True) == "def f():\n    ⟦retu⟧\n"


@pytest.mark.parametrize(
    ("language", "marked", "model", "reason"),
    [
        ("python", "x = ¦\n", "", "empty"),
        ("python", "x = ¦\n", "   \n\n", "empty"),
        ("python", "x = 1¦\n", "\n\n\n", "line end"),
        ("python", "foo(¦)\n", ")", "nothing new"),
        ("python", "foo(bar(¦))\n", "))", "nothing new"),
        ("javascript", "foo(() => {\n  ¦\n});\n", "});", "closed below"),
        ("python", "def f():\n    ¦\n    return x\n", "return x", "nothing new"),
        ("python", "x = ¦ + c\n", "+ c", "nothing new"),
        ("python", "a = 1\n¦\n", "b", "too little"),
        ("markdown", "# Title\n¦\n", "=====", "too little"),
    ],
)
def test_nothing_worth_showing(language, marked, model, reason):
    assert why_not(language, marked, model) == reason


@pytest.mark.parametrize(
    ("marked", "model", "expected"),
    [
        ("x = a ¦ b\n", "+", "x = a ⟦+⟧ b\n"),
        ("    return a +¦\n", " b", "    return a +⟦ b⟧\n"),
        ("f(a¦\n", ")", "f(a⟦)⟧\n"),
    ],
)
def test_a_single_character_may_be_all_that_is_missing(marked, model, expected):
    assert result("python", marked, model) == expected


def test_a_copy_of_the_lines_above_is_no_idea():
    lines = "a = load(1)\nb = load(2)\nc = load(3)\n"
    assert why_not("python", lines + "¦\n", lines, BLOCK) == "copy of the lines above"
    assert result("python", lines + "¦\n", "d = load(4)\ne = load(5)\nf = load(6)\n", BLOCK) is not None
    assert result("python", "a = load(1)\n¦\n", "a = load(1)\n", BLOCK) is not None, "one line may repeat"


def test_an_edit_is_none_or_has_a_reason():
    assert clean("", "x", "", "python", LINE) is None
    assert examine("y", "x = 1\n", "", "python", LINE).edit is None
    assert examine("yes", "x = ", "", "python", LINE) == examine("yes", "x = ", "", "python", LINE)
    assert clean("yes", "x = ", "", "python", LINE) == Edit("yes", 0)


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("a, b)", ")", "a, b"),
        ("f(a)", ")", "f(a)"),
        ("return x\n}", "\n}", "return x"),
        ("if a {\n}", "\n}", "if a {\n}"),
        ("a\n    return x\n", "\n    return x\n", "a"),
        ("a\n    return x", "\n\n  return  x\n", "a\n    return x"),
        ("a\n    return compute(x)", "\n\n  return  compute(x)\n", "a"),
        ("retur", "n", "retur"),
        ("return", "n + 1", "return"),
        ("a + b", " + b", "a"),
        ("a;", ";", "a"),
        ("std:", "::string", "std:"),
        ("", "abc", ""),
        ("abc", "", "abc"),
        # Peers compare a trimmed suffix with untrimmed output and miss this.
        ("foo(a)\n  bar(b)\n", "\n\n  bar(b)\n", "foo(a)"),
    ],
)
def test_drop_suffix_overlap(text, suffix, expected):
    assert drop_suffix_overlap(text, suffix) == expected


@pytest.mark.parametrize(
    ("text", "before", "language", "expected"),
    [
        ("    return 1", "def f():\n    ", "python", "return 1"),
        ("return 1", "def f():\n    ", "python", "return 1"),
        ("        b", "if a:\n    ", "python", "b"),
        ("  b", "foo(\n    ", "python", "  b"),
        ("    b", "foo(\n    ", "python", "b"),
        ("a\n    b", "\tx\n\t", "python", "a\n\tb"),
        ("a\n\tb", "  x\n    y\n  ", "python", "a\n  b"),
        ("a\n    b", "x\n", "go", "a\n\tb"),
        ("a\n    b", "x\n", "python", "a\n    b"),
        ("a,\n     b", "\tfoo(", "c", "a,\n\t b"),
    ],
)
def test_fix_indentation(text, before, language, expected):
    assert fix_indentation(text, before, language) == expected


_code = st.text(st.sampled_from("ab \n\n\t\r(){}[]:;,'\"#/<>=é😀"), max_size=50)
_words = st.lists(
    st.sampled_from(
        ["def f():", "}", "} else {", "end", "else:", "x = 1", "    ", "\n", "\r\n", "\n\t", "foo(", ")", "{"]
    ),
    max_size=14,
).map("".join)
_any = _code | _words
_languages = st.sampled_from(
    ["python", "javascript", "ruby", "html", "yaml", "go", "markdown", "shellscript", "clojure"]
)


@given(_any, _any)
def test_overlap_removes_only_what_the_suffix_has(text, suffix):
    kept = drop_suffix_overlap(text, suffix)
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert plain.startswith(kept)
    removed = "".join(plain[len(kept) :].split())
    assert "".join(suffix.split()).startswith(removed)


@given(_languages, _any, _any, _any, st.sampled_from(list(Shape)), st.booleans())
def test_an_edit_stays_on_its_line_and_shows_something(language, before, after, model, shape, truncated):
    edit = clean(model, before, after, language, shape, truncated=truncated)
    if edit is None:
        assert examine(model, before, after, language, shape, truncated=truncated).reason
        return
    assert edit.text.strip()
    rest = after[: min((after + "\n").index("\n"), (after + "\r").index("\r"))]
    assert 0 <= edit.replace_after <= len(rest)
    visible = "".join(edit.text.split())
    assert "".join(model.split()).startswith(visible), "nothing is invented but white space"
    if "\r" not in before + after:
        assert "\r" not in edit.text


@given(_languages, _any, _any, _any)
def test_cleaning_again_changes_nothing_more(language, before, after, model):
    """A line that was cleaned once is what it is (blocks may be read differently without what followed)."""
    edit = clean(model, before, after, language, LINE)
    if edit is not None and not edit.replace_after and "\n" not in edit.text and "\r" not in edit.text:
        again = clean(edit.text, before, after, language, LINE)
        assert again is None or edit.text.startswith(again.text)
