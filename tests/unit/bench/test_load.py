"""How fair is fair, and what is counted of clients that wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from coder_lsp.bench.load import BURST, Turns, _Client, _figures, fairness, report, turns_in
from coder_lsp.errors import HostUnavailable


@pytest.mark.parametrize(
    ("shares", "index"), [([5, 5, 5, 5], 1), ([1, 0, 0, 0], 0.25), ([0, 0], 1), ([4, 6], 100 / 104)]
)
def test_jains_index(shares, index):
    assert fairness(shares) == pytest.approx(index)


class Window:
    """Answers as it is told: each of ``plan`` is an order in which the requests of one turn are answered."""

    def __init__(self, *plan):
        self.plan = list(plan)
        self.connection = SimpleNamespace(asked=0, answered=0, cancelled=0, failed=0, unexpected=0, open=0)
        self._turn = []

    def suggest(self):
        future = asyncio.get_running_loop().create_future()
        self._turn.append(future)
        self.connection.asked += 1
        if len(self._turn) == len(self.plan[0]):
            turn, order, self._turn = self._turn, self.plan.pop(0), []
            for delay, number in enumerate(order):
                asyncio.get_running_loop().call_later(0.001 * delay, self._answer, turn[number])
        return 0, future

    def _answer(self, future):
        self.connection.answered += 1
        future.set_result({"items": [1]})


async def test_an_older_request_that_is_answered_after_a_newer_one_is_counted():
    client = _Client(Window([0, 1, 2, 3], [3, 0, 1, 2]), trace=None)
    await client._ask(BURST)
    assert client.overtaken == 0
    await client._ask(BURST)
    assert client.overtaken == 3
    assert (len(client.waited_ms), client.with_text) == (2, 2)


async def test_a_refusal_is_an_answer_without_a_suggestion():
    window = Window([0])
    client = _Client(window, trace=None)
    window._answer = lambda future: future.set_exception(HostUnavailable("busy"))
    await client._ask(1)
    assert (len(client.waited_ms), client.with_text) == (1, 0)


def test_unfair_lost_and_overtaken_are_missed_goals():
    def client(answers, **over):
        window = SimpleNamespace(connection=SimpleNamespace(**{**_COUNTS, **over}))
        return SimpleNamespace(window=window, waited_ms=[10.0] * answers, with_text=answers, overtaken=0, most_open=2)

    fine = _figures([client(10), client(9)], Turns((5, 4), (0, 300)))
    assert all(goal["met"] for goal in fine["goals"])
    assert (fine["answers"], fine["most_open"]) == ({"all": 19, "least": 9, "most": 10}, 2)
    bad = _figures([client(100, open=1), client(1, unexpected=2)], Turns((10, 1), (0,)))
    assert {goal["figure"] for goal in bad["goals"] if not goal["met"]} == {
        "fairness",
        "requests.lost",
        "requests.doubled",
    }
    told = report({**fine, "clients": 2, "seconds": 5.0, "host": {"memory_mb": 300}})
    assert any("19" in line and "9 to 10" in line for line in told)
    assert any("turns at the host: 9" in line and "4 to 5" in line for line in told)


def test_turns_are_those_of_the_log_that_somebody_waited_for():
    log = """
2026-11-23 12:30:07 1 INFO coder_lsp.host.jobs: request 1/2: stop_token ms: total=7 queue=0 tokens: prompt=22
2026-11-23 12:30:08 1 INFO coder_lsp.host.jobs: request 1/3 ahead: stop_token ms: total=3 queue=0 tokens: prompt=31
2026-11-23 12:30:09 1 INFO coder_lsp.host.jobs: request 12/4: stop_token ms: total=3 queue=250 tokens: prompt=31
2026-11-23 12:30:10 1 INFO coder_lsp.host.places: made ready: full tokens=555 evaluated=440 sequence=2
"""
    assert turns_in(log, 3) == Turns((1, 1, 0), (0, 250))


_COUNTS = {"asked": 10, "answered": 10, "cancelled": 0, "failed": 0, "unexpected": 0, "open": 0}
