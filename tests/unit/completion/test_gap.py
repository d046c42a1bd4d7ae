r"""When what was generated for one place says something about another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coder_lsp.completion.gap import Gap, without_closers
from coder_lsp.types import CompletionRequest

REQUEST = CompletionRequest("file:///a.py", "x = f()\nrest\n", 6, "python", "a.py", "/w")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (")\nrest", "\nrest"),
        ('")\nrest', "\nrest"),
        ("\n}\nrest", "\nrest"),
        ("\n    })\n}\nrest", "}\nrest"),
        (") + b\nrest", " + b\nrest"),
        (")", ""),
        ("", "\n"),
    ],
)
def test_closers_that_editors_add_make_no_difference(one, other):
    assert without_closers(one) == without_closers(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\nrest", "rest"),
        ('"abc"', "abc"),
        (", b)", "b)"),
        ("\nrest", "\nother"),
        ("\n    rest", "\nrest"),
        ("\nend\nrest", "\nrest"),
        ('\n"""\nrest', "\nrest"),
        (" b", "b"),
    ],
)
def test_everything_else_does(one, other):
    assert without_closers(one) != without_closers(other)


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "file:///b.py"},
        {"language": "ruby"},
        {"path": "b.py"},
        {"root": "/v"},
        {"max_tokens": 3},
        {"text": "x = f()\nRest\n"},
    ],
)
def test_another_document_or_text_below_is_another_place(change):
    assert Gap.of(replace(REQUEST, **change)).key != Gap.of(REQUEST).key


def test_the_model_sees_line_breaks_of_one_kind():
    gap = Gap.of(replace(REQUEST, text="a\r\nb\r\nc", cursor=3))
    assert (gap.prefix, gap.suffix, gap.before) == ("a\n", "b\nc", "a\r\n")
    assert gap.line == 1


def test_a_gap_shows_no_text():
    assert "rest" not in repr(Gap.of(REQUEST))
