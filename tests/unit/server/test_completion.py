"""Requests for suggestions through a real server process: what the service is asked, and what comes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.lsp_client import LspError, served, span
from support.scripted_server import build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.lsp_client import LspClient

URI = "file:///ws/a.py"
INLINE = {"textDocument": {"inlineCompletion": {}}}
METHOD = "textDocument/inlineCompletion"


@asynccontextmanager
async def session(
    text: str = "x = ", *, script: dict[str, Any] | None = None, capabilities: dict[str, Any] | None = None
) -> AsyncIterator[LspClient]:
    async with served(build()) as client:
        await client.initialize(INLINE if capabilities is None else capabilities)
        await do(client, script or {})
        client.open(URI, text)
        yield client


async def do(client: LspClient, script: dict[str, Any]) -> None:
    await client.request("test/script", {"json": json.dumps(script)})


def at(line: int, character: int, **more: Any) -> dict[str, Any]:
    context = {"triggerKind": 2, **more}
    return {
        "textDocument": {"uri": URI},
        "position": {"line": line, "character": character},
        "context": context,
    }


async def asked(client: LspClient) -> dict[str, Any]:
    return (await client.request("test/requests"))[-1]


async def test_a_suggestion_comes_with_its_range_and_a_command_that_reports_its_acceptance() -> None:
    async with session(script={"suggestions": [{"text": "1"}]}) as client:
        [item] = (await client.request(METHOD, at(0, 4)))["items"]
        assert item["insertText"] == "1"
        assert item["range"] == span(0, 4, 0, 4)
        assert item["command"]["command"] == "coder-lsp.accepted"
        [identity] = item["command"]["arguments"]
        accepted = {"command": "coder-lsp.accepted", "arguments": [identity]}
        assert await client.request("workspace/executeCommand", accepted) is None


async def test_the_service_gets_the_document_the_cursor_and_the_trigger() -> None:
    async with session("def f():\r\n\treturn ", script={"suggestions": []}) as client:
        await client.request(METHOD, at(1, 8))
        request = await asked(client)
        assert request["text"] == "def f():\r\n\treturn "
        assert (request["uri"], request["language"], request["version"]) == (URI, "python", 1)
        assert (request["cursor"], request["trigger"]) == (18, "automatic")
        await client.request(METHOD, at(1, 8, triggerKind=1))
        assert (await asked(client))["trigger"] == "invoked"


@pytest.mark.parametrize("context", [{}, {"triggerKind": 0}, {"triggerKind": "soon"}, None])
async def test_an_unknown_trigger_counts_as_automatic(context: dict[str, Any] | None) -> None:
    async with session(script={"suggestions": [{"text": "1"}]}) as client:
        params = {**at(0, 4), "context": context}
        assert (await client.request(METHOD, params))["items"]
        assert (await asked(client))["trigger"] == "automatic"


async def test_quick_edits_are_seen_by_the_request_behind_them_and_not_those_after_it() -> None:
    """All in one write: the request's handler runs when the last change has been applied already."""
    async with session("", script={"echo": True}) as client:
        client.change(URI, 2, ((0, 0, 0, 0), "ab"))
        client.change(URI, 3, ((0, 2, 0, 2), "c"), ((0, 0, 0, 1), ""))
        _, first = client.start_request(METHOD, at(0, 2))
        client.change(URI, 4, ((0, 2, 0, 2), "!"))
        _, second = client.start_request(METHOD, at(0, 3))
        assert (await first)["items"] == []
        assert (await second)["items"][0]["insertText"] == "<bc!|>"
        requests = await client.request("test/requests")
        assert [request["text"] for request in requests] == ["bc", "bc!"]


