"""The editor that the demo plays, against a small server in a real process."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from coder_lsp.demo.editor import Ghost, editor
from coder_lsp.errors import HostUnavailable

SERVER = Path(__file__).parents[2] / "support" / "ghost_server.py"


@pytest.fixture
async def session(tmp_path):
    async with editor((sys.executable, str(SERVER)), tmp_path, {"model": "m"}, tmp_path / "log") as running:
        yield running


async def ask(session, text):
    session.show("a.py", "python", text)
    return await session.ghost("a.py", text)


async def test_ready_names_the_engine(session):
    assert await session.ready() == "e"


async def test_a_model_that_cannot_be_loaded_is_an_error_with_the_reason(tmp_path):
    async with editor((sys.executable, str(SERVER), "error"), tmp_path, {}, tmp_path / "log") as session:
        with pytest.raises(HostUnavailable, match="out of memory"):
            await session.ready()


async def test_suggestion_at_the_end_of_what_is_before(session):
    assert await ask(session, "x\n  y = ") == Ghost("length 8")


async def test_typing_and_showing_again_reach_the_server(session):
    await ask(session, "ab")
    session.type_text("a.py", "ab", "c")
    assert await session.ghost("a.py", "abc") == Ghost("length 3")
    assert await ask(session, "another\ntext") == Ghost("length 12")


async def test_no_suggestion(session):
    assert await ask(session, "none") is None


async def test_a_suggestion_may_be_an_object(session):
    assert await ask(session, "snippet") == Ghost("value")


async def test_a_range_around_the_cursor_is_reduced_to_what_is_new(session):
    """``range(`` with the cursor before ``)``: the item replaces the line, so one character after the cursor goes."""
    session.show("a.py", "python", "range()")
    assert await session.ghost("a.py", "range(") == Ghost("added", replaced=1)


async def test_the_server_may_ask_for_settings(session):
    assert "'model': 'm'" in (await ask(session, "settings")).text


async def test_a_server_that_dies_is_an_error_with_its_last_words(session):
    with pytest.raises(HostUnavailable, match="ended with status 3") as caught:
        await ask(session, "die")
    assert "the end is near" in caught.value.hint
    assert "coder-lsp doctor" in caught.value.hint


async def test_a_program_that_is_no_server_is_an_error(tmp_path):
    with pytest.raises(HostUnavailable, match="ended with status 0"):
        async with editor((sys.executable, "-c", ""), tmp_path, {}, tmp_path / "log"):
            pass


async def test_the_server_ends_with_the_block_even_if_that_fails(tmp_path):
    before = set(psutil.Process().children())
    started: set[psutil.Process] = set()

    async def fail_inside() -> None:
        async with editor((sys.executable, str(SERVER)), tmp_path, {}, tmp_path / "log"):
            started.update(set(psutil.Process().children()) - before)
            raise KeyError

    with pytest.raises(KeyError):
        await fail_inside()
    assert len(started) == 1
    assert not any(process.is_running() for process in started)
