"""Folders and notebooks: where a document is, and what stands above a cell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.lsp_client import served, span
from support.scripted_server import build

from coder_lsp.server.roots import Location, WorkspaceRoots

if TYPE_CHECKING:
    from support.lsp_client import LspClient

CAPABILITIES = {
    "textDocument": {"inlineCompletion": {}},
    "workspace": {"workspaceFolders": True},
    "notebookDocument": {"synchronization": {}},
}
BOOK = "file:///ws/inner/book.ipynb"


async def ask(client: LspClient, uri: str, line: int = 0, character: int = 0) -> dict[str, Any]:
    """What the service is asked for a place."""
    place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
    await client.request("textDocument/inlineCompletion", place)
    return (await client.request("test/requests"))[-1]


def folder(uri: str) -> dict[str, str]:
    return {"uri": uri, "name": "x"}


async def test_a_file_belongs_to_the_deepest_folder_and_folders_come_and_go() -> None:
    async with served(build()) as client:
        folders = [folder("file:///ws"), folder("file:///ws/inner%20one/")]
        await client.initialize(CAPABILITIES, workspaceFolders=folders, rootUri="file:///other")
        uri = "file:///ws/inner%20one/src/a%2Bb.py"
        client.open(uri, "x")
        assert [(await ask(client, uri))[key] for key in ("root", "path")] == ["/ws/inner one", "src/a+b.py"]
        event = {"added": [folder("file:///ws/inner%20one/src")], "removed": [folder("file:///ws/inner%20one")]}
        client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert [(await ask(client, uri))[key] for key in ("root", "path")] == ["/ws/inner one/src", "a+b.py"]
        event = {"added": [], "removed": [folder("file:///ws/inner%20one/src"), folder("file:///never")]}
        client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert [(await ask(client, uri))[key] for key in ("root", "path")] == ["/ws", "inner one/src/a+b.py"]


async def test_without_folders_the_root_uri_counts() -> None:
    async with served(build()) as client:
        await client.initialize(CAPABILITIES, workspaceFolders=None, rootUri="file:///ws")
        client.open("file:///ws/a.py", "x")
        client.open("untitled:Untitled-1", "x")
        client.open("file:///elsewhere/b.py", "x")
        assert (await ask(client, "file:///ws/a.py"))["path"] == "a.py"
        assert [(await ask(client, "untitled:Untitled-1"))[key] for key in ("root", "path")] == ["", ""]
        assert [(await ask(client, "file:///elsewhere/b.py"))[key] for key in ("root", "path")] == [
            "",
            "/elsewhere/b.py",
        ]


@pytest.mark.parametrize(
    "uri", ["", "file:", "http://host/a", "untitled:x", "file://[broken", "file:///a%00b", "file:///\ud800"]
)
def test_what_is_no_file_has_no_place(uri: str) -> None:
    roots = WorkspaceRoots()
    roots.change(added=[uri])
    assert roots.locate(uri) == Location()


def test_a_folder_is_not_taken_for_another_with_a_longer_name() -> None:
    roots = WorkspaceRoots()
    roots.change(added=["file:///ws/app"])
    assert roots.locate("file:///ws/app-old/a.py") == Location(path="/ws/app-old/a.py")


def cell(name: str, kind: int = 2) -> dict[str, Any]:
    return {"kind": kind, "document": uri_of(name)}


def uri_of(name: str) -> str:
    return f"vscode-notebook-cell:/ws/inner/book.ipynb#{name}"


def document(name: str, text: str, language: str = "python") -> dict[str, Any]:
    return {"uri": uri_of(name), "languageId": language, "version": 1, "text": text}


async def open_book(client: LspClient) -> None:
    answer = await client.initialize(CAPABILITIES, workspaceFolders=[folder("file:///ws")])
    assert answer["capabilities"]["notebookDocumentSync"]["notebookSelector"] == [{"notebook": "*"}]
    client.notify(
        "notebookDocument/didOpen",
        {
            "notebookDocument": {
                "uri": BOOK,
                "notebookType": "jupyter-notebook",
                "version": 1,
                "cells": [cell("a"), cell("b", kind=1), cell("c")],
            },
            "cellTextDocuments": [
                document("a", "import os"),
                document("b", "# words", "markdown"),
                document("c", "os."),
            ],
        },
    )


def change_book(client: LspClient, version: int, **cells: Any) -> None:
    notebook = {"uri": BOOK, "version": version}
    client.notify("notebookDocument/didChange", {"notebookDocument": notebook, "change": {"cells": cells}})


async def test_a_cell_is_asked_for_with_the_code_above_and_the_path_of_its_notebook() -> None:
    async with served(build()) as client:
        await open_book(client)
        request = await ask(client, uri_of("c"), 0, 3)
        assert (request["preceding"], request["text"], request["cursor"]) == ("import os\n", "os.", 3)
        assert (request["root"], request["path"]) == ("/ws", "inner/book.ipynb")


async def test_cells_are_inserted_edited_moved_and_deleted() -> None:
    async with served(build()) as client:
        await open_book(client)
        # Insert a last cell, edit the first one.
        array = {"start": 3, "deleteCount": 0, "cells": [cell("d")]}
        edited = {
            "document": {"uri": uri_of("a"), "version": 2},
            "changes": [{"range": span(0, 7, 0, 9), "text": "sys"}],
        }
        change_book(client, 2, structure={"array": array, "didOpen": [document("d", "")]}, textContent=[edited])
        assert (await ask(client, uri_of("d")))["preceding"] == "import sys\nos.\n"
        # Move the last cell to the top: taken out, then put in.
        change_book(client, 3, structure={"array": {"start": 3, "deleteCount": 1}})
        change_book(client, 4, structure={"array": {"start": 0, "deleteCount": 0, "cells": [cell("d")]}})
        assert (await ask(client, uri_of("d")))["preceding"] == ""
        # The first code cell becomes words.
        change_book(client, 5, data=[cell("a", kind=1)])
        assert (await ask(client, uri_of("c")))["preceding"] == ""
        # Delete.
        closed = [{"uri": uri_of("c")}]
        change_book(client, 6, structure={"array": {"start": 3, "deleteCount": 1}, "didClose": closed})
        assert await client.request("test/document", {"uri": uri_of("c")}) is None
        client.notify("notebookDocument/didSave", {"notebookDocument": {"uri": BOOK}})
        closing = {"notebookDocument": {"uri": BOOK}, "cellTextDocuments": [{"uri": uri_of("a")}]}
        client.notify("notebookDocument/didClose", closing)
        assert await client.request("test/document", {"uri": uri_of("d")}) is None
        assert await client.end() == 0


async def test_a_notebook_change_that_cannot_be_read_takes_its_cells_out_until_they_come_again() -> None:
    async with served(build()) as client:
        await open_book(client)
        await client.request("test/script", {"json": json.dumps({"echo": True})})
        change_book(client, 2, textContent=[{"document": {"uri": uri_of("a"), "version": 2}, "changes": 3}])
        place = {"textDocument": {"uri": uri_of("c")}, "position": {"line": 0, "character": 3}}
        assert (await client.request("textDocument/inlineCompletion", place))["items"] == []