@pytest.mark.parametrize(
    ("offered", "chosen", "character"),
    [
        (["utf-8", "utf-16"], "utf-8", 7),
        (["utf-16", "utf-8"], "utf-16", 4),
        (["utf-32"], "utf-32", 3),
        (None, "utf-16", 4),
    ],
)
async def test_positions_are_in_the_encoding_announced(offered: list[str] | None, chosen: str, character: int) -> None:
    """``é😀=`` and the cursor behind it, on the second line."""
    general = {"general": {"positionEncodings": offered}} if offered else {}
    async with served(build()) as client:
        answer = await client.initialize({**INLINE, **general})
        assert answer["capabilities"]["positionEncoding"] == chosen
        await do(client, {"suggestions": [{"text": "1", "before": 1, "after": 1}]})
        client.open(URI, "#\u2028\x0c\né😀=😀")
        [item] = (await client.request(METHOD, at(1, character)))["items"]
        assert (await asked(client))["cursor"] == 7
        astral = {"utf-8": 4, "utf-16": 2, "utf-32": 1}[chosen]
        assert item["range"] == span(1, character - 1, 1, character + astral)
        client.change(URI, 2, ((1, character - 1, 1, character), "≠"))
        assert await client.request("test/document", {"uri": URI}) == "#\u2028\x0c\né😀≠😀"


async def test_a_selected_entry_begins_the_suggestion_and_its_range_is_replaced() -> None:
    async with session("os.pa\nrest", script={"echo": True}) as client:
        selected = {"range": span(0, 3, 0, 5), "text": "path"}
        [item] = (await client.request(METHOD, at(0, 5, selectedCompletionInfo=selected)))["items"]
        assert item["insertText"] == "path<os.path|\nrest>"
        assert item["range"] == span(0, 3, 0, 5)
        assert (await asked(client))["version"] is None


async def test_with_a_selected_entry_what_is_replaced_behind_the_cursor_stays_replaced() -> None:
    async with session("f(pa)", script={"suggestions": [{"text": "())", "after": 1}]}) as client:
        selected = {"range": span(0, 2, 0, 4), "text": "parse"}
        [item] = (await client.request(METHOD, at(0, 4, selectedCompletionInfo=selected)))["items"]
        assert (item["insertText"], item["range"]) == ("parse())", span(0, 2, 0, 5))


async def test_a_suggestion_that_contradicts_the_selected_entry_is_left_out() -> None:
    async with session("os.pa", script={"suggestions": [{"text": "X", "before": 2}]}) as client:
        selected = {"range": span(0, 3, 0, 5), "text": "path"}
        assert (await client.request(METHOD, at(0, 5, selectedCompletionInfo=selected)))["items"] == []


async def test_no_suggestion_is_an_empty_list() -> None:
    async with session(script={"suggestions": []}) as client:
        assert await client.request(METHOD, at(0, 4)) == {"items": []}


async def test_a_document_that_is_not_open_gets_an_empty_list() -> None:
    async with session(script={"echo": True}) as client:
        params = {**at(0, 0), "textDocument": {"uri": "file:///other"}}
        assert await client.request(METHOD, params) == {"items": []}


async def test_cancelling_is_answered_with_request_cancelled() -> None:
    async with session(script={"hold": True}) as client:
        identity, answer = client.start_request(METHOD, at(0, 4))
        await client.next("test/event", lambda event: event["event"] == "asked")
        client.cancel(identity)
        with pytest.raises(LspError) as cancelled:
            await answer
        assert cancelled.value.code == -32800
        await client.next("test/event", lambda event: event["event"] == "cancelled")


async def test_cancelling_is_answered_while_the_service_still_tidies_up() -> None:
    async with session(script={"hold": True, "stubborn": True}) as client:
        identity, answer = client.start_request(METHOD, at(0, 4))
        await client.next("test/event", lambda event: event["event"] == "asked")
        client.cancel(identity)
        with pytest.raises(LspError) as cancelled:
            await answer
        assert cancelled.value.code == -32800
        client.notify("test/release", {})


async def test_a_request_cancelled_in_the_same_breath_is_answered_too() -> None:
    async with session(script={"hold": True}) as client:
        identity, answer = client.start_request(METHOD, at(0, 4))
        client.cancel(identity)
        client.cancel(identity)
        client.cancel(4711)
        with pytest.raises(LspError) as cancelled:
            await answer
        assert cancelled.value.code == -32800


