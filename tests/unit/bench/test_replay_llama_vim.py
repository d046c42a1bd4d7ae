"""``bench.replay.llama_vim``: the peer's policy, as its source has it, against a scripted server."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import run_virtually

from coder_lsp.bench.replay import llama_vim
from coder_lsp.bench.replay.llama_vim import LlamaVim
from coder_lsp.bench.replay.trace import Key, Visit

BEFORE = "".join(f"line_{number} = {number}\n" for number in range(300)) + "def f():"
AFTER = "\n" + "".join(f"\nafter_{number} = {number}" for number in range(100)) + "\n"


class Server:
    """Answers what ``answers`` says about the line before the cursor, after ``seconds``; one request at a time."""

    def __init__(self, answers: dict[str, str], seconds: float = 0.5) -> None:
        self.bodies: list[dict] = []
        self.times: list[float] = []
        self.running = 0
        self._answers, self._seconds = answers, seconds

    async def infill(self, body: dict) -> dict:
        assert self.running == 0 or body["n_predict"] == 0, "two completions at once"
        self.running += 1
        self.bodies.append(body)
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        self.running -= 1
        content = self._answers.get(body["prompt"], "")
        return {"content": content, "timings/prompt_n": 260, "timings/predicted_n": len(content)}


def visit(before: str = BEFORE, after: str = AFTER) -> Visit:
    return Visit(0, "a.py", "python", before, after, (Key("\n    ", 0.2),), 1.0)


def play(server: Server, root, script, **options):
    """Run ``script`` (an async function of the window) at the place."""

    async def playing():
        window = LlamaVim("peer", root, server.infill, **options)
        await window.enter(visit())
        await script(window)
        return window

    return run_virtually(playing())


async def typed(window: LlamaVim, text: str, seconds: float = 0.2) -> None:
    for character in text:
        window.press(character)
        await asyncio.sleep(seconds)


def test_the_request_is_the_plugins(tmp_path):
    server = Server({})

    async def script(window):
        window.press("\n    ")
        window.press("x")
        await asyncio.sleep(5)

    play(server, tmp_path, script)
    first, second = server.bodies
    # A line of white space is asked for from its beginning.
    assert (first["prompt"], first["n_indent"]) == ("", 0)
    assert (second["prompt"], second["n_indent"]) == ("    x", 4)
    assert first["input_prefix"].splitlines() == BEFORE.splitlines()[-256:]
    assert first["input_suffix"].splitlines() == ["", *AFTER[1:].splitlines()[:64]]
    assert (first["n_predict"], first["t_max_prompt_ms"], first["top_k"], first["top_p"]) == (128, 500, 40, 0.90)
    assert first["samplers"] == ["top_k", "top_p", "infill"]
    assert first["t_max_predict_ms"] == 250
    assert first["input_extra"] == []
    assert first["cache_prompt"]


def test_a_request_is_never_ended_and_the_newest_place_is_tried_again(tmp_path):
    server = Server({}, seconds=1.0)

    async def script(window):
        await typed(window, "abcd")
        await asyncio.sleep(3)

    play(server, tmp_path, script)
    assert [body["prompt"] for body in server.bodies] == ["def f():a", "def f():abcd"]
    # The retry timer runs every 100 ms from the last key on; it finds the server free at 1.0 s or a little later.
    assert 1.0 <= server.times[1] - server.times[0] <= 1.0 + llama_vim.RETRY_S + 1e-6


def test_a_suggestion_is_shown_and_the_next_one_asked_for(tmp_path):
    server = Server({"    x": " = 1", "    x = 1": "\n    return x"})

    async def script(window):
        window.press("\n    x")
        await asyncio.sleep(2)
        assert window.screen.ghost == " = 1"
        window.accept(" = 1")
        # Out of the cache, at once.
        assert window.screen.ghost == "\n    return x"
        await asyncio.sleep(1)

    window = play(server, tmp_path, script)
    (ahead,) = (body for body in server.bodies if body["prompt"] == "    x = 1")
    assert (ahead["t_max_predict_ms"], ahead["n_indent"]) == (1000, 4)
    assert [round(shown.waited_ms) for shown in window.screen.shown] == [500, 0]
    asked = {body["prompt"]: request for body, request in zip(server.bodies, window.requests(), strict=True)}
    assert asked["    x = 1"].background
    assert not asked["    x"].background


def test_what_agrees_with_a_suggestion_is_typed_through_it(tmp_path):
    server = Server({"    x": " = compute()"})

    async def script(window):
        window.press("\n    x")
        await asyncio.sleep(1)
        await typed(window, " = c")
        assert window.screen.ghost == "ompute()"
        window.press("z")
        assert window.screen.ghost == ""

    window = play(server, tmp_path, script)
    assert len(window.screen.shown) == 1


def test_an_answer_that_comes_late_is_shown_if_it_still_fits(tmp_path):
    server = Server({"    x": " = 1"}, seconds=1.0)

    async def script(window):
        window.press("\n    x")
        await asyncio.sleep(0.3)
        window.press(" ")
        await asyncio.sleep(1)
        assert window.screen.ghost == "= 1"

    window = play(server, tmp_path, script)
    assert window.screen.shown[0].waited_ms == pytest.approx(1000)


def test_a_line_of_white_space_keeps_its_indentation(tmp_path):
    server = Server({"": "    x = 1\n    y = 2\n\n"})

    async def script(window):
        window.press("\n    ")
        await asyncio.sleep(1)
        assert window.screen.ghost == "x = 1\n    y = 2"

    play(server, tmp_path, script)


def test_what_stands_below_already_is_not_shown(tmp_path):
    server = Server({"after_0": " = 0"})

    async def script(window):
        window.press("\nafter_0")
        await asyncio.sleep(1)
        assert window.screen.ghost == ""

    play(server, tmp_path, script)


def test_the_ring_is_filled_by_a_jump_and_read_ahead_while_nobody_types(tmp_path):
    server = Server({})

    async def script(window):
        window.press("\n    x")
        await asyncio.sleep(6)
        window.press("y")
        await asyncio.sleep(6)

    window = play(server, tmp_path, script, ring_chunks=16)
    ahead = [body for body in server.bodies if body["n_predict"] == 0]
    # Lines above the prefix and below the suffix, one chunk a second once the cursor has rested for three.
    assert [len(body["input_extra"]) for body in ahead] == [1, 2]
    assert ahead[0]["input_extra"][0]["filename"] == "a.py"
    assert ahead[0]["input_extra"][0]["text"].startswith("line_")
    assert len(server.bodies[-1]["input_extra"]) == 2
    assert sum(request.background for request in window.requests()) == 2


def test_without_the_ring_nothing_is_read_ahead(tmp_path):
    server = Server({})

    async def script(window):
        window.press("\n    x")
        await asyncio.sleep(10)

    play(server, tmp_path, script)
    assert len(server.bodies) == 1


def test_leaving_saves_and_waits_for_what_runs(tmp_path):
    server = Server({}, seconds=3.0)

    async def script(window):
        window.press("\n    x")
        await window.leave()
        assert server.running == 0
        await asyncio.sleep(5)

    play(server, tmp_path, script)
    assert (tmp_path / "a.py").read_text() == BEFORE + "\n    x" + AFTER
    assert len(server.bodies) == 1


def test_a_server_that_fails_costs_a_suggestion(tmp_path):
    class Failing(Server):
        async def infill(self, body):
            await super().infill(body)
            raise ConnectionError("gone")

    server = Failing({})

    async def script(window):
        await typed(window, "ab", seconds=1.0)

    assert play(server, tmp_path, script).requests() == []
    assert len(server.bodies) == 2
