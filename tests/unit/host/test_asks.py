"""Instructions in the host's queue: they give way to completions and go on, and are no reason to end one another's."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.hosts import second_client

from coder_lsp.errors import OutOfMemory
from coder_lsp.types import AskRequest, FinishReason


def question(**script):
    return AskRequest("file:///a.py", json.dumps(script), max_tokens=script.pop("max_tokens", 100))


class Heard:
    """A reader that can be waited for; it has enough after ``most`` pieces."""

    def __init__(self, most=1000):
        self.text = ""
        self.left = most
        self._news = asyncio.Event()

    def __call__(self, delta):
        self.text += delta
        self.left -= 1
        self._news.set()
        return self.left > 0

    async def until(self, text):
        while self.text != text:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)


async def test_an_answer_streams_and_is_whole(front):
    window = front()
    said = Heard()
    result = await window.supervisor.ask(question(say=["def ", "f"]), said)
    assert said.text == result.text == "def f"
    assert result.finish_reason is FinishReason.STOP_TOKEN
    states = window.status.states
    assert states[states.index("ready") :] == ["ready", "generating", "ready"]


async def test_a_completion_comes_in_between_and_the_answer_goes_on(front, tmp_path):
    window = front()
    said = Heard()
    script = {"say": ["ab", "cd"], "before": "c", "wait": str(tmp_path / "go"), "note": str(tmp_path / "notes")}
    asking = asyncio.ensure_future(window.supervisor.ask(question(**script), said))
    await said.until("ab")
    completed = await window.say(say=["x"])
    assert completed.text == "x"
    assert not asking.done()
    (tmp_path / "go").touch()
    result = await asking
    assert said.text == result.text == "abcd"
    # Once from the start, once behind what had been said.
    assert (tmp_path / "notes").read_text().splitlines() == ["", "ab"]


async def test_what_comes_in_between_may_come_often(front, tmp_path):
    window = front()
    said = Heard()
    script = {"say": ["abc"], "before": "c", "wait": str(tmp_path / "go")}
    asking = asyncio.ensure_future(window.supervisor.ask(question(**script), said))
    await said.until("ab")
    for text in ("1", "2", "3"):
        assert (await window.say(say=[text])).text == text
    (tmp_path / "go").touch()
    assert (await asking).text == said.text == "abc"


async def test_a_newer_question_of_the_same_window_ends_the_older_one(front, tmp_path):
    window = front()
    said = Heard()
    script = {"say": ["ab"], "before": "b", "wait": str(tmp_path / "never")}
    older = asyncio.ensure_future(window.supervisor.ask(question(**script), said))
    await said.until("a")
    newer = await window.supervisor.ask(question(say=["new"]))
    assert newer.text == "new"
    assert (await older).finish_reason is FinishReason.CANCELLED


async def test_another_windows_question_waits_its_turn(front, settings, tmp_path):
    window = front()
    said = Heard()
    script = {"say": ["ab"], "before": "b", "wait": str(tmp_path / "go")}
    first = asyncio.ensure_future(window.supervisor.ask(question(**script), said))
    await said.until("a")
    async with second_client(settings()) as other:
        second = asyncio.ensure_future(other.ask(question(say=["second"])))
        (tmp_path / "go").touch()
        assert (await first).text == "ab"
        assert (await second).text == "second"


async def test_cancelling_ends_an_answer_also_while_it_gives_way(front, tmp_path):
    window = front()
    said = Heard()
    script = {"say": ["ab"], "before": "b", "wait": str(tmp_path / "never")}
    asking = asyncio.ensure_future(window.supervisor.ask(question(**script), said))
    await said.until("a")
    completing = asyncio.ensure_future(window.say(say=["x"]))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await completing).text == "x"
    # Nothing is left that would keep the host busy.
    assert (await window.supervisor.ask(question(say=["y"]))).text == "y"


async def test_a_reader_that_has_enough_ends_the_answer(front):
    result = await front().supervisor.ask(question(say=["abcdef"]), Heard(most=3))
    assert (result.text, result.finish_reason) == ("abc", FinishReason.ENOUGH)


async def test_a_failure_is_told_to_who_asked(front):
    with pytest.raises(OutOfMemory, match="scripted failure"):
        await front().supervisor.ask(question(say=["a"], fail="OutOfMemory"))
