"""When a server is not asked: after failures, while it rests, over the limit. The clock is the test's."""

from __future__ import annotations

import pytest

from coder_lsp.engine.remote_limits import Breaker, RateLimit
from coder_lsp.errors import RemoteBusy, RemoteRefused, RemoteRejected, RemoteResting, RemoteUnreachable

ABSENT = RemoteUnreachable("http://there:1 cannot be reached: refused")
BROKE = RemoteUnreachable("http://there:1 broke off")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock)


def test_one_failure_or_two_open_nothing(breaker):
    for _ in range(2):
        breaker.enter()
        breaker.failed(BROKE)
    breaker.enter()
    assert not breaker.open
    assert breaker.last is None


def test_three_running_open_it_and_the_reason_is_told(breaker):
    for _ in range(3):
        breaker.enter()
        breaker.failed(BROKE)
    assert breaker.last is BROKE
    with pytest.raises(RemoteResting, match=r"broke off; asked again in 2 s"):
        breaker.enter()


def test_a_success_between_failures_starts_the_count_anew(breaker):
    for _ in range(5):
        breaker.failed(BROKE)
        breaker.failed(BROKE)
        breaker.succeeded()
    assert not breaker.open


@pytest.mark.parametrize("error", [ABSENT, RemoteRefused("refuses the key")])
def test_who_is_absent_or_refuses_us_is_not_asked_twice(breaker, error):
    breaker.failed(error)
    with pytest.raises(RemoteResting):
        breaker.enter()


def test_a_request_that_is_not_taken_says_little_of_the_next(breaker):
    breaker.failed(RemoteRejected("too long"))
    breaker.enter()


def test_after_the_rest_one_tries_and_the_others_wait(breaker, clock):
    breaker.failed(ABSENT)
    clock.now += 2.0
    breaker.enter()
    with pytest.raises(RemoteResting):
        breaker.enter()
    breaker.succeeded()
    breaker.enter()
    breaker.enter()


def test_a_try_that_was_called_off_leaves_the_next_to_another(breaker, clock):
    breaker.failed(ABSENT)
    clock.now += 2.0
    breaker.enter()
    breaker.left()
    breaker.enter()


def test_the_rest_doubles_up_to_a_minute_and_begins_anew_after_success(breaker, clock):
    breaker.failed(ABSENT)
    rests = []
    for _ in range(8):
        began = clock.now
        while True:
            try:
                breaker.enter()
                break
            except RemoteResting:
                clock.now += 1.0
        rests.append(clock.now - began)
        breaker.failed(BROKE)
    assert rests == [2, 4, 8, 16, 32, 60, 60, 60]
    clock.now += 60
    breaker.enter()
    breaker.succeeded()
    breaker.failed(ABSENT)
    clock.now += 2
    breaker.enter()


def test_a_quarter_of_a_minutes_requests_may_come_at_once(clock):
    limit = RateLimit(60, clock)
    for _ in range(15):
        limit.enter()
    with pytest.raises(RemoteBusy, match="60 requests in a minute"):
        limit.enter()


def test_in_an_hour_the_limit_is_kept_and_used(clock):
    limit = RateLimit(30, clock)
    passed = 0
    for _ in range(3600 * 4):
        clock.now += 0.25
        try:
            limit.enter()
            passed += 1
        except RemoteBusy:
            pass
    assert 30 * 60 <= passed <= 30 * 60 + 8


def test_no_limit_is_no_limit(clock):
    limit = RateLimit(0, clock)
    for _ in range(10_000):
        limit.enter()


def test_the_smallest_limit_still_lets_one_pass(clock):
    limit = RateLimit(1, clock)
    limit.enter()
    with pytest.raises(RemoteBusy):
        limit.enter()
    clock.now += 60
    limit.enter()
