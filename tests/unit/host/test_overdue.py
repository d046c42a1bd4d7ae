"""An engine that does not come back: how long it is waited for, and what becomes of those who wait."""

from __future__ import annotations

import asyncio

import pytest

from coder_lsp.errors import HostError
from coder_lsp.host import overdue


@pytest.fixture
def looks(monkeypatch):
    """Gives what is seen at each look to come; how many looks were needed is how many are gone."""
    monkeypatch.setattr(overdue, "LOOK_SECONDS", 0)
    monkeypatch.setattr(overdue, "LOOKS", 3)

    async def needed(*seen):
        left = iter(seen)
        count = 0

        def look():
            nonlocal count
            count += 1
            return next(left)

        await overdue.until_overdue(look)
        return count

    return needed


A, B = object(), object()


@pytest.mark.parametrize(
    ("seen", "count"),
    [([A, A, A], 3), ([None, A, A, A], 4), ([A, A, B, B, B], 5), ([A, A, None, A, A, A], 6), ([A, B, A, B, B, B], 6)],
    ids=["at once", "later", "another", "again", "in turns"],
)
async def test_the_same_one_must_be_there_at_each_look(looks, seen, count):
    assert await looks(*seen) == count


async def test_what_ends_is_never_overdue(looks):
    with pytest.raises(RuntimeError):  # looked to the end of a list
        await looks(*[A, A, None, B, B, None] * 50)


async def test_a_host_whose_engine_hangs_makes_room_for_a_new_one(front, launchers, gate):
    """Who waits in line behind what hangs is served by another process."""
    launcher = launchers("--worker", "support.impatient_worker:load")
    window = front(launcher=launcher)
    hanging = asyncio.create_task(window.say(say=["a"], wait=gate().path, deaf=True))
    await window.status.until("generating")
    first = (await window.supervisor.info())["pid"]
    hanging.cancel()
    with pytest.raises((HostError, asyncio.CancelledError)):
        await hanging
    assert (await window.say(say=["b"])).text == "b"
    assert await asyncio.wait_for(launcher.started[0].ended, 20) == 0
    assert (await window.supervisor.info())["pid"] != first
