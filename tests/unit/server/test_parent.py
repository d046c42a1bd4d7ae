"""The watch over the client's process, also where the system has no descriptor for one."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from coder_lsp.server import parent


@pytest.fixture(params=["descriptor", "polling"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "polling":
        monkeypatch.setattr(parent, "_POLL_SECONDS", 0.01)

        def refuse(_: int) -> int:
            raise OSError("no such call")

        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    return request.param


async def test_the_end_of_a_process_is_noticed(way: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    died = asyncio.Event()
    unwatch = parent.watch_process(process.pid, died.set)
    await process.communicate(b"\n")
    await asyncio.wait_for(died.wait(), 10)
    unwatch()


async def test_a_watch_that_ended_says_nothing(way: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    said: list[str] = []
    other = asyncio.Event()
    parent.watch_process(process.pid, lambda: said.append("ended watch"))()
    unwatch = parent.watch_process(process.pid, other.set)
    await process.communicate(b"\n")
    await asyncio.wait_for(other.wait(), 10)
    assert said == []
    unwatch()
