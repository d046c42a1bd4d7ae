"""A real editor session on the real model: text is right, keystrokes are cheap, crashes and sharing are survived."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import psutil
from lsprotocol import types as lsp
from support.samples import ADD, QUEUE
from support.session import session


async def test_ghost_text_of_the_real_model_is_right(real_home, tmp_path):
    async with session(tmp_path) as editor:
        assert editor.result.capabilities.inline_completion_provider
        editor.open("add.py", ADD)
        assert await editor.ghost("add.py", 2, 13) == "+ b"
        # Loading was shown, and the model said it is ready.
        states = [status["state"] for status in editor.statuses]
        assert "ready" in states
        assert editor.progress, "no work-done progress while the model loaded"


async def test_typing_on_gives_right_text_at_each_place(real_home, tmp_path):
    """Pins the anchor: suggestions stay right while the placement is kept over many keystrokes."""
    async with session(tmp_path) as editor:
        editor.open("add.py", ADD)
        typed = ""
        for character in "+ b":
            assert typed + await editor.ghost("add.py", 2, 13 + len(typed)) == "+ b"
            editor.insert("add.py", 2, 13 + len(typed), character)
            typed += character


async def test_a_body_is_suggested_whole_and_runs(real_home, tmp_path):
    async with session(tmp_path) as editor:
        editor.open("q.py", QUEUE)
        body = await editor.ghost("q.py", 9, 0)
        assert "\n" in body.strip() or "pop(0)" in body
        namespace: dict = {}
        exec(QUEUE.rstrip("\n") + "\n" + body + "\n", namespace)
        queue = namespace["Queue"]()
        queue.push(1)
        queue.push(2)
        assert queue.pop() in (1, 2)


async def test_superseded_requests_are_answered(real_home, tmp_path):
    async with session(tmp_path) as editor:
        editor.open("q.py", QUEUE)
        first = editor.request("q.py", 9, 0)
        second = editor.request("q.py", 9, 0)
        answers = await asyncio.wait_for(asyncio.gather(first, second), 120)
        assert not getattr(answers[0], "items", answers[0])
        assert getattr(answers[1], "items", answers[1])


async def test_a_cancelled_request_while_the_model_loads_does_not_stop_the_loading(real_home, tmp_path):
    async with session(tmp_path) as editor:
        editor.open("add.py", ADD)
        future = editor.client.protocol.send_request(
            "textDocument/inlineCompletion",
            lsp.InlineCompletionParams(
                lsp.InlineCompletionContext(lsp.InlineCompletionTriggerKind.Invoked),
                lsp.TextDocumentIdentifier(editor.uri("add.py")),
                lsp.Position(2, 13),
            ),
            msg_id="early",
        )
        editor.client.protocol.notify("$/cancelRequest", lsp.CancelParams("early"))
        error = await asyncio.wait_for(_error_of(asyncio.wrap_future(future)), 30)
        assert error is None or getattr(error, "code", None) == -32800
        assert await editor.ghost("add.py", 2, 13) == "+ b"


async def test_kill_minus_9_of_the_host_costs_one_suggestion_never_the_session(real_home, tmp_path, run):
    async with session(tmp_path) as editor:
        editor.open("add.py", ADD)
        editor.open("q.py", QUEUE)
        assert await editor.ghost("add.py", 2, 13) == "+ b"
        (host,) = _hosts(run)

        generating = editor.request("q.py", 9, 0)
        await editor.until("generating")
        os.kill(host["pid"], signal.SIGKILL)
        await asyncio.wait_for(generating, 120)

        assert await editor.ghost("add.py", 2, 13) == "+ b"
        (again,) = _hosts(run)
        assert again["pid"] != host["pid"]
        assert not psutil.pid_exists(host["pid"]) or psutil.Process(host["pid"]).status() == psutil.STATUS_ZOMBIE
    sockets = [path for path in (real_home / "run").rglob("*") if path.is_socket()]
    assert len(sockets) == 1, "the killed host left a socket behind"


async def test_two_windows_share_one_host(real_home, tmp_path, run):
    async with session(tmp_path) as one, session(tmp_path) as two:
        for editor in (one, two):
            editor.open("add.py", ADD)
        texts = await asyncio.gather(one.ghost("add.py", 2, 13), two.ghost("add.py", 2, 13))
        assert texts == ["+ b", "+ b"]
        (host,) = _hosts(run)
        assert host["clients"] >= 2
        assert psutil.Process(host["pid"]).memory_info().rss > 300e6
        fronts = [p for p in psutil.Process().children(recursive=True) if "serve" in p.cmdline()]
        assert len(fronts) == 2
        assert all(p.memory_info().rss < 120e6 for p in fronts)


def _hosts(run) -> list[dict]:
    finished = run("host", "--status", "--json")
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    return answer["hosts"] if isinstance(answer, dict) else answer


async def _error_of(future) -> BaseException | None:
    try:
        await future
    except Exception as error:  # noqa: BLE001  (the answer may be an error of any kind; the caller looks at it)
        return error
    return None
