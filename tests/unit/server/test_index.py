"""What the workspace is told of documents, folders and settings, and what a user sees of its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lsp_client import served, span
from support.scripted_server import build
from support.scripted_workspace import ScriptedWorkspace

from coder_lsp.documents.document import Document
from coder_lsp.documents.store import ClientRange, DocumentStore, Edit
from coder_lsp.server import progress
from coder_lsp.server.workspace import changed_lines
from coder_lsp.types import IndexState, IndexStatus

if TYPE_CHECKING:
    from support.lsp_client import LspClient

    from coder_lsp.server.server import CoderLanguageServer

A = "file:///ws/a.py"
PROGRESS = {"window": {"workDoneProgress": True}}


def folder(uri: str) -> dict[str, str]:
    return {"uri": uri, "name": "x"}


async def begun(client: LspClient, capabilities: dict[str, Any] | None = None, **params: Any) -> None:
    """Initialized, and all that follows from it done."""
    given = {"workspaceFolders": [folder("file:///ws")], **params}
    await client.initialize(capabilities or {}, **given)
    await client.next("test/event", lambda event: event.get("call") == "start")


async def handled(client: LspClient) -> None:
    """Everything sent before has been handled."""
    await client.request("test/requests")


@pytest.fixture
def workspace() -> ScriptedWorkspace:
    return ScriptedWorkspace()


async def test_settings_are_known_before_any_folder_is_looked_at(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        await begun(client, initializationOptions={"model": "other"})
        assert workspace.calls == [("configure", "other"), ("roots", "/ws")]


async def test_folders_that_come_and_go_reach_the_workspace(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        await begun(client)
        event = {"added": [folder("file:///more")], "removed": [folder("file:///ws")]}
        client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        await handled(client)
        assert workspace.calls[-1] == ("roots", "/more")


async def test_documents_are_told_of_with_the_lines_that_changed(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        await begun(client)
        workspace.calls.clear()
        client.open(A, "a\nb\nc\n")
        client.change(A, 2, ((1, 1, 1, 1), "x\ny"))
        client.notify("textDocument/didSave", {"textDocument": {"uri": A}})
        client.notify("textDocument/didClose", {"textDocument": {"uri": A}})
        await handled(client)
        assert workspace.calls == [
            ("opened", "/ws/a.py", "a\nb\nc\n"),
            ("changed", "/ws/a.py", "a\nbx\ny\nc\n", 1, 2, 3),
            ("saved", "/ws/a.py"),
            ("closed", "/ws/a.py"),
        ]


async def test_saving_is_announced_so_that_editors_tell_of_it(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        answer = await client.initialize()
        assert answer["capabilities"]["textDocumentSync"]["save"] == {"includeText": False}


async def test_what_is_no_file_is_passed_over(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        await begun(client, {"notebookDocument": {"synchronization": {}}})
        workspace.calls.clear()
        client.open("untitled:Untitled-1", "x")
        client.change("untitled:Untitled-1", 2, (None, "y"))
        client.notify("textDocument/didSave", {"textDocument": {"uri": "untitled:Untitled-1"}})
        cell = "file:///ws/book.ipynb#1"
        book = {"uri": "file:///ws/book.ipynb", "notebookType": "jupyter-notebook", "version": 1}
        text = {"uri": cell, "languageId": "python", "version": 1, "text": "x"}
        client.notify(
            "notebookDocument/didOpen",
            {"notebookDocument": {**book, "cells": [{"kind": 2, "document": cell}]}, "cellTextDocuments": [text]},
        )
        changes = [{"range": span(0, 0, 0, 0), "text": "y"}]
        cells = {"textContent": [{"document": {"uri": cell, "version": 2}, "changes": changes}]}
        client.notify("notebookDocument/didChange", {"notebookDocument": book, "change": {"cells": cells}})
        closing = {"notebookDocument": book, "cellTextDocuments": [{"uri": cell}]}
        client.notify("notebookDocument/didClose", closing)
        await handled(client)
        assert workspace.calls == []


async def test_a_text_that_is_not_known_any_more_counts_as_closed_until_it_comes_again(
    workspace: ScriptedWorkspace,
) -> None:
    async with served(build(workspace)) as client:
        await begun(client)
        client.open(A, "a\n")
        client.notify("textDocument/didChange", {"textDocument": {"uri": A, "version": 2}, "contentChanges": 3})
        client.change(A, 3, ((0, 0, 0, 0), "lost"))
        client.change(A, 4, (None, "whole\n"))
        client.change(A, 5, ((0, 0, 0, 0), "the "))
        await handled(client)
        assert workspace.calls[-5:] == [
            ("opened", "/ws/a.py", "a\n"),
            ("closed", "/ws/a.py"),
            ("closed", "/ws/a.py"),
            ("opened", "/ws/a.py", "whole\n"),
            ("changed", "/ws/a.py", "the whole\n", 0, 1, 1),
        ]


async def test_watched_files_are_no_error(workspace: ScriptedWorkspace) -> None:
    async with served(build(workspace)) as client:
        await begun(client)
        before = list(workspace.calls)
        client.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": A, "type": 2}]})
        await handled(client)
        assert workspace.calls == before
        assert await client.end() == 0


@pytest.mark.parametrize("error", [None, OSError("busy"), ValueError("a fault of ours")])
async def test_the_workspace_is_stopped_with_the_session_once_and_cannot_keep_it(error: Exception | None) -> None:
    workspace = ScriptedWorkspace()
    workspace.fails = error
    async with served(build(workspace)) as client:
        await begun(client)
        assert await client.end() == 0
    assert workspace.calls.count(("stop",)) == 1


# -- the lines that changed


LETTERS = st.text("ab\n", max_size=12)
PLACES = st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5), st.integers(0, 3))


def places(numbers: tuple[int, int, int, int]) -> ClientRange:
    start, end = sorted([numbers[:2], numbers[2:]])
    return ClientRange(*start, *end)


@given(LETTERS, st.lists(st.builds(Edit, LETTERS, st.one_of(st.none(), PLACES.map(places))), min_size=1, max_size=4))
def test_lines_outside_of_the_changed_ones_are_the_same(text: str, edits: list[Edit]) -> None:
    documents = DocumentStore()
    before = documents.open("u", "python", 1, text)
    after = documents.change("u", 2, edits)
    assert after is not None
    start, old_end, end = changed_lines(before, after, edits)
    old, new = before.text.split("\n"), after.text.split("\n")
    assert 0 <= start <= old_end <= len(old)
    assert start <= end <= len(new)
    assert old[:start] == new[:start]
    assert old[old_end:] == new[end:]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([Edit("x", ClientRange(3, 0, 3, 0))], (3, 4, 4)),
        ([Edit("\n", ClientRange(3, 1, 3, 1))], (3, 4, 5)),
        ([Edit("", ClientRange(3, 0, 4, 0))], (3, 5, 4)),
        ([Edit("x", ClientRange(99, 0, 99, 0))], (10, 11, 11)),
        ([Edit("x", ClientRange(2, 0, 2, 0)), Edit("y\n", ClientRange(7, 0, 7, 0))], (2, 8, 9)),
        ([Edit("y\n", ClientRange(7, 0, 7, 0)), Edit("x", ClientRange(2, 0, 2, 0))], (2, 8, 9)),
        ([Edit("0\n1\nX\n3\n4\n5\n6\n7\n8\n9\n")], (2, 3, 3)),
        ([Edit("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")], (11, 11, 11)),
        ([], (0, 0, 0)),
    ],
)
def test_only_the_changed_lines_are_named(edits: list[Edit], expected: tuple[int, int, int]) -> None:
    before = Document.of("u", "python", 1, "".join(f"{line}\n" for line in range(10)))
    documents = DocumentStore()
    documents.open("u", "python", 1, before.text)
    after = documents.change("u", 2, edits)
    assert after is not None
    assert changed_lines(before, after, edits) == expected


# -- what a user sees


def indexing(done: int, total: int, files: int = 0) -> IndexStatus:
    return IndexStatus(IndexState.INDEXING, files, done, total)


def ready(files: int, total: int = 0) -> IndexStatus:
    return IndexStatus(IndexState.READY, files, total, total)


async def told(client: LspClient, server: CoderLanguageServer, *statuses: IndexStatus) -> None:
    for status in statuses:
        server.index_changed(status)
        await handled(client)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexing is shown however quick it is."""
    monkeypatch.setattr(progress, "UNNOTICED_S", 0.0)


