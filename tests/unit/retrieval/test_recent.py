"""Where the user was: what is kept, how it moves with the text, and how it fades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.retrieval.recent import EDITED, HALF_LIFE_S, JOIN_LINES, LONGEST_LINES, MOST_RANGES, VIEWED, RecentRanges


def ranges(recent, now=0.0, file=None):
    """(file, start, end) of everything, the latest first."""
    return [(each.file, each.start_line, each.end_line) for each in recent.elsewhere(file, now)]


def test_edits_count_more_than_views_and_both_less_than_a_search_can():
    recent = RecentRanges()
    recent.viewed("a", 0, 5, 0.0)
    recent.edited("b", 3, 4, 4, 0.0)
    assert [(each.file, each.weight) for each in recent.elsewhere(None, 0.0)] == [("b", EDITED), ("a", VIEWED)]
    assert VIEWED < EDITED < 0.5


def test_the_file_that_is_asked_for_is_left_out():
    recent = RecentRanges()
    recent.edited("a", 3, 4, 4, 0.0)
    recent.edited("b", 3, 4, 4, 1.0)
    assert ranges(recent, file="b") == [("a", 3, 4)]


def test_a_weight_halves_every_five_minutes_until_it_is_forgotten():
    recent = RecentRanges()
    recent.edited("a", 3, 4, 4, 100.0)
    [each] = recent.elsewhere(None, 100.0 + 2 * HALF_LIFE_S)
    assert each.weight == pytest.approx(EDITED / 4)
    assert recent.elsewhere(None, 100.0 + 10 * HALF_LIFE_S) == []


def test_a_clock_that_went_back_makes_nothing_heavier():
    recent = RecentRanges()
    recent.edited("a", 3, 4, 4, 100.0)
    assert recent.elsewhere(None, 0.0)[0].weight == EDITED


def test_near_ranges_of_a_file_become_one_and_far_ones_stay_apart():
    recent = RecentRanges()
    recent.edited("a", 20, 21, 21, 0.0)
    recent.edited("a", 21 + JOIN_LINES, 22 + JOIN_LINES, 22 + JOIN_LINES, 0.0)
    assert ranges(recent) == [("a", 20, 22 + JOIN_LINES)]
    recent.edited("a", 100, 101, 101, 0.0)
    recent.edited("b", 20, 21, 21, 0.0)
    assert ranges(recent) == [("b", 20, 21), ("a", 100, 101), ("a", 20, 22 + JOIN_LINES)]


def test_a_look_at_what_was_edited_does_not_make_it_lighter():
    recent = RecentRanges()
    recent.edited("a", 20, 21, 21, 0.0)
    recent.viewed("a", 18, 24, HALF_LIFE_S)
    [each] = recent.elsewhere(None, HALF_LIFE_S)
    assert (each.start_line, each.end_line, each.weight) == (18, 24, pytest.approx(EDITED / 2))


def test_a_range_that_grows_keeps_the_lines_around_the_latest_change():
    recent = RecentRanges()
    for line in range(200):
        recent.edited("a", line, line + 1, line + 1, 0.0)
    [(_, start, end)] = ranges(recent)
    assert end - start <= LONGEST_LINES
    assert start <= 199 < end


def test_an_edit_of_a_whole_file_moves_ranges_and_is_none():
    recent = RecentRanges()
    recent.edited("a", 500, 501, 501, 0.0)
    recent.edited("a", 0, 100, 130, 0.0)
    assert ranges(recent) == [("a", 530, 531)]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ((0, 1, 4), (53, 56)),  # three lines more above
        ((0, 11, 1), (40, 43)),  # ten less
        ((80, 81, 90), (50, 53)),  # below
        ((50, 50, 52), (52, 55)),  # inserted right above
        ((53, 53, 55), (50, 53)),  # right below
        ((51, 52, 54), (50, 55)),  # inside
        ((48, 51, 48), (48, 50)),  # its first line gone
        ((52, 60, 52), (50, 52)),  # its last one
    ],
)
def test_a_range_moves_with_its_lines(edit, expected):
    recent = RecentRanges()
    recent.viewed("a", 50, 53, 0.0)
    recent.viewed("b", 50, 53, 0.0)
    recent._move("a", *edit)
    assert ranges(recent) == [("b", 50, 53), ("a", *expected)]


def test_a_range_goes_when_its_lines_go():
    recent = RecentRanges()
    recent.viewed("a", 50, 53, 0.0)
    recent.edited("a", 45, 60, 45, 0.0)
    assert ranges(recent) == [("a", 45, 46)]


def test_only_the_latest_are_kept():
    recent = RecentRanges()
    for number in range(3 * MOST_RANGES):
        recent.edited(number, 0, 1, 1, float(number))
    assert [file for file, _, _ in ranges(recent)] == list(range(3 * MOST_RANGES))[: -MOST_RANGES - 1 : -1]


edits = st.tuples(st.sampled_from("ab"), st.integers(0, 80), st.integers(0, 50), st.integers(0, 50))


@given(st.lists(edits, max_size=60))
def test_whatever_is_edited_ranges_stay_few_short_and_not_empty(done):
    recent = RecentRanges()
    for now, (file, start, old, new) in enumerate(done):
        recent.edited(file, start, start + old, start + new, float(now))
    found = recent.elsewhere(None, float(len(done)))
    assert len(found) <= MOST_RANGES
    assert all(0 <= each.start_line < each.end_line for each in found)
    assert all(0 < each.weight <= EDITED for each in found)
