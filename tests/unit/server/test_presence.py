"""What the completion service hears of where the user is, through a real server process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.lsp_client import served
from support.scripted_server import build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.lsp_client import LspClient

URI = "file:///ws/a.py"
FOCUS = "coder-lsp/didFocus"


@asynccontextmanager
async def session(text: str = "x = \ny = \n") -> AsyncIterator[LspClient]:
    async with served(build()) as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        client.open(URI, text)
        yield client


async def told(client: LspClient, event: str) -> dict[str, Any]:
    return await client.next("test/event", lambda params: params["event"] == event)


def focus(line: int, character: int, uri: str = URI) -> dict[str, Any]:
    return {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}


async def test_a_document_that_is_opened_and_closed() -> None:
    async with session() as client:
        assert (await told(client, "opened"))["uri"] == URI
        client.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        assert (await told(client, "closed"))["uri"] == URI


async def test_where_the_cursor_is_in_code_points() -> None:
    async with session("é😀\n😀x\n") as client:
        client.notify(FOCUS, focus(1, 2))
        assert (await told(client, "focused"))["cursor"] == 4


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        7,
        {"textDocument": {"uri": URI}},
        {"textDocument": {}, "position": {"line": 0, "character": 0}},
        {"textDocument": {"uri": URI}, "position": {"line": "x", "character": 0}},
        focus(0, 0, "file:///ws/other.py"),
    ],
)
async def test_what_cannot_be_read_is_passed_over(params: Any) -> None:
    async with session() as client:
        client.notify(FOCUS, params)
        client.notify(FOCUS, focus(1, 4))
        assert (await told(client, "focused"))["cursor"] == 9


async def test_positions_outside_are_clamped() -> None:
    async with session() as client:
        client.notify(FOCUS, focus(99, 10**12))
        assert (await told(client, "focused"))["cursor"] == 10


async def test_cells_of_a_notebook_that_go() -> None:
    async with served(build()) as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        cells = [{"kind": 2, "document": f"file:///n.ipynb#{number}"} for number in range(2)]
        client.notify(
            "notebookDocument/didOpen",
            {
                "notebookDocument": {"uri": "file:///n.ipynb", "notebookType": "j", "version": 1, "cells": cells},
                "cellTextDocuments": [
                    {"uri": cell["document"], "languageId": "python", "version": 1, "text": "x"} for cell in cells
                ],
            },
        )
        change = {
            "structure": {
                "array": {"start": 0, "deleteCount": 1, "cells": []},
                "didClose": [{"uri": cells[0]["document"]}],
            }
        }
        client.notify(
            "notebookDocument/didChange",
            {"notebookDocument": {"uri": "file:///n.ipynb", "version": 2}, "change": {"cells": change}},
        )
        assert (await told(client, "closed"))["uri"] == cells[0]["document"]
        client.notify(
            "notebookDocument/didClose",
            {"notebookDocument": {"uri": "file:///n.ipynb"}, "cellTextDocuments": [{"uri": cells[1]["document"]}]},
        )
        assert (await told(client, "closed"))["uri"] == cells[1]["document"]


async def test_a_change_is_followed_by_an_answer_to_the_changed_text() -> None:
    async with session() as client:
        client.change(URI, 2, ((0, 4, 0, 4), "1"))
        client.notify(FOCUS, focus(1, 0))
        assert (await told(client, "focused"))["cursor"] == 6
