"""From what a model answers to code that fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.answer import code_of, declares, fit, indent_at, indent_of_declaration


@pytest.mark.parametrize(
    ("answer", "begun", "code"),
    [
        ("x = 1\n```\nThis sets x.", True, "x = 1"),
        ("Here it is:\n```python\nx = 1\n```\nDone.", False, "x = 1"),
        ("1. Plan\n2. Write\n\n```py\nx = 1\ny = 2\n```", False, "x = 1\ny = 2"),
        ("x = 1", True, "x = 1"),
        ("x = 1\n", False, "x = 1"),
        ("    ```python\n    x\n    ```", False, "    x"),
    ],
)
def test_the_code_is_what_stands_in_the_first_fence(answer, begun, code):
    assert code_of(answer, begun=begun, done=True) == code


@given(st.text(alphabet="`x\n ", max_size=40), st.booleans())
def test_what_is_code_so_far_stays_code(answer, begun):
    """A preview may end early, and never shows what is taken back but for the line that is being written."""
    whole = code_of(answer, begun=begun, done=True)
    for end in range(len(answer)):
        so_far = code_of(answer[:end], begun=begun, done=False).rpartition("\n")[0]
        assert so_far == "" or whole.startswith(so_far) or (not begun and "```" not in answer)


def test_lines_are_indented_as_the_place_is():
    assert fit("if x:\n    y()\n\nz()", before="", after="", indent="    ") == "    if x:\n        y()\n\n    z()"
    assert fit("    if x:\n        y()", before="", after="", indent="") == "if x:\n    y()"


def test_a_file_with_tabs_gets_tabs():
    before = "func f() {\n\tif x {\n\t\ty()\n"
    assert fit("if a {\n    b()\n}", before=before, after="", indent="\t") == "\tif a {\n\t\tb()\n\t}"


def test_what_the_file_has_above_is_not_written_again():
    before = "def f(x):\n    # the square\n"
    assert fit("def f(x):\n    # the square\n    return x * x", before=before, after="", indent="    ") == (
        "    return x * x"
    )


def test_what_the_file_has_below_is_not_written_again():
    after = "\n    return total\n"
    code = "for x in items:\n    total += x\nreturn total"
    assert fit(code, before="", after=after, indent="    ") == "    for x in items:\n        total += x"


def test_a_lone_closer_that_stands_below_is_this_codes_own():
    assert fit("if (x) {\n    y();\n}", before="", after="}\n", indent="") == "if (x) {\n    y();\n}"


@pytest.mark.parametrize("code", ["def f():", "@cache\ndef f():", "async def f():", "pub fn f()", "export class A {"])
def test_functions_and_classes_declare(code):
    assert declares(f"\n{code}\n    ...")


@pytest.mark.parametrize("code", ["x = 1", "return f()", "define = 2", "# def f"])
def test_statements_do_not(code):
    assert not declares(code)


def test_a_function_goes_beside_the_one_around_it():
    above = "class A:\n    def f(self):\n        return 1"
    assert indent_of_declaration(above, "        ") == "    "
    assert indent_of_declaration("x = 1", "") == ""


def test_indentation_of_a_blank_line_is_what_is_typed():
    text = "def f():\n    \n    x\n"
    assert indent_at(text, 11) == "  "
    assert indent_at(text, 15) == "    "
