"""One session from initialize to the end of the process: order, refusals, exit status, leaving in every way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.lsp_client import LIMIT_SECONDS, LspError, environment, scripted, served, server_process
from support.scripted_server import build


async def test_initialize_names_the_server_and_what_it_does() -> None:
    async with server_process(*scripted()) as client:
        answer = await client.initialize({"textDocument": {"inlineCompletion": {}}})
        capabilities = answer["capabilities"]
        assert answer["serverInfo"]["name"] == "coder-lsp"
        assert capabilities["inlineCompletionProvider"] == {}
        assert capabilities["textDocumentSync"]["change"] == 2
        assert capabilities["textDocumentSync"]["openClose"] is True
        assert capabilities["workspace"]["workspaceFolders"] == {"supported": True, "changeNotifications": True}
        assert "coder-lsp.restart" in capabilities["executeCommandProvider"]["commands"]
        assert await client.end() == 0


async def test_exit_without_shutdown_is_status_one() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize()
        client.notify("exit")
        assert await client.wait() == 1


async def test_shutdown_lets_go_of_the_host_and_refuses_what_follows(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    async with server_process(*scripted(), log=log) as client:
        await client.initialize()
        assert await client.request("shutdown") is None
        with pytest.raises(LspError) as refused:
            await client.request("workspace/executeCommand", {"command": "coder-lsp.status"})
        assert refused.value.code == -32600
        client.notify("exit")
        assert await client.wait() == 0
    assert log.read_text().count("scripted host: stopped") == 1


async def test_the_server_ends_when_stdin_closes(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    async with server_process(*scripted(), log=log) as client:
        await client.initialize()
        client.writer.close()
        assert await client.wait() == 1
    assert "scripted host: stopped" in log.read_text()


async def test_stdin_closed_after_shutdown_is_status_zero() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize()
        await client.request("shutdown")
        client.writer.close()
        assert await client.wait() == 0


async def test_the_server_ends_when_the_client_process_dies(tmp_path: Path) -> None:
    """Its pipe stays open: only the process id tells."""
    editor = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    async with server_process(*scripted()) as client:
        await client.initialize(processId=editor.pid)
        assert editor.stdin is not None
        editor.stdin.write(b"\n")
        await editor.wait()
        assert await client.wait() == 1


async def test_a_client_process_of_another_container_is_no_reason_to_leave() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize(processId=2**22 + 1)
        assert await client.end() == 0


async def test_sigterm_ends_in_good_order(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    async with server_process(*scripted(), log=log) as client:
        await client.initialize()
        os.kill(client.pid, signal.SIGTERM)
        assert await client.wait() == 128 + signal.SIGTERM
    assert "scripted host: stopped" in log.read_text()


async def test_requests_before_initialize_are_refused_and_notifications_dropped() -> None:
    async with server_process(*scripted()) as client:
        client.open("file:///a.py", "x")
        with pytest.raises(LspError) as refused:
            await client.request("shutdown")
        assert refused.value.code == -32002
        await client.initialize()
        assert await client.request("test/document", {"uri": "file:///a.py"}) is None


async def test_a_second_initialize_is_refused() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize()
        with pytest.raises(LspError) as refused:
            await client.initialize()
        assert refused.value.code == -32600


async def test_a_client_that_announces_more_than_we_know_is_served() -> None:
    """Strict reading refused values that the protocol library does not know, and with them the whole session."""
    capabilities = {
        "textDocument": {
            "inlineCompletion": {},
            "completion": {"completionItem": {"tagSupport": {"valueSet": [1, 99]}}},
            "codeAction": {"codeActionLiteralSupport": "nonsense"},
        },
        "general": {"positionEncodings": ["utf-7", "utf-8"]},
        "workspace": {"workspaceEdit": {"failureHandling": "magic"}},
        "experimental": {"anything": [1, {"x": None}]},
    }
    async with server_process(*scripted()) as client:
        answer = await client.initialize(capabilities, trace="compact", locale="tlh", initializationOptions=[1])
        assert answer["capabilities"]["positionEncoding"] == "utf-8"


@pytest.mark.parametrize("announced", [None, {}, {"dynamicRegistration": False}])
async def test_ghost_text_is_announced_to_a_client_that_knows_it_however_it_says_so(announced) -> None:
    """lsp-mode 10 sends null, and was taken for a client without ghost text."""
    async with server_process(*scripted()) as client:
        answer = await client.initialize({"textDocument": {"inlineCompletion": announced}})
        assert "inlineCompletionProvider" in answer["capabilities"]


async def test_what_is_printed_by_mistake_does_not_reach_the_protocol(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    async with server_process(*scripted(), log=log) as client:
        await client.initialize()
        await client.request("test/print")
        assert await client.end() == 0
    assert "printed by mistake" in log.read_text()


async def test_what_is_no_json_and_what_is_no_message_leaves_the_session_alive() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize()
        client.send_body(b"{not json")
        client.send_body(b'[1, "two"]')
        client.send_body(b'{"jsonrpc": "1.0", "id": 7, "method": "x"}')
        client.send({"id": [1], "method": "shutdown"})
        client.send({"id": "nobody-asked", "result": 1})
        assert await client.end() == 0
        assert [message["error"]["code"] for message in client.received if message.get("id", 0) is None] == [-32700]


async def test_what_comes_right_behind_shutdown_is_refused_and_changes_nothing() -> None:
    """Shutting down is a task of its own, and the stream was read on before it ran."""
    server = build()
    async with served(server) as client:
        await client.initialize()
        client.open("file:///a.py", "x")
        await client.request("test/requests")
        done = client.start_request("shutdown")[1]
        client.change("file:///a.py", 2, (None, "y"))
        late = client.start_request("test/requests")[1]
        await done
        with pytest.raises(LspError, match="-32600"):
            await late
        found = server.documents.get("file:///a.py")
        assert found is not None
        assert found.text == "x"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        # Both were looked up in a set, which takes no list, and the request was never answered.
        ("initialize", {"processId": None, "rootUri": None, "capabilities": {}, "trace": ["off"]}),
        ("textDocument/inlineCompletion", {"context": {"triggerKind": [1]}}),
        # Found by the campaign lsp-orders: pygls takes the id out of a notification and answers nothing.
        ("initialized", {}),
        ("textDocument/didOpen", {}),
    ],
)
async def test_a_request_is_answered_whatever_its_values_are(method: str, params: dict[str, Any]) -> None:
    async with served(build()) as client:
        if method != "initialize":
            await client.initialize()
        with contextlib.suppress(LspError):
            await client.request(method, params)


async def test_a_method_that_is_no_text_is_passed_over() -> None:
    async with served(build()) as client:
        await client.initialize()
        client.send({"id": 900, "method": ["shutdown"]})
        client.send({"method": {}})
        assert await client.request("test/requests") == []


async def test_a_recorded_session_can_be_replayed_from_a_file_into_a_file(tmp_path: Path) -> None:
    """The event loop cannot wait for files; they take another way through."""
    bodies = [
        {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    said = [json.dumps({"jsonrpc": "2.0", **body}).encode() for body in bodies]
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in said))
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *scripted(), stdin=stdin, stdout=stdout, env=environment()
        )
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
    assert sink.read_bytes().count(b"Content-Length") == 2
    assert b'"id": 2' in sink.read_bytes()


async def test_an_unknown_method_is_refused() -> None:
    async with server_process(*scripted()) as client:
        await client.initialize()
        with pytest.raises(LspError) as refused:
            await client.request("no/such")
        assert refused.value.code == -32601


async def test_the_log_carries_no_text_of_documents(tmp_path: Path) -> None:
    log = tmp_path / "log" / "server.log"
    async with server_process(*scripted("--log-file", str(log), "--log-level", "debug")) as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        client.open("file:///a.py", "secret_source")
        client.notify("textDocument/didOpen", {"textDocument": {"uri": "file:///b.py", "text": "secret_source"}})
        client.notify(
            "textDocument/didChange", {"textDocument": {"uri": "file:///a.py"}, "contentChanges": "secret_source"}
        )
        await client.request("test/script", {"json": '{"fail": "bug"}'})
        client.open("file:///a.py", "secret_source")
        place = {"textDocument": {"uri": "file:///a.py"}, "position": {"line": 0, "character": 3}}
        assert await client.request("textDocument/inlineCompletion", place) == {"items": []}
        assert await client.end() == 0
    text = log.read_text()
    assert "ValueError" in text
    assert "secret_source" not in text
    assert log.stat().st_mode & 0o777 == 0o600
