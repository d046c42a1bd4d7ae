"""Where a suggestion ends. ``¦`` marks the cursor; the model's text is what would stream in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.postprocess import StopRule
from coder_lsp.types import Shape

LINE, BLOCK = Shape.LINE, Shape.BLOCK


def stop(language: str, marked: str, model: str, shape: Shape = BLOCK, **options) -> tuple[str, str]:
    """(kept text, reason)."""
    before, _, after = marked.partition("¦")
    rule = StopRule(before, after, language, shape, **options)
    rule.feed(model)
    return rule.finish(), rule.reason


@pytest.mark.parametrize(
    ("language", "marked", "model", "kept"),
    [
        ("python", "x = ¦\n", "foo(1)\ny = 2\n", "foo(1)"),
        ("python", "x = ¦\n", "foo(1)", "foo(1)"),
        # The line is complete: a line break and one line, after at most one blank line.
        ("python", "x = 1¦\n", "\ny = 2\nz = 3\n", "\ny = 2"),
        ("python", "x = 1¦\n", "\n\ny = 2\nz = 3\n", "\n\ny = 2"),
        ("python", "x = 1¦\n", "\n\n\n\ny = 2", ""),
        # … unless that line is the next one already.
        ("python", "x = 1¦\ny = 2\n", "\ny = 2\nz", ""),
        # In front of something a line break ends it.
        ("python", "foo(¦)\n", "\n    a,\n", ""),
        # On a blank line leading line breaks say nothing.
        ("python", "def f():\n    ¦\n", "\n    return 1\n", "    return 1"),
        ("python", "def f():\n    if x:\n        y()\n        ¦\n", "\n    return 1\n", ""),
        # A bracket that a line below closes is not the line's.
        ("python", "foo(\n    a,\n    b¦\n)\n", ")\n", ""),
        ("javascript", "  if (a) {\n    x();\n  ¦\n  }\n", "} else {\n", "} else {"),
        # One that is open and closed nowhere is.
        ("python", "foo(\n    a,\n    b¦\n", ")\n", ")"),
    ],
)
def test_line(language, marked, model, kept):
    assert stop(language, marked, model, LINE)[0] == kept


PY_BODY = "def f(a):\n    ¦\n"


@pytest.mark.parametrize(
    ("language", "marked", "model", "kept", "reason"),
    [
        # Dedent ends it, blank lines inside do not: peers stop at the first blank line.
        ("python", PY_BODY, "b = a\n\n    return b\n\n\ndef g():\n    pass\n", "b = a\n\n    return b", "dedent"),
        ("python", "def f(a):¦\n", "\n    return a\n\nx = 1\n", "\n    return a", "dedent"),
        ("python", "def f(a):\n¦\n", "    return a\nx = 1\n", "    return a", "dedent"),
        # Three columns are as good as four: peers assume even indents.
        ("python", "def f(a):\n   ¦\n", "if a:\n      b()\n   c()\n  d()\n", "if a:\n      b()\n   c()", "dedent"),
        ("python", "class A:\n  def f(a):\n    ¦\n", "x()\n  def g(a):\n    y()\n", "x()", "dedent"),
        # else belongs to the if, unless the text below has it.
        (
            "python",
            "    if a:\n        ¦\n",
            "b()\n    else:\n        c()\n    d()\n",
            "b()\n    else:\n        c()",
            "dedent",
        ),
        (
            "python",
            "    if a:\n        ¦\n    else:\n        c()\n",
            "b()\n    else:\n        d()\n",
            "b()",
            "goes on below",
        ),
        ("python", "    try:\n        ¦\n        b()\n", "a()\n    except E:\n", "a()", "block goes on below"),
        # The closing brace is owed …
        ("javascript", "function f() {¦\n", "\n  return 1;\n}\n\nf();\n", "\n  return 1;\n}", "block closed"),
        ("go", "func f() int {\n\t¦\n", "return 1\n}\n\nfunc g() {\n", "return 1\n}", "block closed"),
        # … or there already.
        ("javascript", "function f() {\n  ¦\n}\n", "return 1;\n}\n\nf();\n", "return 1;", "closed below"),
        ("javascript", "function f() {¦}", "\n  return 1;\n}\n", "\n  return 1;", "closed below"),
        ("javascript", "foo(() => {¦})\n", "\n  a();\n})\nb();\n", "\n  a();", "closed below"),
        # Whose brace is below? The class's, by its indentation; the method's is owed.
        ("java", "class A {\n    void f() {\n        ¦\n}\n", "g();\n    }\n}\n", "g();\n    }", "closed below"),
        (
            "java",
            "class A {\n    void f() {\n        ¦\n    }\n}\n",
            "g();\n    }\n\n    void h() {\n",
            "g();",
            "closed below",
        ),
        # } else { takes no brace from below.
        (
            "c",
            "int f() {\n    if (a) {\n        ¦\n    }\n}\n",
            "b();\n    } else {\n        c();\n    }\n    d();\n",
            "b();\n    } else {\n        c();",
            "closed below",
        ),
        ("c", "if (a) {\n    ¦\n} else {\n    c();\n}\n", "b();\n} else {\n    d();\n}\n", "b();", "goes on below"),
        (
            "java",
            "try {\n  ¦\n",
            "a();\n} catch (E e) {\n  b();\n}\nc();\n",
            "a();\n} catch (E e) {\n  b();\n}",
            "block closed",
        ),
        (
            "c",
            "switch (a) {¦\n}\n",
            "\ncase 1:\n    b();\n    break;\n}\n",
            "\ncase 1:\n    b();\n    break;",
            "closed below",
        ),
        (
            "c",
            "int f() {\n    ¦\n}\n",
            "a();\n#ifdef B\n    b();\n#endif\n}\n",
            "a();\n#ifdef B\n    b();\n#endif",
            "closed below",
        ),
        ("csharp", "void F()\n{\n    ¦\n}\n", "G();\n}\n\nvoid H()\n{\n", "G();", "closed below"),
        (
            "rust",
            "fn f<'a>(x: &'a str) -> char {\n    ¦\n}\n",
            "let c = '}';\n    c\n}\n",
            "let c = '}';\n    c",
            "closed below",
        ),
        # Brackets in strings and comments do not count.
        ("javascript", "function f() {\n  ¦\n}\n", "a('}'); // }\n  b();\n}\n", "a('}'); // }\n  b();", "closed below"),
        # Words that close, owed or there.
        ("ruby", "def f(x)¦\n", "\n  x + 1\nend\n\ndef g\n", "\n  x + 1\nend", "block closed"),
        ("ruby", "def f(x)\n  ¦\nend\n", "x + 1\nend\n\ndef g\n", "x + 1", "closed below"),
        ("lua", "local function f()\n\t¦\nend\n", "return 1\nend\n", "return 1", "closed below"),
        ("lua", "if a then¦\n", "\n  b()\nelse\n  c()\nend\nd()\n", "\n  b()\nelse\n  c()\nend", "block closed"),
        ("shellscript", "for f in *; do\n  ¦\n", 'echo "$f"\ndone\necho x\n', 'echo "$f"\ndone', "block closed"),
        ("elixir", "def f(x) do\n  ¦\nend\n", "x\nend\n", "x", "closed below"),
        # Tags.
        ("html", "<ul>\n  ¦\n</ul>\n", "<li>a</li>\n</ul>\n<p>\n", "<li>a</li>", "closed below"),
        ("html", "<ul>\n  ¦\n", "<li>a</li>\n</ul>\n<p>b</p>\n", "<li>a</li>\n</ul>", "block closed"),
        # Data.
        ("yaml", "a:\n  ¦\nc: 1\n", "b: 1\n  d: 2\nc: 3\n", "b: 1\n  d: 2", "dedent"),
        ("json", '{\n  "a": {\n    ¦\n  }\n}\n', '"b": 1\n  },\n  "c": 2\n', '"b": 1', "closed below"),
        # One definition is enough in a class or a file; decorators belong to theirs.
        (
            "python",
            "class A:\n    ¦\n",
            "@property\n    def f(self):\n        return 1\n\n    @property\n    def g(self):\n",
            "@property\n    def f(self):\n        return 1",
            "next definition",
        ),
        ("python", "¦\n", "def f():\n    pass\n\n\ndef g():\n    pass\n", "def f():\n    pass", "next definition"),
        # … a function may have functions of its own.
        (
            "python",
            "def f():\n    ¦\n",
            "import re\n\n    def g():\n        pass\n",
            "import re\n\n    def g():\n        pass",
            "",
        ),
        # The text below begins.
        (
            "python",
            "def f():\n    ¦\n    total = sum(x)\n    return total\n",
            "x = g()\n    total = sum(x)\n    return total\n",
            "x = g()",
            "the text below begins",
        ),
        # Repetition: one copy stays.
        ("python", "def f():\n    ¦\n", "a(1)\n    a(2)\n    a(2)\n    a(2)\n", "a(1)\n    a(2)", "repetition"),
        (
            "python",
            "def f():\n    ¦\n",
            "one(a)\n    two(b)\n    one(a)\n    two(b)\n    c",
            "one(a)\n    two(b)",
            "repetition",
        ),
        ("python", "def f():\n    ¦\n", "a()\n\n\n\n    b()\n", "a()", "blank lines"),
        # A docstring's lines may stand anywhere.
        (
            "python",
            "def f():\n    ¦\n",
            '"""Doc.\n\nat column 0\n    """\n    return 1\nx\n',
            '"""Doc.\n\nat column 0\n    """\n    return 1',
            "dedent",
        ),
        # Prose has no brackets.
        ("markdown", "- one\n- ¦\n", "two :)\n- three (3)\n", "two :)\n- three (3)", ""),
    ],
)
def test_block(language, marked, model, kept, reason):
    assert stop(language, marked, model) == (kept, reason)


def test_never_more_lines_than_allowed():
    model = "".join(f"a({i})\n    " for i in range(100))
    kept, reason = stop("python", "def f():\n    ¦\n", model)
    assert (kept.count("\n"), reason) == (23, "enough lines")
    assert stop("python", "def f():\n    ¦\n", model, max_lines=3)[0] == "a(0)\n    a(1)\n    a(2)"


def test_an_endless_line_is_cut():
    kept, reason = stop("python", "x = ¦\n", "1 + " * 1_000, LINE)
    assert len(kept) <= 500
    assert reason in {"line too long", "line end"}


@pytest.mark.parametrize(
    "unseen", ["\x1b[2J", "\x00", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\U000e0041"], ids=ascii
)
def test_a_line_with_what_nobody_sees_ends_it(unseen):
    assert stop("python", "def f():\n    ¦\n", f"x = 1\n    y = '{unseen}'\n    z = 2\n") == (
        "x = 1",
        "holds what cannot be seen",
    )
    assert stop("python", "x = ¦\n", f"1{unseen}", LINE) == ("", "holds what cannot be seen")


def test_what_other_scripts_need_is_no_such_thing():
    for text in ("'שלום'", "'नमस्ते'", "'👩\u200d💻'", "'e\u0301'", "'\u200f'", "\t1"):
        assert stop("python", "x = ¦\n", text, LINE)[0] == text


def test_feed_says_when_it_is_enough():
    rule = StopRule("def f():\n    ", "\n", "python", BLOCK)
    assert rule.feed("return 1\n")
    assert rule.feed("x")
    assert not rule.feed(" = 1\n")
    assert not rule.feed("ignored")
    assert rule.finish() == rule.finish() == "return 1"


def test_carriage_returns_are_not_kept():
    before, after = "def f():\r\n    ", "\r\n"
    rule = StopRule(before, after, "python", BLOCK)
    rule.feed("a()\r\n    b()\r")
    assert rule.finish() == "a()\n    b()"


_code = st.text(st.sampled_from("ab \n\n\t(){}[]:;'\"#/<>=é"), max_size=60)
_words = st.lists(
    st.sampled_from(
        ["def f():", "}", "} else {", "end", "else:", "x = 1", "    ", "\n", "\n    ", "foo(", ")", "{", "</p>"]
    ),
    max_size=16,
).map("".join)
_languages = st.sampled_from(
    ["python", "javascript", "ruby", "html", "yaml", "c", "markdown", "shellscript", "clojure"]
)


@given(_languages, _code | _words, _code | _words, _words | _code, st.data(), st.sampled_from(list(Shape)))
def test_how_the_text_is_cut_into_pieces_makes_no_difference(language, before, after, model, data, shape):
    whole = StopRule(before, after, language, shape)
    whole.feed(model)
    pieces = StopRule(before, after, language, shape)
    at = 0
    while at < len(model):
        size = data.draw(st.integers(1, 7))
        if not pieces.feed(model[at : at + size]):
            break
        at += size
    assert (pieces.finish(), pieces.reason) == (whole.finish(), whole.reason)


@given(_languages, _code | _words, _code | _words, _code | _words, st.sampled_from(list(Shape)))
def test_what_is_kept_was_written(language, before, after, model, shape):
    """Nothing is invented: the kept text is the model's, from its first visible line on, line for line."""
    rule = StopRule(before, after, language, shape)
    rule.feed(model)
    kept = rule.finish()
    assert "".join(kept.split()) == "".join(model.split())[: len("".join(kept.split()))]
    if shape is LINE:
        assert len([line for line in kept.split("\n") if line.strip()]) <= 1