async def test_the_status_says_how_the_index_is(workspace: ScriptedWorkspace) -> None:
    server = build(workspace)
    async with served(server) as client:
        await begun(client)
        await told(client, server, indexing(0, 0), indexing(20, 100, files=30), indexing(40, 100, files=50), ready(110))
        found = [status["index"] for status in client.all("coder-lsp/status")]
        assert {"state": "indexing", "files": 0, "pending": 0} in found
        # Figures alone are told of once a second at most.
        assert {"state": "indexing", "files": 50, "pending": 60} not in found
        assert found[-1] == {"state": "ready", "files": 110, "pending": 0}
        workspace.status = ready(112)
        command = {"command": "coder-lsp.status", "arguments": []}
        answer = await client.request("workspace/executeCommand", command)
        assert answer["index"] == {"state": "ready", "files": 112, "pending": 0}


async def test_indexing_shows_progress_of_its_own_from_begin_to_end(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS, workspaceFolders=[folder("file:///home/me/project")])
        server.index_changed(indexing(0, 0))
        server.index_changed(indexing(1234, 10_000))
        begin = await client.next("$/progress")
        await told(client, server, indexing(2500, 10_000), indexing(2600, 20_000), indexing(10_000, 20_000))
        await told(client, server, ready(20_000, total=20_000))
        end = await client.next("$/progress", lambda params: params["value"]["kind"] == "end")
        assert begin["value"] == {
            "kind": "begin",
            "title": "Indexing project",
            "percentage": 12,
            "message": "1,234 of 10,000 files",
            "cancellable": False,
        }
        reports = [message["value"] for message in client.all("$/progress")[1:-1]]
        assert [report["percentage"] for report in reports] == [25, 25, 50]
        assert reports[0]["message"] == "2,500 of 10,000 files"
        assert end["value"]["message"] == "20,000 files in 1 s"
        assert len({message["token"] for message in client.all("$/progress")}) == 1