async def test_a_superseded_request_is_answered_with_an_empty_list() -> None:
    async with session(script={"hold": True}) as client:
        _, first = client.start_request(METHOD, at(0, 4))
        await client.next("test/event", lambda event: event["event"] == "asked")
        await do(client, {"suggestions": [{"text": "1"}]})
        assert len((await client.request(METHOD, at(0, 4)))["items"]) == 1
        assert await first == {"items": []}


async def test_a_request_that_the_service_drops_by_cancelling_is_answered_with_an_empty_list() -> None:
    async with session(script={"drop": True}) as client:
        assert await client.request(METHOD, at(0, 4)) == {"items": []}


async def test_a_suggestion_for_a_text_that_is_gone_is_not_given() -> None:
    async with session(script={"hold": True}) as client:
        _, answer = client.start_request(METHOD, at(0, 4))
        await client.next("test/event", lambda event: event["event"] == "asked")
        client.change(URI, 2, ((0, 0, 0, 4), ""))
        await do(client, {"suggestions": [{"text": "1"}]})
        await client.request(METHOD, at(0, 0))
        assert await answer == {"items": []}


async def test_shutdown_answers_what_is_still_held() -> None:
    async with session(script={"hold": True}) as client:
        _, answer = client.start_request(METHOD, at(0, 4))
        await client.next("test/event", lambda event: event["event"] == "asked")
        assert await client.end() == 0
        assert (await asyncio.gather(answer, return_exceptions=True))[0] is not None
        assert answer.exception() is None or answer.exception().code == -32800


@pytest.mark.parametrize(
    "position", [{"line": 99, "character": 0}, {"line": 0, "character": 10**12}, {"line": -3, "character": -1}]
)
async def test_positions_outside_the_document_are_clamped(position: dict[str, int]) -> None:
    async with session("ab\ncd", script={"echo": True}) as client:
        [item] = (await client.request(METHOD, {**at(0, 0), "position": position}))["items"]
        expected = {99: "<ab\ncd|>", 0: "<ab|\ncd>", -3: "<|ab\ncd>"}
        assert item["insertText"] == expected[position["line"]]


@pytest.mark.parametrize(
    "position", [{"line": "x", "character": 0}, {"line": None, "character": 0}, {"line": 0}, 7, None]
)
async def test_a_position_that_is_none_is_refused_and_the_session_goes_on(position: Any) -> None:
    async with session(script={"suggestions": [{"text": "1"}]}) as client:
        with pytest.raises(LspError) as refused:
            await client.request(METHOD, {**at(0, 0), "position": position})
        assert refused.value.code == -32602
        assert (await client.request(METHOD, at(0, 4)))["items"]


async def test_after_a_change_that_cannot_be_read_there_are_no_suggestions_until_the_whole_text_comes() -> None:
    async with session("abc", script={"echo": True}) as client:
        lost = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"range": {"start": 1}, "text": "x"}]}
        client.notify("textDocument/didChange", lost)
        assert (await client.request(METHOD, at(0, 0)))["items"] == []
        client.change(URI, 3, (None, "whole"))
        assert (await client.request(METHOD, at(0, 5)))["items"][0]["insertText"] == "<whole|>"


async def test_a_suggestion_over_several_lines_replaces_within_one() -> None:
    """The protocol has no other form; a suggestion that would replace a line end is left out."""
    script = {"suggestions": [{"text": "1\n\ty", "after": 1}, {"text": "2", "after": 4}]}
    async with session("\tx = )\nz", script=script) as client:
        [item] = (await client.request(METHOD, at(0, 5)))["items"]
        assert (item["insertText"], item["range"]) == ("1\n\ty", span(0, 5, 0, 6))


async def test_a_suggestion_that_changes_nothing_is_left_out() -> None:
    async with session("f()", script={"suggestions": [{"text": ")", "after": 1}]}) as client:
        assert (await client.request(METHOD, at(0, 2)))["items"] == []


