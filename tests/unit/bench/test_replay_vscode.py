"""``bench.replay.vscode``: what the editor sends at which key, and what stays on screen; the server is scripted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.virtual_time import run_virtually

from coder_lsp.bench.replay.vscode import Item, VsCode, Window, first_item
from coder_lsp.errors import HostUnavailable

INLINE = "textDocument/inlineCompletion"
ACCEPTED = {"command": "coder-lsp.accepted", "arguments": ["7.0"]}


class Server:
    """Answers requests in turn with the texts given, each after its seconds; None: an error."""

    def __init__(self, *answers: tuple[float, str | None]) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.cancelled: list[int] = []
        self._answers = list(answers)
        self._number = 0

    def notify(self, method: str, params: Any) -> None:
        self.sent.append((method, params))

    def ask(self, method: str, params: Any) -> tuple[int, asyncio.Future]:
        self.sent.append((method, params))
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        if method == INLINE and self._answers:
            seconds, text = self._answers.pop(0)
            asyncio.get_running_loop().call_later(seconds, self._answer, answer, text)
        return self._number, answer

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def methods(self) -> list[str]:
        return [method for method, _ in self.sent]

    def _answer(self, answer: asyncio.Future, text: str | None) -> None:
        if text is None:
            answer.set_exception(HostUnavailable("refused"))
        else:
            answer.set_result({"items": [{"insertText": text, "command": ACCEPTED}] if text else []})


def play(server: Server, root, script, *, extension: bool = True) -> VsCode:
    async def playing():
        window = VsCode("ours", Window(root, root, {}, extension=extension))
        window._rpc = server
        window.open("a.py", "python", "def f():", "\n")
        await script(window)
        return window

    return run_virtually(playing())


def test_a_key_sends_the_change_and_a_request_and_cancels_the_one_before(tmp_path):
    server = Server((1.0, "late"), (0.1, "x = 1"))

    async def script(window):
        window.press("\n    ")
        await asyncio.sleep(0.2)
        window.press("y")
        await asyncio.sleep(2)
        assert window.screen.ghost == "x = 1"

    play(server, tmp_path, script, extension=False)
    assert server.methods() == ["textDocument/didOpen", *["textDocument/didChange", INLINE] * 2]
    assert server.cancelled == [1]
    change, place = server.sent[3][1], server.sent[4][1]
    assert change["contentChanges"][0]["range"]["start"] == {"line": 1, "character": 4}
    assert change["textDocument"]["version"] == 3
    assert place["position"] == {"line": 1, "character": 5}
    assert place["context"] == {"triggerKind": 2}


def test_what_agrees_stays_on_screen_whatever_comes(tmp_path):
    server = Server((0.1, "x = 1"), (0.1, "other"), (0.1, ""))

    async def script(window):
        window.press("\n")
        await asyncio.sleep(0.5)
        window.press("x")
        await asyncio.sleep(0.5)
        assert window.screen.ghost == " = 1"
        window.press("?")
        await asyncio.sleep(0.5)
        assert window.screen.ghost == ""

    assert len(play(server, tmp_path, script).screen.shown) == 1


@pytest.mark.parametrize(
    ("taken", "extension", "arguments"),
    [
        ("x = 1\n  y", True, ["7.0"]),
        ("x = 1", True, ["7.0", 5]),
        ("x = 1\n  y", False, ["7.0"]),
        ("x = 1", False, None),
    ],
)
def test_the_server_hears_of_what_was_taken(tmp_path, taken, extension, arguments):
    server = Server((0.1, "x = 1\n  y"))

    async def script(window):
        window.press("\n")
        await asyncio.sleep(0.5)
        window.accept(taken)

    window = play(server, tmp_path, script, extension=extension)
    commands = [params["arguments"] for method, params in server.sent if method == "workspace/executeCommand"]
    assert commands == ([arguments] if arguments else [])
    assert window.screen.ghost == "x = 1\n  y"[len(taken) :]


def test_an_extension_tells_where_the_cursor_is_and_what_is_shown(tmp_path):
    server = Server((0.1, "x = 1"))

    async def script(window):
        window.press("\n")
        await asyncio.sleep(0.5)

    play(server, tmp_path, script)
    assert server.sent[1][0] == "coder-lsp/didFocus"
    assert server.sent[1][1]["position"] == {"line": 0, "character": 8}
    assert server.sent[-1] == ("coder-lsp/didShow", {"id": "7.0"})


def test_a_request_that_fails_costs_a_suggestion(tmp_path):
    async def script(window):
        window.press("\n")
        await asyncio.sleep(0.5)
        await window.leave()

    window = play(Server((0.1, None)), tmp_path, script)
    assert window.screen.ghost == ""
    assert (tmp_path / "a.py").read_text() == "def f():\n\n"


def test_documents_are_closed_when_too_many_are_open(tmp_path):
    server = Server()

    async def script(window):
        for number in range(6):
            window.open(f"b{number}.py", "python", "", "")

    play(server, tmp_path, script)
    closed = [params["textDocument"]["uri"] for method, params in server.sent if method == "textDocument/didClose"]
    assert closed == [(tmp_path / name).as_uri() for name in ("a.py", "b0.py", "b1.py")]


def test_an_item_may_begin_before_the_cursor():
    item = {
        "insertText": "value = 1",
        "range": {"start": {"character": 4}, "end": {"character": 7}},
        "command": ACCEPTED,
    }
    assert first_item([item], "x\n    val", 7) == Item("ue = 1", 9, "coder-lsp.accepted", "7.0")
    assert first_item([item], "x\n    fal", 7).text == ""
    assert first_item({"items": []}, "x", 1) == first_item(None, "x", 1) == Item()
