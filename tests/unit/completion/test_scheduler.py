"""When a request waits for the next key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.completion.scheduler import MOST_DELAY_S, PAUSE_S, Pace


def typing(gap: float, latency: float, keys: int = 8) -> Pace:
    pace = Pace()
    for number in range(keys):
        pace.key(number * gap)
    pace.answered(latency)
    return pace


def test_a_model_slower_than_fast_keys_is_asked_when_the_burst_is_over():
    assert typing(0.1, 0.4).delay("x = fo") == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("why", "pace"),
    [
        ("answers come between the keys", typing(0.1, 0.08)),
        ("waiting cannot outlast the gap", typing(0.2, 0.4)),
        ("the first keys are no burst", typing(0.1, 0.4, keys=4)),
        ("nothing is known of the model", typing(0.1, 0.0)),
    ],
)
def test_there_is_nothing_to_wait_for(why, pace):
    assert pace.delay("x = fo") == 0.0, why


def test_a_pause_ends_the_burst():
    pace = typing(0.1, 0.4)
    pace.key(0.7 + PAUSE_S + 0.1)
    assert pace.delay("x = fo") == 0.0
    assert pace.pause == pytest.approx(PAUSE_S + 0.1)


@pytest.mark.parametrize("head", ["", "    ", "x = ", "f(", "os."])
def test_where_people_stop_the_wait_is_half(head):
    assert typing(0.1, 0.4).delay(head) == pytest.approx(0.06)


def test_overtaken_answers_count_as_far_as_they_got():
    """Or a model that never answers in time would look as if it had never been slow."""
    pace = typing(0.1, 0.0)
    for _ in range(8):
        pace.overtaken(0.3)
    assert pace.delay("fo") == pytest.approx(0.12)
    before = pace.latency
    pace.overtaken(before / 2)
    assert pace.latency == before


@given(st.lists(st.floats(0, 2), max_size=20), st.lists(st.floats(0, 60), max_size=20), st.text(max_size=5))
def test_the_wait_is_bounded(gaps, latencies, head):
    pace, now = Pace(), 0.0
    for gap in gaps:
        now += gap
        pace.key(now)
    for latency in latencies:
        pace.answered(latency)
    assert 0.0 <= pace.delay(head) <= MOST_DELAY_S