async def test_a_client_with_ghost_text_is_not_offered_the_completion_list() -> None:
    async with served(build()) as client:
        answer = await client.initialize(INLINE)
        assert "completionProvider" not in answer["capabilities"]


async def test_ghost_text_is_given_to_a_plugin_that_asks_though_its_editor_did_not_announce_it() -> None:
    async with session(script={"suggestions": [{"text": "1"}]}, capabilities={}) as client:
        assert len((await client.request(METHOD, at(0, 4)))["items"]) == 1


async def test_a_language_of_any_name_is_taken_as_sent() -> None:
    async with session(script={"suggestions": []}) as client:
        client.open(URI, "x = ", language="my own language")
        await client.request(METHOD, at(0, 4))
        assert (await asked(client))["language"] == "my own language"


class TestCompletionList:
    """``textDocument/completion`` for clients without ghost text."""

    async def test_it_is_offered_to_a_client_without_ghost_text(self) -> None:
        async with served(build()) as client:
            capabilities = (await client.initialize({}))["capabilities"]
            assert "inlineCompletionProvider" not in capabilities
            assert "." in capabilities["completionProvider"]["triggerCharacters"]

    async def test_the_entry_replaces_the_word_and_survives_filtering_by_it(self) -> None:
        script = {"suggestions": [{"text": "th.join(a,\n    b)"}]}
        async with session("x = os.pa", script=script, capabilities={}) as client:
            listed = await client.request("textDocument/completion", at(0, 9))
            [item] = listed["items"]
            assert listed["isIncomplete"] is True
            assert item["label"] == "path.join(a,"
            assert item["textEdit"] == {"range": span(0, 7, 0, 9), "newText": "path.join(a,\n    b)"}
            assert item["filterText"].startswith("pa")
            assert item["insertText"] == "path.join(a,\n    b)"
            assert item["insertTextMode"] == 1
            assert item["insertTextFormat"] == 1
            assert item["kind"] == 1, "Text: Helix takes the text of a Snippet for a template"
            assert item["documentation"] == {"kind": "markdown", "value": "```python\npath.join(a,\n    b)\n```"}
            assert item["command"]["command"] == "coder-lsp.accepted"

    async def test_nothing_is_written_that_the_list_does_not_show(self) -> None:
        async with session("x = ", script={"suggestions": [{"text": "1"}]}, capabilities={}) as client:
            await client.request("textDocument/completion", {**at(0, 4), "context": {"triggerKind": 1}})
            [request] = await client.request("test/requests")
            assert (request["trigger"], request["alternatives"]) == ("invoked", False)

    async def test_a_long_first_line_is_shortened_in_the_label_only(self) -> None:
        script = {"suggestions": [{"text": "a" * 100}]}
        async with session("", script=script, capabilities={}) as client:
            [item] = (await client.request("textDocument/completion", at(0, 0)))["items"]
            assert item["label"] == "a" * 59 + "…"
            assert item["filterText"] == item["insertText"] == "a" * 100

    async def test_the_documentation_fence_is_longer_than_any_in_the_text(self) -> None:
        script = {"suggestions": [{"text": "````\nx"}]}
        async with session("", script=script, capabilities={}) as client:
            [item] = (await client.request("textDocument/completion", at(0, 0)))["items"]
            assert item["documentation"]["value"] == "`````python\n````\nx\n`````"

    @pytest.mark.parametrize(
        ("text", "context", "trigger"),
        [
            ("x = pa", {"triggerKind": 1}, "automatic"),
            ("x = ", {"triggerKind": 1}, "invoked"),
            ("x = ", {"triggerKind": 2, "triggerCharacter": " "}, "automatic"),
            ("x = ", {"triggerKind": 3}, "automatic"),
            ("x = ", None, "invoked"),
        ],
    )
    async def test_asking_by_hand_is_told_from_typing(self, text: str, context: Any, trigger: str) -> None:
        async with session(text, script={"suggestions": []}, capabilities={}) as client:
            params = {**at(0, len(text)), "context": context}
            assert (await client.request("textDocument/completion", params))["items"] == []
            assert (await asked(client))["trigger"] == trigger
