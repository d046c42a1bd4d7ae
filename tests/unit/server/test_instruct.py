"""Instructions over the protocol: what is given, shown on the way, changed, and answered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.lsp_client import LspError, served
from support.scripted_server import build

from coder_lsp.paths import state_dir
from coder_lsp.server.instruct_commands import tests_uri as uri_of_tests

if TYPE_CHECKING:
    from pathlib import Path

    from support.lsp_client import LspClient

TEXT = "def f(x):\n    # the double 😀\n\ny = 1\n"
COMMENT = len("    # the double ") + 2
"""Where the line of the comment ends, in UTF-16 units."""
CAPABILITIES = {
    "workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]}},
    "window": {"workDoneProgress": True, "showDocument": {"support": True}},
}
TAKES = {
    "workspace/applyEdit": lambda _: {"applied": True},
    "window/showDocument": lambda _: {"success": True},
}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "a.py").as_uri()


def span(line: int, character: int, last: int | None = None, end: int | None = None) -> dict[str, Any]:
    end_line, end_character = (line, character) if last is None else (last, end)
    return {
        "start": {"line": line, "character": character},
        "end": {"line": end_line, "character": end_character},
    }


async def begun(client: LspClient, uri: str, text: str = TEXT, **script: Any) -> None:
    await client.initialize(CAPABILITIES)
    await client.next("test/event", lambda event: event.get("call") == "start")
    client.open(uri, text, "python")
    await client.request("test/script", {"json": json.dumps(script)})


def asking(client: LspClient, name: str, **given: Any) -> tuple[int, asyncio.Future[Any]]:
    params = {"command": f"coder-lsp.{name}", "arguments": [given]}
    return client.start_request("workspace/executeCommand", params)


async def command(client: LspClient, name: str, **given: Any) -> Any:
    return await asyncio.wait_for(asking(client, name, **given)[1], 30)


async def test_a_change_comes_as_one_edit_in_the_clients_units(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="return 2 * x\n```\nThat doubles.")
        answer = await command(client, "generate", uri=uri, range=span(1, COMMENT))
        (applied,) = client.all("workspace/applyEdit")
    change = {"range": span(1, COMMENT), "newText": "\n    return 2 * x"}
    assert applied == {"label": "coder-lsp: generate", "edit": {"changes": {uri: [change]}}}
    assert (answer["applied"], answer["reason"], answer["task"], answer["version"]) == (True, "", "generate", 1)
    assert (answer["text"], answer["range"], answer["engine"]) == (change["newText"], change["range"], "scripted")


async def test_a_document_with_line_ends_of_windows_gets_them(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, TEXT.replace("\n", "\r\n"), answer="a = 1\nreturn a\n```")
        answer = await command(client, "generate", uri=uri, range=span(1, COMMENT))
    assert answer["text"] == "\r\n    a = 1\r\n    return a"
    assert answer["range"] == span(1, COMMENT)


async def test_a_client_that_applies_by_itself_gets_previews_and_the_text(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="z = 1\nz = 2\n```")
        given = {"uri": uri, "range": span(3, 0, 3, 5), "instruction": "twice", "id": "p1", "apply": False}
        answer = await command(client, "rewrite", **given)
        previews = client.all("coder-lsp/preview")
        assert client.all("workspace/applyEdit") == []
    assert answer["text"] == "z = 1\nz = 2"
    assert (answer["applied"], answer["reason"]) == (False, "")
    last = {"id": "p1", "uri": uri, "version": 1, "range": span(3, 0, 3, 5), "text": "z = 1\nz = 2", "done": True}
    assert previews[-1] == last
    assert all(answer["text"].startswith(each["text"]) and not each["done"] for each in previews[:-1])


async def test_a_text_that_changed_meanwhile_is_left_alone_and_nothing_is_lost(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="return 2 * x\n```", hold=True)
        await client.request("test/script", {"json": json.dumps({"answer": "return 2 * x", "hold": True})})
        _, asked = asking(client, "generate", uri=uri, range=span(1, COMMENT))
        await client.next("test/event", lambda event: event["event"] == "instructed")
        client.change(uri, 2, ((3, 0, 3, 0), "new = 0\n"))
        client.notify("test/release", {})
        answer = await asyncio.wait_for(asked, 30)
        assert client.all("workspace/applyEdit") == []
    assert not answer["applied"]
    assert "changed meanwhile" in answer["reason"]
    assert answer["text"] == "\n    return 2 * x"


async def test_cancelling_the_request_stops_the_model(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="x", hold=True)
        identity, asked = asking(client, "generate", uri=uri, range=span(1, COMMENT))
        await client.next("test/event", lambda event: event["event"] == "instructed")
        client.cancel(identity)
        await client.next("test/event", lambda event: event["event"] == "cancelled")
        with pytest.raises(LspError, match="-32800"):
            await asyncio.wait_for(asked, 30)


async def test_the_user_stops_it_where_its_progress_is_shown(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="x", hold=True)
        _, asked = asking(client, "generate", uri=uri, range=span(1, COMMENT))
        shown = await client.next("$/progress", lambda progress: progress["value"]["kind"] == "begin")
        assert shown["value"]["title"] == "Writing code"
        await client.next("test/event", lambda event: event["event"] == "instructed")
        client.notify("window/workDoneProgress/cancel", {"token": shown["token"]})
        await client.next("test/event", lambda event: event["event"] == "cancelled")
        await client.next("$/progress", lambda progress: progress["value"]["kind"] == "end")
        with pytest.raises(LspError):
            await asyncio.wait_for(asked, 30)


async def test_an_explanation_is_opened_as_a_document_of_the_user_alone(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="It is one.")
        answer = await command(client, "explain", uri=uri, range=span(3, 0, 3, 5), show=True)
        (opened,) = client.all("window/showDocument")
    file = state_dir() / "explanation.md"
    assert (answer["text"], opened["uri"]) == ("It is one.", file.as_uri())
    assert file.read_text() == "It is one.\n"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_client_that_opens_nothing_is_told_in_a_message(uri: str) -> None:
    async with served(build()) as client:
        await begun(client, uri, answer="It is one.")
        await command(client, "explain", uri=uri, range=span(3, 0, 3, 5), show=True)
        message = await client.next("window/showMessage")
    assert message["message"] == "It is one."


async def test_tests_go_to_a_new_file_beside_the_tested_one(uri: str, tmp_path: Path) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="def test_y():\n    assert y == 1\n```")
        answer = await command(client, "writeTests", uri=uri, range=span(3, 0, 3, 5))
        (applied,) = client.all("workspace/applyEdit")
        target = (tmp_path / "test_a.py").as_uri()
        created, filled = applied["edit"]["documentChanges"]
        assert (created["kind"], created["uri"], created["options"]["overwrite"]) == ("create", target, False)
        assert filled["edits"][0]["newText"] == "def test_y():\n    assert y == 1\n"
        assert answer["applied"]
        (tmp_path / "test_a.py").write_text("# mine\n")
        again = await command(client, "writeTests", uri=uri, range=span(3, 0, 3, 5))
        assert len(client.all("workspace/applyEdit")) == 1
    assert (again["applied"], "already" in again["reason"]) == (False, True)
    assert again["text"].startswith("def test_y")


@pytest.mark.parametrize(
    ("language", "name"), [("python", "test_shop.py"), ("go", "shop_test.py"), ("typescript", "shop.test.py")]
)
def test_a_languages_tools_find_its_tests(language: str, name: str) -> None:
    assert uri_of_tests("file:///src/shop.py", language) == f"file:///src/{name}"
    assert uri_of_tests("untitled:shop.py", language) is None


@pytest.mark.parametrize("uri", ["", "file:", "file:///", "file://[::1", "file:///a%00.py", "file:///\ud800.py"])
def test_what_has_no_name_has_no_tests_beside_it(uri: str) -> None:
    assert uri_of_tests(uri, "python") is None


async def test_an_editor_that_refuses_the_change_is_believed(uri: str) -> None:
    async with served(build(), answers={"workspace/applyEdit": lambda _: {"applied": False}}) as client:
        await begun(client, uri, answer="return 1\n```")
        answer = await command(client, "generate", uri=uri, range=span(1, COMMENT))
    assert (answer["applied"], answer["reason"]) == (False, "the editor did not take the change")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"uri": 1, "range": span(0, 0)},
        {"uri": "file:///not-open.py", "range": span(0, 0)},
        {"range": {"start": {"line": "x", "character": 0}, "end": {"line": 0, "character": 0}}},
        {"range": span(0, 0), "instruction": 5},
        {"range": span(0, 0), "id": 5},
    ],
)
async def test_wrong_arguments_are_refused_with_what_would_be_right(uri: str, given: Any) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri)
        with pytest.raises(LspError, match="-32602"):
            await command(client, "generate", **({"uri": uri, **given} if given else given))


async def test_what_cannot_be_done_has_its_reason(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri)
        answer = await command(client, "rewrite", uri=uri, range=span(3, 0, 3, 5), show=True)
        message = await client.next("window/showMessage")
        await client.request("test/script", {"json": json.dumps({"fail": "unavailable"})})
        with pytest.raises(LspError, match="no host could be started"):
            await command(client, "explain", uri=uri, range=span(3, 0, 3, 5))
    assert answer["reason"] == "no instruction was given"
    assert message["message"] == "coder-lsp: no instruction was given"


async def actions(client: LspClient, uri: str, where: Any, **context: Any) -> list[Any]:
    params = {"textDocument": {"uri": uri}, "range": where, "context": {"diagnostics": [], **context}}
    found = await client.request("textDocument/codeAction", params)
    assert isinstance(found, list)
    return found


async def test_actions_are_offered_without_asking_the_model(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, answer="return 2 * x\n```")
        (generate,) = await actions(client, uri, span(1, COMMENT))
        selected = await actions(client, uri, span(3, 0, 3, 5))
        assert await actions(client, uri, span(3, 2)) == []
        assert await actions(client, uri, span(3, 0, 3, 5), only=["quickfix"]) == []
        assert len(await actions(client, uri, span(3, 0, 3, 5), only=["refactor"])) == len(selected)
        assert not [event for event in client.all("test/event") if event["event"] == "instructed"]
        # What is offered works as it is.
        await client.request("workspace/executeCommand", generate["command"])
        (applied,) = client.all("workspace/applyEdit")
    assert [each["title"] for each in selected] == [
        f"coder-lsp: {title}" for title in ("Explain", "Write tests", "Add documentation", "Simplify")
    ]
    assert applied["edit"]["changes"][uri][0]["newText"] == "\n    return 2 * x"


async def test_nothing_is_offered_where_nothing_may_be_shown_to_the_model(uri: str) -> None:
    async with served(build(), answers=TAKES) as client:
        await begun(client, uri, refuse="looks like a secret")
        assert await actions(client, uri, span(3, 0, 3, 5)) == []
