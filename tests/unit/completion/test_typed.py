r"""What is left of a generated text behind what was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.typed import Rest, follow

CODE = st.text("ab(): =.\n\t ", max_size=40)


@given(CODE, st.data())
def test_a_beginning_leaves_the_rest(generated, data):
    at = data.draw(st.integers(0, len(generated)))
    assert follow(generated, generated[:at]) == Rest(generated[at:])


@given(CODE, CODE)
def test_text_beyond_what_there_is_agrees_with_all_of_it(generated, more):
    rest = follow(generated, generated + more)
    assert rest == Rest("", ahead=bool(more))


@given(st.text("ab(): ", min_size=1, max_size=20), st.data())
def test_another_character_is_another_idea(line, data):
    at = data.draw(st.integers(0, len(line) - 1))
    assert follow(line, line[:at] + "x") is None


@given(CODE, CODE)
def test_what_is_left_was_generated(generated, typed):
    """Never invents: what is left is an end of what was generated, but for the indentation of its first line."""
    rest = follow(generated, typed)
    if rest is not None and not rest.ahead:
        assert generated.endswith((rest.text, rest.text.lstrip()))


@given(CODE, st.data())
def test_what_agrees_with_a_part_agrees_while_it_grows(typed, data):
    """A stream that a request follows is not given up because more of the same text comes."""
    at = data.draw(st.integers(0, len(typed)))
    assert follow(typed[:at], typed) is not None


@pytest.mark.parametrize(
    ("generated", "typed", "rest"),
    [
        ("a = 1\n\n    b = 2", "a = 1\n    ", "b = 2"),
        ("a = 1\n\n    b = 2", "a = 1\n    b", " = 2"),
        ("a = 1\n\n    b = 2\n    c", "a = 1\n    b = 2\n    ", "c"),
        ("if a:\n    b", "if a:\n\t", "b"),
        ("if a:\n    b", "if a:\n\tb", ""),
        ("if a:\n        b", "if a:\n\t", "    b"),
    ],
)
def test_what_the_editor_inserts_at_a_line_break_is_not_the_users_idea(generated, typed, rest):
    assert follow(generated, typed) == Rest(rest)


@pytest.mark.parametrize(
    ("generated", "typed"),
    [
        ("a\n    b", "a\n        "),
        ("a\n    b", "a\nb"),
        ("a\n    b\n", "a\n    c\n"),
        ("a\n    b", "a\n\n    b"),
        ("ab\n", "a\n"),
        ("a\n    b\n    c", "a\n    b d\n    "),
    ],
)
def test_a_line_that_differs_ends_it(generated, typed):
    assert follow(generated, typed) is None


@pytest.mark.parametrize(
    ("generated", "typed"),
    [
        ("a\n", "a\n    b"),
        ("a\n\n", "a\n    b"),
        ("a\n\n  ", "a\n    b"),
        ("a\n\n    b", "a\n    bc"),
        ("a", "a\n    "),
    ],
)
def test_lines_that_are_not_there_yet_may_still_agree(generated, typed):
    assert follow(generated, typed) == Rest("", ahead=True)
