"""Work ahead in a real host process: it runs when nobody waits, and ends when somebody does."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from support.hosts import request
from support.scripted_worker import ScriptedWorker

from coder_lsp.config import IdleConfig
from coder_lsp.host import jobs
from coder_lsp.host.power import LOOK_SECONDS, Power
from coder_lsp.host.protocol import HostSettings
from coder_lsp.types import FinishReason


def ahead(**script):
    return dataclasses.replace(request(**script), idle=True)


async def noted(path, count):
    """The lines of a script's notes, once there are so many."""
    for _ in range(2000):
        if len(lines_of(path)) >= count:
            break
        await asyncio.sleep(0.01)
    return lines_of(path)


def lines_of(path):
    return Path(path).read_text().split() if Path(path).exists() else []


async def test_work_ahead_is_answered_when_nobody_else_asks(front):
    result = await front().supervisor.complete(ahead(say=["a"]))
    assert (result.text, result.finish_reason) == ("a", FinishReason.STOP_TOKEN)


async def running(window, **script):
    """A task that asks for work ahead, once the host is at it."""
    begun = asyncio.Event()

    def sink(_):
        begun.set()
        return True

    asking = asyncio.create_task(window.supervisor.complete(ahead(say=["a"], **script), sink))
    await asyncio.wait_for(begun.wait(), 20)
    return asking


async def test_a_request_ends_work_ahead_that_runs(front, gate):
    window, never = front(), gate()
    asking = await running(window, wait=never.path)
    assert (await window.say(say=["b"])).text == "b"
    assert (await asking).finish_reason is FinishReason.CANCELLED


async def test_a_request_of_another_window_ends_it_too(front, settings, gate):
    never, shared = gate(), settings()
    one, two = front(shared), front(shared)
    await two.supervisor.start()
    asking = await running(one, wait=never.path)
    assert (await two.say(say=["b"])).text == "b"
    assert (await asking).finish_reason is FinishReason.CANCELLED


async def test_work_ahead_waits_for_requests(front, settings, gate, tmp_path):
    """And does not supersede the request of its own window."""
    window, go, notes = front(), gate(), tmp_path / "notes"
    await window.supervisor.start()
    first = asyncio.create_task(window.say(say=["real"], note=str(notes), wait=go.path))
    await noted(notes, 1)
    later = asyncio.create_task(window.supervisor.complete(ahead(say=["ahead"], note=str(notes))))
    go.open()
    assert (await first).text == "real"
    assert (await later).text == "ahead"
    assert await noted(notes, 2) == ["real", "ahead"]


async def test_a_warmed_place_is_worked_on_until_somebody_asks(front, gate, tmp_path):
    window, never, notes = front(), gate(), tmp_path / "notes"
    await window.supervisor.start()
    await window.status.until("ready")
    await window.supervisor.warm(request(wait=never.path, note=str(notes)))
    await asyncio.sleep(0)
    # It began or it did not: either way the request is answered, and the work is not lost on the way.
    assert (await window.say(say=["b"])).text == "b"
    await window.supervisor.warm(request(note=str(notes)))
    assert (await noted(notes, 1))[-1] in {"done", "cancelled"}


async def test_a_prompt_in_the_making_gives_way_to_a_continuation(front, gate, tmp_path):
    """Both are work ahead, and what is on screen may be accepted at any moment."""
    window, never, notes, begun = front(), gate(), tmp_path / "notes", tmp_path / "begun"
    await window.supervisor.start()
    await window.status.until("ready")
    await window.supervisor.warm(request(wait=never.path, note=str(notes), begun=str(begun)))
    for _ in range(2000):
        if begun.exists():
            break
        await asyncio.sleep(0.01)
    assert begun.exists()
    result = await asyncio.wait_for(window.supervisor.complete(ahead(say=["next"])), 20)
    assert result.text == "next"


async def test_nothing_is_done_ahead_where_that_is_off(front, settings, tmp_path):
    """The request is answered cancelled, at once; a warmed place is forgotten."""
    window, notes = front(settings(idle=IdleConfig(enabled=False))), tmp_path / "notes"
    await window.supervisor.start()
    await window.supervisor.warm(request(note=str(notes)))
    result = await window.supervisor.complete(ahead(say=["a"]))
    assert result.finish_reason is FinishReason.CANCELLED
    assert (await window.say(say=["b"])).text == "b"
    assert not notes.exists()


async def test_windows_that_differ_in_it_share_a_host(front, settings):
    one, two = front(settings()), front(settings(idle=IdleConfig(enabled=False)))
    await one.supervisor.start()
    await two.supervisor.start()
    assert (await one.supervisor.info())["pid"] == (await two.supervisor.info())["pid"]


async def test_no_work_is_begun_on_a_closed_worker(monkeypatch):
    """There is always more to do, and closing does not wait for the end of it."""
    monkeypatch.setattr(jobs, "AHEAD_AFTER_S", 0.0)
    loop, ready, worked, done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), []

    class Busy(ScriptedWorker):
        def work(self, cancel):
            done.append("work")
            loop.call_soon_threadsafe(worked.set)
            return True

        def close(self):
            done.append("close")

    runner = jobs.JobRunner(HostSettings("/m.gguf", "scripted"), lambda *_: Busy(), lambda _: ready.set())
    running = asyncio.create_task(runner.run())
    try:
        await asyncio.wait_for(ready.wait(), 20)
        runner.warm("owner", request(say=["a"]))
        await asyncio.wait_for(worked.wait(), 20)
        await runner.close("the test is over")
        # The runner gets every chance to begin again.
        for _ in range(50):
            await asyncio.sleep(0.001)
    finally:
        running.cancel()
    assert done.count("close") == 1
    assert done[-1] == "close"


def test_the_battery_is_looked_at_now_and_then():
    """No work ahead on battery, if that is wished; the system is asked every half minute at most."""
    answers, times = [False, True], [0.0, 1.0, LOOK_SECONDS, LOOK_SECONDS + 1]
    asked = []

    def on_battery():
        asked.append(True)
        return answers[len(asked) - 1]

    power = Power(IdleConfig(on_battery=False), on_battery=on_battery, clock=lambda: times.pop(0))
    assert [power.allows_work_ahead() for _ in range(4)] == [True, True, False, False]
    assert len(asked) == 2


def test_the_battery_does_not_matter_unless_told():
    power = Power(IdleConfig(), on_battery=lambda: True)
    assert power.allows_work_ahead()
    assert not Power(IdleConfig(enabled=False), on_battery=lambda: False).allows_work_ahead()
