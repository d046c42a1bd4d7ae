"""What the indexing thread is asked, in which order, and when all of it is done."""

from __future__ import annotations

import threading
import time

import pytest

from coder_lsp.retrieval.inbox import Inbox, Urgency
from coder_lsp.retrieval.progress import Progress, Reporter


def test_the_urgent_comes_first_and_equals_in_order():
    inbox, done = Inbox(), []
    for urgency, word in ((Urgency.RESULT, "r"), (Urgency.NEWS, "n1"), (Urgency.NOW, "now"), (Urgency.NEWS, "n2")):
        inbox.post(urgency, done.append, word)
    while inbox.do_next(wait=False):
        pass
    assert done == ["now", "n1", "n2", "r"]


def test_settled_means_that_all_that_was_posted_is_done():
    inbox = Inbox()
    inbox.post(Urgency.NEWS, lambda: None)
    inbox.settle()
    assert not inbox.wait_settled(0)
    inbox.do_next(wait=False)
    assert not inbox.wait_settled(0)
    inbox.settle()
    assert inbox.wait_settled(0)
    inbox.post(Urgency.NEWS, lambda: None)
    assert not inbox.wait_settled(0)


def test_an_action_that_raises_counts_as_done():
    inbox = Inbox()
    inbox.post(Urgency.NEWS, [].pop)
    with pytest.raises(IndexError):
        inbox.do_next(wait=False)
    inbox.settle()
    assert inbox.wait_settled(0)


def test_nobody_waits_for_a_thread_that_has_ended():
    inbox = Inbox()
    inbox.post(Urgency.NEWS, lambda: None)
    threading.Timer(0.05, inbox.end).start()
    began = time.monotonic()
    assert not inbox.wait_settled(60)
    assert time.monotonic() - began < 30


def test_waiting_for_an_action_ends_with_one():
    inbox, done = Inbox(), []
    threading.Timer(0.05, inbox.post, (Urgency.RESULT, done.append, 1)).start()
    assert inbox.do_next(wait=True, timeout_s=60)
    assert done == [1]
    assert not inbox.do_next(wait=True, timeout_s=0.01)


def test_progress_is_told_now_and_then_and_at_the_end():
    told = []
    reporter = Reporter(told.append)
    reporter.tell(walking=False, finished=True)
    assert told == []
    reporter.begin(100)
    for _ in range(100):
        reporter.end()
        reporter.tell(walking=True, finished=False)
    reporter.tell(walking=False, finished=True)
    assert told[0] == Progress(1, 100, walking=True, finished=False)
    assert told[-1] == Progress(100, 100, walking=False, finished=True)
    assert len(told) < 50
    count = len(told)
    reporter.tell(walking=False, finished=True)
    assert len(told) == count
    reporter.begin(1)
    reporter.end()
    reporter.tell(walking=False, finished=True)
    assert told[-1] == Progress(1, 1, walking=False, finished=True)
