"""Line starts: only LSP's three line ends count, and an edit moves them as reading the whole text again would."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from coder_lsp.documents.lines import line_starts, moved_line_starts

# Few characters, so that line ends meet; each of the last three splits for str.splitlines and must not here.
text_of_lines = st.text(alphabet="\r\n\r\nab\x0c\x85\u2028", max_size=24)


def naive_line_starts(text: str) -> tuple[int, ...]:
    starts, at = [0], 0
    while at < len(text):
        if text[at] == "\r" and text[at + 1 : at + 2] == "\n":
            at += 1
            starts.append(at + 1)
        elif text[at] in "\r\n":
            starts.append(at + 1)
        at += 1
    return tuple(starts)


def test_each_line_end_of_lsp_counts_once() -> None:
    assert line_starts("a\r\nb\rc\nd") == (0, 3, 5, 7)


def test_an_empty_text_has_one_line() -> None:
    assert line_starts("") == (0,)


def test_form_feed_nel_and_line_separator_end_no_line() -> None:
    assert line_starts("a\x0cb\x85c\u2028d") == (0,)


@given(text_of_lines)
def test_line_starts_are_those_found_by_hand(text: str) -> None:
    assert line_starts(text) == naive_line_starts(text)


@given(text_of_lines, st.integers(0, 24), st.integers(0, 24), text_of_lines)
@example("a\rb", 2, 2, "\n")
@example("a\r\nb", 2, 3, "")
@example("a\r\nb", 2, 2, "x")
@example("a\nb", 1, 1, "\r")
@example("\n\n", 0, 1, "\r")
def test_an_edit_moves_line_starts_as_reading_the_whole_text_would(text: str, a: int, b: int, new: str) -> None:
    start, end = sorted((min(a, len(text)), min(b, len(text))))
    edited = text[:start] + new + text[end:]
    assert moved_line_starts(line_starts(text), edited, start, end, start + len(new)) == naive_line_starts(edited)
