"""What a user sees of the model host: status, progress, one message; and the commands about it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.lsp_client import LspError, NoAnswer, served
from support.scripted_server import build

if TYPE_CHECKING:
    from pathlib import Path

    from support.lsp_client import LspClient

PROGRESS = {"window": {"workDoneProgress": True}}
INLINE = {"textDocument": {"inlineCompletion": {}}}


async def host(client: LspClient, state: str, **details: Any) -> None:
    await client.request("test/host", {"json": json.dumps({"state": state, **details})})


async def command(client: LspClient, name: str, *arguments: Any) -> Any:
    params = {"command": f"coder-lsp.{name}", "arguments": list(arguments)}
    return await client.request("workspace/executeCommand", params)


async def ready(client: LspClient, capabilities: dict[str, Any] | None = None) -> None:
    await client.initialize(capabilities or {})
    await client.next("test/event", lambda event: event.get("call") == "start")


def with_log(path: Path) -> Any:
    server = build()
    server.log_file = path
    return server


async def fail(client: LspClient, how: str) -> Any:
    await client.request("test/script", {"json": json.dumps({"fail": how})})
    client.open("file:///a.py", "x")
    place = {"textDocument": {"uri": "file:///a.py"}, "position": {"line": 0, "character": 1}}
    return await client.request("textDocument/inlineCompletion", place)


async def test_every_change_of_the_host_is_notified_once() -> None:
    async with served(build()) as client:
        await ready(client)
        await host(client, "loading", model="m", progress=0.5)
        await host(client, "loading", model="m", progress=0.5)
        await host(client, "ready", model="m", engine="llama")
        states = client.all("coder-lsp/status")
        off = {"state": "off", "files": 0, "pending": 0}
        assert states == [
            {
                "state": "stopped",
                "model": "",
                "engine": "",
                "message": "",
                "progress": None,
                "offline": False,
                "index": off,
            },
            {
                "state": "loading",
                "model": "m",
                "engine": "",
                "message": "",
                "progress": 0.5,
                "offline": False,
                "index": off,
            },
            {
                "state": "ready",
                "model": "m",
                "engine": "llama",
                "message": "",
                "progress": None,
                "offline": False,
                "index": off,
            },
        ]


async def test_nothing_is_notified_before_initialized() -> None:
    async with served(build()) as client:
        await client.initialize(initialized=False)
        await host(client, "loading", model="m")
        assert client.all("coder-lsp/status") == []
        client.notify("initialized")
        assert (await client.next("coder-lsp/status"))["state"] == "loading"


async def test_loading_shows_progress_from_begin_to_end() -> None:
    async with served(build()) as client:
        await ready(client, PROGRESS)
        await host(client, "starting", model="m")
        token = (await client.next("window/workDoneProgress/create"))["token"]
        begin = await client.next("$/progress")
        for progress in (0.25, 0.251, 0.1, 0.75):
            await host(client, "loading", model="m", progress=progress)
        await host(client, "ready", model="m")
        end = await client.next("$/progress", lambda params: params["value"]["kind"] == "end")
        assert {message["token"] for message in client.all("$/progress")} == {token}
        assert begin["value"] == {"kind": "begin", "title": "Loading m", "percentage": 0, "cancellable": False}
        assert end["value"]["message"] == "ready"
        shown = [message["value"]["percentage"] for message in client.all("$/progress")[1:-1]]
        assert shown == sorted(shown)
        assert shown[-1] == 75
        # Loading again is a progress of its own.
        await host(client, "loading", model="m")
        assert (await client.next("window/workDoneProgress/create"))["token"] != token


async def test_loading_that_fails_ends_the_progress_and_says_so_once() -> None:
    async with served(build()) as client:
        await ready(client, PROGRESS)
        await host(client, "loading", model="m")
        await client.next("$/progress")
        await host(client, "error", model="m", message="no memory; choose a smaller model")
        end = await client.next("$/progress", lambda params: params["value"]["kind"] == "end")
        assert end["value"]["message"] == "not loaded"
        message = await client.next("window/showMessage")
        assert message == {"type": 1, "message": "coder-lsp: no memory; choose a smaller model"}


async def test_cancelling_a_request_and_the_progress_itself_does_not_end_the_progress() -> None:
    async with served(build()) as client:
        await ready(client, {**PROGRESS, **INLINE})
        await client.request("test/script", {"json": '{"hold": true}'})
        client.open("file:///a.py", "x")
        place = {"textDocument": {"uri": "file:///a.py"}, "position": {"line": 0, "character": 1}}
        identity, answer = client.start_request("textDocument/inlineCompletion", place)
        await host(client, "loading", model="m", progress=0.1)
        token = (await client.next("$/progress"))["token"]
        client.notify("window/workDoneProgress/cancel", {"token": token})
        client.cancel(identity)
        with pytest.raises(LspError):
            await answer
        await host(client, "loading", model="m", progress=0.6)
        report = await client.next("$/progress", lambda params: params["value"].get("percentage") == 60)
        assert report["value"]["kind"] == "report"


async def test_a_client_without_progress_is_not_asked_for_any() -> None:
    async with served(build()) as client:
        await ready(client)
        await host(client, "loading", model="m")
        await host(client, "ready", model="m")
        assert await client.end() == 0
        assert client.all("window/workDoneProgress/create") == client.all("$/progress") == []


async def test_a_client_that_refuses_progress_is_not_asked_again() -> None:
    def refuse(_: Any) -> Any:
        raise LspError(-32603, "no")

    async with served(build(), {"window/workDoneProgress/create": refuse}) as client:
        await ready(client, PROGRESS)
        await host(client, "loading", model="m")
        await client.next("window/workDoneProgress/create")
        await host(client, "ready", model="m")
        await host(client, "loading", model="m")
        assert await client.end() == 0
        assert len(client.all("window/workDoneProgress/create")) == 1
        assert client.all("$/progress") == []


async def test_loading_that_ends_before_the_client_agrees_shows_nothing() -> None:
    def later(_: Any) -> Any:
        raise NoAnswer

    async with served(build(), {"window/workDoneProgress/create": later}) as client:
        await ready(client, PROGRESS)
        await host(client, "loading", model="m")
        await client.next("window/workDoneProgress/create")
        await host(client, "ready", model="m")
        [create] = [message for message in client.received if message.get("method") == "window/workDoneProgress/create"]
        client.send({"id": create["id"], "result": None})
        assert await client.end() == 0
        assert client.all("$/progress") == []


async def test_a_failing_host_is_one_message_however_often_it_is_asked() -> None:
    async with served(build()) as client:
        await ready(client, INLINE)
        for _ in range(3):
            assert await fail(client, "unavailable") == {"items": []}
        [message] = client.all("window/showMessage")
        assert message["type"] == 1
        assert "no host could be started" in message["message"]
        assert "run coder-lsp doctor" in message["message"]
        assert client.all("coder-lsp/status")[-1]["state"] == "error"


async def test_after_something_changed_a_failure_is_news() -> None:
    async with served(build()) as client:
        await ready(client, INLINE)
        await fail(client, "unavailable")
        await command(client, "restart")
        await fail(client, "unavailable")
        await host(client, "ready", model="m")
        await fail(client, "unavailable")
        assert len(client.all("window/showMessage")) == 3


async def test_status_and_request_that_tell_of_one_failure_are_one_message() -> None:
    async with served(build()) as client:
        await ready(client, INLINE)
        await host(client, "error", message="broken\n  repair it.")
        await fail(client, "unavailable")
        await host(client, "error", message="still broken; repair it")
        assert [message["message"] for message in client.all("window/showMessage")] == ["coder-lsp: broken. repair it"]
        assert client.all("coder-lsp/status")[-1]["message"] == "still broken; repair it"


@pytest.mark.parametrize("how", ["crash", "bug"])
async def test_a_crash_and_a_fault_of_ours_cost_a_suggestion_and_no_message(how: str) -> None:
    async with served(build()) as client:
        await ready(client, INLINE)
        assert await fail(client, how) == {"items": []}
        assert await client.end() == 0
        assert client.all("window/showMessage") == []


async def test_what_a_ready_host_has_to_say_is_one_message_until_all_is_well() -> None:
    """A server is away and this machine completes: worth a word, and not one at every attempt."""
    async with served(build()) as client:
        await ready(client)
        await host(client, "ready", model="m", message="the server is away; asked again in 2 s")
        await host(client, "generating", model="m")
        await host(client, "ready", model="m", message="the server is away; asked again in 4 s")
        await host(client, "ready", model="m")
        await host(client, "ready", model="m", message="the server is away again")
        told = [(shown["type"], shown["message"]) for shown in client.all("window/showMessage")]
    assert told == [
        (2, "coder-lsp: the server is away; asked again in 2 s"),
        (2, "coder-lsp: the server is away again"),
    ]


async def test_a_host_that_does_not_start_is_one_message() -> None:
    async with served(build()) as client:
        await client.initialize({}, initializationOptions={"model": "refuses"})
        message = await client.next("window/showMessage")
        assert "choose another model" in message["message"]


async def test_restart_restarts_the_host_and_answers_with_the_status() -> None:
    async with served(build()) as client:
        await ready(client)
        await host(client, "ready", model="m")
        assert (await command(client, "restart"))["state"] == "ready"
        await client.next("test/event", lambda event: event.get("call") == "restart")


async def test_a_restart_that_fails_is_the_answer_and_no_message_besides() -> None:
    async with served(build()) as client:
        await ready(client)
        await host(client, "error", message="gone")
        with pytest.raises(LspError, match=r"it does not restart\. run coder-lsp doctor") as refused:
            await command(client, "restart")
        assert refused.value.code == -32803
        assert [message["message"] for message in client.all("window/showMessage")] == ["coder-lsp: gone"]


@pytest.mark.parametrize("scope", [None, "python", "file:///a.py"])
async def test_pause_and_resume_reach_the_service_with_their_scope(scope: str | None) -> None:
    async with served(build()) as client:
        await ready(client)
        arguments = [] if scope is None else [scope]
        status = await command(client, "pause", *arguments)
        assert status["state"] == ("paused" if scope is None else "stopped")
        event = await client.next("test/event", lambda event: event["event"] == "paused")
        assert (event["scope"], event["on"]) == (scope, True)
        told = await command(client, "status")
        assert (told["paused"], told["pausedScopes"]) == (scope is None, [scope] if scope else [])
        assert (await command(client, "resume", *arguments))["state"] == "stopped"
        event = await client.next("test/event", lambda event: event["event"] == "paused")
        assert (event["scope"], event["on"]) == (scope, False)


async def test_a_pause_everywhere_is_in_the_status_notification() -> None:
    async with served(build()) as client:
        await ready(client)
        await command(client, "pause")
        await client.next("coder-lsp/status", lambda status: status["state"] == "paused")
        await command(client, "resume")
        await client.next("coder-lsp/status", lambda status: status["state"] == "stopped")


async def test_status_tells_of_the_host_process_and_does_without() -> None:
    async with served(build()) as client:
        await ready(client)
        assert (await command(client, "status"))["host"] == {"pid": 4711, "model": "scripted"}
        await host(client, "error", message="gone")
        status = await command(client, "status")
        assert (status["host"], status["state"], status["message"]) == (None, "error", "gone")


@pytest.mark.parametrize(
    ("name", "arguments"), [("pause", [7]), ("pause", ["python", "lua"]), ("chooseModel", [{}]), ("nonsense", [])]
)
async def test_wrong_arguments_and_unknown_commands_are_refused(name: str, arguments: list[Any]) -> None:
    async with served(build()) as client:
        await ready(client)
        with pytest.raises(LspError) as refused:
            await command(client, name, *arguments)
        assert refused.value.code == -32602


async def test_show_log_opens_the_file_where_the_client_can(tmp_path: Path) -> None:
    log = tmp_path / "server log"
    shown = {"window/showDocument": lambda _: {"success": True}}
    async with served(with_log(log), shown) as client:
        await ready(client, {"window": {"showDocument": {"support": True}}})
        assert await command(client, "showLog") == {"path": str(log)}
        assert (await client.next("window/showDocument"))["uri"] == log.as_uri()
        assert client.all("window/showMessage") == []


@pytest.mark.parametrize("capabilities", [{}, {"window": {"showDocument": {"support": True}}}])
async def test_show_log_says_where_the_file_is_where_the_client_cannot(
    tmp_path: Path, capabilities: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    refused = {"window/showDocument": lambda _: {"success": False}}
    async with served(with_log(log), refused) as client:
        await ready(client, capabilities)
        await command(client, "showLog")
        assert str(log) in (await client.next("window/showMessage"))["message"]


async def test_show_log_without_a_file_tells_how_to_get_one() -> None:
    async with served(build()) as client:
        await ready(client)
        assert await command(client, "showLog") == {"path": None}
        assert "--log-file" in (await client.next("window/showMessage"))["message"]


@pytest.mark.parametrize(
    ("text_document", "method", "static"),
    [
        (
            {"inlineCompletion": {"dynamicRegistration": True}},
            "textDocument/inlineCompletion",
            "inlineCompletionProvider",
        ),
        ({"completion": {"dynamicRegistration": True}}, "textDocument/completion", "completionProvider"),
    ],
)
async def test_features_are_announced_at_once_also_where_the_client_takes_registrations(
    text_document: dict[str, Any], method: str, static: str
) -> None:
    async with served(build()) as client:
        answer = await client.initialize({"textDocument": text_document})
        assert static in answer["capabilities"]
        await client.request("test/script", {"json": '{"suggestions": [{"text": "1"}]}'})
        client.open("file:///a.py", "")
        place = {"textDocument": {"uri": "file:///a.py"}, "position": {"line": 0, "character": 0}}
        assert len((await asyncio.wait_for(client.request(method, place), 10))["items"]) == 1
        assert client.all("client/registerCapability") == [], "one that comes early is forgotten by VS Code's library"
