"""``bench.replay.simple_plugin``: asks when the keys rest, never ends a request, drops late answers."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import run_virtually

from coder_lsp.bench.replay.simple_plugin import DEBOUNCE_S, SimplePlugin
from coder_lsp.bench.replay.trace import Key, Visit


def play(root, script, seconds: float = 0.4):
    prompts: list[str] = []

    async def complete(request: dict) -> dict:
        prompts.append(request["prompt"])
        await asyncio.sleep(seconds)
        return {"text": " = 1", "evaluated": 700, "generated": 4}

    async def playing():
        window = SimplePlugin("plain", root, complete)
        await window.enter(Visit(0, "a.py", "python", "def f():", "\n", (Key("\n", 0.2),), 1.0))
        await script(window)
        return window

    return run_virtually(playing()), prompts


def test_it_asks_once_the_keys_rest(tmp_path):
    async def script(window):
        for key in "abc":
            window.press(key)
            await asyncio.sleep(DEBOUNCE_S / 2)
        await asyncio.sleep(2)
        assert window.screen.ghost == " = 1"

    window, prompts = play(tmp_path, script)
    assert prompts == ["def f():abc"]
    assert window.screen.shown[0].waited_ms == pytest.approx(1000 * (DEBOUNCE_S + 0.4))
    assert [request.evaluated for request in window.requests()] == [700]


def test_an_answer_for_another_place_is_dropped_and_the_new_place_asked_for(tmp_path):
    async def script(window):
        window.press("a")
        await asyncio.sleep(0.3)
        window.press("b")
        await asyncio.sleep(0.3)
        assert window.screen.ghost == ""
        await asyncio.sleep(1)
        assert window.screen.ghost == " = 1"

    _, prompts = play(tmp_path, script)
    assert prompts == ["def f():a", "def f():ab"]


def test_what_agrees_stays_on_screen_and_nothing_is_asked(tmp_path):
    async def script(window):
        window.press("a")
        await asyncio.sleep(1)
        window.press(" ")
        await asyncio.sleep(1)
        assert window.screen.ghost == "= 1"

    _, prompts = play(tmp_path, script)
    assert len(prompts) == 1


def test_leaving_saves_and_waits_for_what_runs(tmp_path):
    async def script(window):
        window.press("a")
        await asyncio.sleep(0.2)
        await window.leave()
        assert window.screen.ghost == ""

    window, _ = play(tmp_path, script)
    assert (tmp_path / "a.py").read_text() == "def f():a\n"
    assert len(window.requests()) == 1