async def test_the_model_and_the_index_are_two_progresses(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS)
        await client.request("test/host", {"json": '{"state": "loading", "model": "m"}'})
        server.index_changed(indexing(1, 10))
        titles = {(await client.next("$/progress"))["value"]["title"] for _ in range(2)}
        assert titles == {"Loading m", "Indexing ws"}


async def test_several_folders_are_counted_in_the_title(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS, workspaceFolders=[folder("file:///ws"), folder("file:///more")])
        server.index_changed(indexing(1, 10))
        assert (await client.next("$/progress"))["value"]["title"] == "Indexing 2 folders"


async def test_indexing_that_takes_no_time_is_not_shown() -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS)
        await told(client, server, indexing(0, 0), indexing(1, 10), ready(10))
        assert await client.end() == 0
        assert client.all("window/workDoneProgress/create") == []


async def test_loading_what_was_indexed_before_is_not_shown(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS)
        await told(client, server, indexing(0, 0), indexing(0, 0, files=500), ready(10_000))
        assert await client.end() == 0
        assert client.all("window/workDoneProgress/create") == []


async def test_indexing_that_is_switched_off_ends_the_progress(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client, PROGRESS)
        server.index_changed(indexing(1, 10))
        await client.next("$/progress")
        server.index_changed(IndexStatus())
        end = await client.next("$/progress", lambda params: params["value"]["kind"] == "end")
        assert end["value"]["message"] == "stopped"


async def test_a_client_without_progress_is_told_the_status_alone(at_once: None) -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client)
        await told(client, server, indexing(1, 10), ready(10, total=10))
        assert client.all("window/workDoneProgress/create") == client.all("$/progress") == []
        assert client.all("coder-lsp/status")[-1]["index"]["state"] == "ready"


async def test_a_notice_is_a_warning() -> None:
    server = build(ScriptedWorkspace())
    async with served(server) as client:
        await begun(client)
        server.index_notice("the index of ws was damaged and is built anew.")
        message = await client.next("window/showMessage")
        assert message == {"type": 2, "message": "coder-lsp: the index of ws was damaged and is built anew."}
