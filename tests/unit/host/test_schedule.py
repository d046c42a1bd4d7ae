"""The newest job of a client counts, clients take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.host.schedule import FairQueue


def test_newest_replaces_and_keeps_the_turn():
    queue = FairQueue()
    assert queue.put("a", 1) is None
    assert queue.put("b", 2) is None
    assert queue.put("a", 3) == 1
    assert [queue.take(), queue.take(), queue.take()] == [3, 2, None]


def test_served_client_goes_to_the_back():
    queue = FairQueue()
    queue.put("a", 1)
    queue.put("b", 2)
    assert queue.take() == 1
    queue.put("a", 3)
    assert [queue.take(), queue.take()] == [2, 3]


def test_remove_is_about_one_job():
    """A job that was replaced is not what waits now."""
    queue = FairQueue()
    first, second = object(), object()
    queue.put("a", first)
    queue.put("a", second)
    assert not queue.remove("a", first)
    assert "a" in queue
    assert queue.remove("a", second)
    assert "a" not in queue


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_every_job_comes_out_once(steps):
    """Replaced, taken or cleared; never more than one waiting a client; no client waits behind one served twice."""
    queue, put, out = FairQueue(), [], []
    for number, (client, take) in enumerate(steps):
        put.append(number)
        replaced = queue.put(client, number)
        if replaced is not None:
            out.append(replaced)
        assert len(queue) <= 3
        if take:
            out.append(queue.take())
    out += queue.clear()
    assert sorted(out) == put
    assert len(queue) == 0
