"""Messages in any order, with any values: what an editor must not send, sent all the same.

A model of the session goes along: whether it has begun or is shut down, and what text each document has. Each request
gets one answer, each document is what the model says or not known, and the log has no text and no fault of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import PATIENCE_SECONDS, drive, json_values, positions, session, texts
from hypothesis import strategies as st
from support.lsp_client import LspError, span
from support.naive_document import NaiveDocument
from support.scripted_server import build

from coder_lsp.app import build_server
from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import ClientRange, Edit

URIS = (
    "file:///tmp/a.py",
    "untitled:Untitled-1",
    "",
    "file:///tmp/%00.py",
    "file:///tmp/\x00/b.py",
    "file:///tmp/%FF%FE.py",
    "file:///tmp/%zz%.py",
    "file://server/share/c.py",
    "file:///C%3A/d.py",
    "file:",
    "file://[::1",
    "file:///tmp/../../etc/passwd",
    "file:///tmp/line\nbreak.py",
    f"file:///tmp/{'x' * 5000}.py",
    "git:/tmp/a.py?%7B%22ref%22%3A%22~%22%7D",
    "http://127.0.0.1:1/a.py",
    "no uri at all",
    "file:///tmp/\ud800.py",
    "file:///dev/zero",
    "file:///proc/self/mem",
)
uris = st.integers(0, len(URIS) - 1) | st.just(0)
languages = st.sampled_from(["python", "", "no-such-language", "plaintext", "Python", "a\nb", "x" * 1000])
versions = st.integers(-3, 9) | st.sampled_from([2**31, -(2**40)])
ranges = st.none() | st.builds(lambda one, other: (*one, *other), positions, positions)
edits = st.lists(st.tuples(ranges, texts), max_size=4)
METHODS = [
    "initialize",
    "initialized",
    "shutdown",
    "textDocument/didOpen",
    "textDocument/didChange",
    "textDocument/didClose",
    "textDocument/didSave",
    "textDocument/inlineCompletion",
    "textDocument/completion",
    "textDocument/hover",
    "notebookDocument/didOpen",
    "notebookDocument/didChange",
    "notebookDocument/didClose",
    "workspace/executeCommand",
    "workspace/didChangeConfiguration",
    "workspace/didChangeWorkspaceFolders",
    "workspace/didChangeWatchedFiles",
    "workspace/didRenameFiles",
    "window/workDoneProgress/cancel",
    "$/cancelRequest",
    "$/setTrace",
    "$/unknown",
    "coder-lsp/didShow",
    "coder-lsp/didReject",
    "coder-lsp/didFocus",
    "completionItem/resolve",
    "textDocument/codeAction",
    "codeAction/resolve",
]
COMMANDS = [
    "restart",
    "pause",
    "resume",
    "showLog",
    "status",
    "accepted",
    "showContext",
    "listModels",
    "selectModel",
    "pullModel",
    "showStatistics",
    "generate",
    "rewrite",
    "explain",
    "writeTests",
    "ask",
    "nothing",
]

members = st.sampled_from(["id", "method", "result", "error"])
steps = st.one_of(
    st.tuples(st.just("initialize"), st.dictionaries(st.sampled_from(["trace", "rootUri", "x"]), json_values)),
    st.just(("initialized",)),
    st.just(("shutdown",)),
    st.tuples(st.just("open"), uris, languages, versions, texts),
    st.tuples(st.just("change"), uris, versions, edits),
    st.tuples(st.just("change"), uris, versions, edits),
    st.tuples(st.just("mangled change"), uris, json_values),
    st.tuples(st.just("close"), uris),
    st.tuples(st.just("inline"), uris, positions, st.integers(-1, 5), ranges, texts),
    st.tuples(st.just("completion"), uris, positions, st.integers(-1, 5)),
    st.tuples(st.just("command"), st.sampled_from(COMMANDS), st.lists(json_values, max_size=3)),
    st.tuples(st.just("wild request"), st.sampled_from(METHODS) | st.text(max_size=5), json_values),
    st.tuples(st.just("wild notification"), st.sampled_from(METHODS) | st.text(max_size=5), json_values),
    st.tuples(
        st.just("wild message"), st.dictionaries(st.sampled_from(["id", "method", "result", "error"]), json_values)
    ),
    st.tuples(st.just("folders"), st.lists(uris, max_size=3), st.lists(uris, max_size=3)),
    st.tuples(st.just("configuration"), json_values),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
)


class Model:
    """What the session should be after what was sent."""

    def __init__(self) -> None:
        self.begun = False
        self.ended = False
        self.unsure = False
        """Whether the session began or ended by a message that may have been refused."""
        self.documents: dict[str, NaiveDocument | None] = {}
        """None: its text may be unknown."""

    @property
    def takes(self) -> bool:
        return self.begun and not self.ended


class Talk:
    """Sends steps and keeps what must come of them."""

    def __init__(self, it: Any) -> None:
        self.client, self.server, self.model = it.client, it.server, Model()
        self.asked: list[asyncio.Future[Any]] = []

    def request(self, method: str, params: Any) -> None:
        self.asked.append(self.client.start_request(method, params)[1])

    def step(self, kind: str, *given: Any) -> None:
        getattr(self, f"do_{kind.replace(' ', '_')}")(*given)

    def do_initialize(self, more: dict[str, Any]) -> None:
        self.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}, **more})
        # A client that gets its root wrong may be refused, and may try again.
        self.model.unsure = self.model.unsure or not isinstance(more.get("rootUri"), str | None)
        self.model.begun = True

    def do_initialized(self) -> None:
        self.client.notify("initialized", {})

    def do_shutdown(self) -> None:
        self.request("shutdown", None)
        self.model.ended = self.model.begun

    def do_open(self, uri: int, language: str, version: int, text: str) -> None:
        self.client.open(URIS[uri], text, language, version)
        if self.model.takes:
            self.model.documents[URIS[uri]] = (_fits(version) and NaiveDocument(_read(text), Encoding.UTF16)) or None

    def do_change(self, uri: int, version: int, changes: list[tuple[Any, str]]) -> None:
        self.client.change(URIS[uri], version, *changes)
        if not self.model.takes or URIS[uri] not in self.model.documents:
            return
        document = self.model.documents[URIS[uri]]
        if document is None or not _fits(version):
            self.model.documents[URIS[uri]] = None
            return
        for where, text in changes:
            document.apply(Edit(_read(text), ClientRange(*where) if where else None))

    def do_mangled_change(self, uri: int, changes: Any) -> None:
        document = {"uri": URIS[uri], "version": 1}
        self.client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})
        if self.model.takes and URIS[uri] in self.model.documents and changes not in ([], {}, ""):
            self.model.documents[URIS[uri]] = None

    def do_close(self, uri: int) -> None:
        self.client.notify("textDocument/didClose", {"textDocument": {"uri": URIS[uri]}})
        if self.model.takes:
            self.model.documents.pop(URIS[uri], None)

    def do_inline(self, uri: int, at: tuple[int, int], kind: int, where: Any, text: str) -> None:
        context: dict[str, Any] = {"triggerKind": kind}
        if where:
            context["selectedCompletionInfo"] = {"range": span(*where), "text": text}
        place = {"textDocument": {"uri": URIS[uri]}, "position": {"line": at[0], "character": at[1]}}
        self.request("textDocument/inlineCompletion", {**place, "context": context})

    def do_completion(self, uri: int, at: tuple[int, int], kind: int) -> None:
        place = {"textDocument": {"uri": URIS[uri]}, "position": {"line": at[0], "character": at[1]}}
        self.request("textDocument/completion", {**place, "context": {"triggerKind": kind}})

    def do_command(self, name: str, arguments: list[Any]) -> None:
        self.request("workspace/executeCommand", {"command": f"coder-lsp.{name}", "arguments": arguments})

    def do_wild_request(self, method: str, params: Any) -> None:
        self.request(method, params)
        self.model.unsure = self.model.unsure or method in {"initialize", "shutdown"}

    def do_wild_notification(self, method: str, params: Any) -> None:
        if method != "exit":
            self.client.notify(method, params)

    def do_wild_message(self, message: dict[str, Any]) -> None:
        if message.get("method") != "exit":
            self.client.send(message)

    def do_folders(self, added: list[int], removed: list[int]) -> None:
        event = {
            name: [{"uri": URIS[uri], "name": "x"} for uri in which]
            for name, which in (("added", added), ("removed", removed))
        }
        self.client.notify("workspace/didChangeWorkspaceFolders", {"event": event})

    def do_configuration(self, value: Any) -> None:
        self.client.notify("workspace/didChangeConfiguration", {"settings": value})

    def do_cancel(self, identity: int) -> None:
        self.client.cancel(identity)

    async def settle(self) -> None:
        """All that was asked has been answered, the documents are right, and the session ends in good order."""
        await asyncio.wait_for(asyncio.gather(*self.asked, return_exceptions=True), PATIENCE_SECONDS)
        if self.model.unsure:
            self.model.ended = self.server.protocol.was_shut_down
            self.model.documents.clear()
        if not self.model.ended:
            with contextlib.suppress(LspError):  # It may have been before.
                await self.client.initialize()
            last = self.client.start_request("workspace/executeCommand", {"command": "coder-lsp.status"})[1]
            assert (await asyncio.wait_for(last, PATIENCE_SECONDS))["state"]
        for uri, document in self.model.documents.items():
            found = self.server.documents.get(uri)
            if document is not None:
                assert found is not None, uri
                assert found.text == document.text, uri
        if self.model.ended:
            self.client.notify("exit")
            assert await self.client.wait() == 0
        else:
            assert await self.client.end() == 0


def _fits(version: int) -> bool:
    return -(2**31) <= version < 2**31


def _read(text: str) -> str:
    """As JSON carries it, with what is half a character as U+FFFD."""
    return json.loads(json.dumps(text)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _checks(make: Any) -> Check:
    async def talk(sent: list[Any]) -> None:
        async with session(make) as it:
            talking = Talk(it)
            for kind, *given in sent:
                talking.step(kind, *given)
            await talking.settle()

    def check(sent: list[Any]) -> None:
        watch = drive(lambda: talk(sent))
        assert not watch.harm, watch.harm

    return check


begun = st.lists(steps, min_size=1, max_size=12).map(lambda sent: [("initialize", {}), ("initialized",), *sent])
orders = begun | st.lists(steps, min_size=1, max_size=12)


@target("lsp-orders", orders, share=120)
def lsp_orders(_: Path) -> Iterator[Check]:
    """Over scripted completions."""
    yield _checks(build)


@target("lsp-app", orders, share=20, round_inputs=200)
def lsp_app(_: Path) -> Iterator[Check]:
    """Over all there is: settings, workspace, index, statistics; the model is not installed."""
    yield _checks(lambda: build_server(model="not-installed", offline=True))
