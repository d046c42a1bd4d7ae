"""The subject that is ours: ``coder-lsp serve`` behind an editor that behaves as VS Code does.

Every key sends the change and one automatic request, and cancels the request before. Ghost text that agrees with what
is typed stays, whatever comes meanwhile; an answer is shown when there is none. Like an extension for coder-lsp it
also tells where the cursor goes and what is on screen. What the model did is read from the log of its host, which has
numbers only.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.replay.buffer import Buffer
from coder_lsp.bench.replay.rpc import Rpc
from coder_lsp.bench.replay.screen import Screen
from coder_lsp.bench.replay.typist import ModelRequest
from coder_lsp.errors import HostUnavailable
from coder_lsp.interpreter import module_command
from coder_lsp.paths import HOME_VARIABLE, models_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from coder_lsp.bench.replay.trace import Visit

STATUS = "coder-lsp/status"
DID_FOCUS = "coder-lsp/didFocus"
DID_SHOW = "coder-lsp/didShow"
READY_SECONDS = 600.0
SETTLE_SECONDS = 20.0
"""An answer that is under way when the place is left; longer ones are cut off by the deadline of the settings."""
_GRACE_SECONDS = 10.0
_INVOKED, _AUTOMATIC = 1, 2
"""LSP 3.18 ``InlineCompletionTriggerKind``."""
_TABS = 4
"""Documents left open; the oldest is closed for a fifth."""
_HOST_LINE = re.compile(r"request (?P<label>\S.*?): (?P<reason>\w+) ms: (?P<ms>.*?) tokens: (?P<tokens>.*)")
_AHEAD_LINE = re.compile(r"(made ready|broken off): .*?\bevaluated=(?P<evaluated>\d+)")
"""Prompts that the host evaluates by itself."""
_PAIR = re.compile(r"(\w+)=([\d.]+)")
_AHEAD = re.compile(r"\b(idle|ahead|warm)\b")


@dataclass(frozen=True)
class Item:
    """The first item of an answer: the ghost text at the cursor, and what to tell of it."""

    text: str = ""
    whole_characters: int = 0
    """Of the item, what it has in common with the line before the cursor included."""
    command: str = ""
    identity: str = ""


@dataclass(frozen=True)
class Window:
    """How the editor is set up. ``settings`` are its section for the server; ``extension`` False: a client that knows
    no more than the protocol.
    """

    root: Path
    home: Path
    settings: Mapping[str, Any]
    model: str | None = None
    extension: bool = True
    log: str = "serve.log"


class VsCode:
    """One server, one window."""

    def __init__(self, name: str, window: Window) -> None:
        self.name = name
        self.screen = Screen()
        self.pid = 0
        self.log = window.home / window.log
        self._root, self._home, self._settings = window.root, window.home, dict(window.settings)
        self._model, self._extension = window.model, window.extension
        self._buffer = Buffer()
        self._versions: dict[str, int] = {}
        self.messages: list[str] = []
        """What the user was told in a message of its own."""
        self._status: dict[str, Any] = {}
        self._told = asyncio.Event()
        self._item = Item()
        self._pending: tuple[int, asyncio.Task[None]] | None = None
        self._showing: set[asyncio.Task[None]] = set()
        """Cancelled ones too, until they have ended."""
        self._host_log_read = 0
        self._process: asyncio.subprocess.Process | None = None
        self._rpc: Rpc | None = None

    async def start(self) -> None:
        """Start the server; returns when the model is loaded and the workspace indexed.

        :raises HostUnavailable: it does not come up.
        """
        _link_models(self._home)
        command = module_command("coder_lsp", "serve", "--offline", "--log-level", "info")
        if self._model is not None:
            command += ["--model", self._model]
        with self.log.open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=self._root,
                env={**os.environ, HOME_VARIABLE: str(self._home)},
                limit=2**24,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._rpc = Rpc(self._process, self._reply, self._heard)
        await self._initialize(self._rpc)
        try:
            await asyncio.wait_for(self._wait_ready(), READY_SECONDS)
        except asyncio.TimeoutError as error:
            raise HostUnavailable(
                f"{self.name} was not ready after {READY_SECONDS:.0f} s", hint="Run `coder-lsp doctor`."
            ) from error

    async def close(self) -> None:
        """End the server and with it, as its only client, the host."""
        if self._process is None or self._rpc is None:
            return
        with suppress(HostUnavailable, asyncio.TimeoutError, ConnectionError):
            await asyncio.wait_for(self._rpc.ask("shutdown", None)[1], _GRACE_SECONDS)
            self._rpc.notify("exit", None)
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._rpc.close()
        for task in self._showing:
            task.cancel()
        await asyncio.gather(*self._showing, return_exceptions=True)

    async def enter(self, visit: Visit) -> None:
        self.open(visit.path, visit.language, visit.before, visit.after)
        await asyncio.sleep(0)

    def open(self, path: str, language: str, before: str, after: str) -> None:
        """Show a document, with the cursor between ``before`` and ``after``."""
        rpc = self.connection
        self.screen.clear()
        self._buffer = Buffer(path, before, after)
        # To the end: it is the youngest now.
        version = self._versions.pop(path, 0)
        self._versions[path] = version or 1
        if not version:
            document = {"uri": self._uri, "languageId": language, "version": 1, "text": self._buffer.text}
            rpc.notify("textDocument/didOpen", {"textDocument": document})
        if len(self._versions) > _TABS:
            oldest = next(iter(self._versions))
            del self._versions[oldest]
            rpc.notify("textDocument/didClose", {"textDocument": {"uri": (self._root / oldest).as_uri()}})
        if self._extension:
            rpc.notify(DID_FOCUS, {"textDocument": {"uri": self._uri}, "position": self._position})

    def change(self, text: str) -> None:
        """Text appears at the cursor, and nothing is asked for."""
        position = self._position
        self._buffer.insert(text)
        self._versions[self._buffer.path] += 1
        self.connection.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": self._uri, "version": self._versions[self._buffer.path]},
                "contentChanges": [{"range": {"start": position, "end": position}, "text": text}],
            },
        )

    def press(self, text: str) -> None:
        self.screen.typed(text)
        self.change(text)
        self._request()

    def accept(self, text: str) -> None:
        """Take the whole item, or the first lines of it: what is left stays on screen."""
        self.screen.typed(text)
        if not self.screen.ghost.strip():
            self.screen.clear()
        left = len(self.screen.ghost)
        # VS Code itself runs the command for whole items only; an extension tells of parts, with their length.
        if self._item.command and (not left or self._extension):
            part = [self._item.whole_characters - left] if left else []
            params = {"command": self._item.command, "arguments": [self._item.identity, *part]}
            self.connection.ask("workspace/executeCommand", params)
        self.change(text)
        self._request()

    async def leave(self) -> None:
        if self._pending is not None:
            await asyncio.wait({self._pending[1]}, timeout=SETTLE_SECONDS)
        self.screen.clear()
        (self._root / self._buffer.path).write_text(self._buffer.text, encoding="utf-8")
        self.connection.notify("textDocument/didSave", {"textDocument": {"uri": self._uri}})

    async def ask(self) -> float:
        """One request at the cursor; how long it took, in ms.

        :raises HostUnavailable: the server refused it, or ended.
        """
        began_s = _now()
        await self.connection.ask("textDocument/inlineCompletion", self._place())[1]
        return (_now() - began_s) * 1000

    def has_open(self, path: str) -> bool:
        return path in self._versions

    def close_documents(self) -> None:
        """As if the user closed all tabs: files may change on disk without the server being told."""
        self.screen.clear()
        for path in self._versions:
            self.connection.notify("textDocument/didClose", {"textDocument": {"uri": (self._root / path).as_uri()}})
        self._versions.clear()

    def command(self, name: str, *arguments: Any) -> tuple[int, asyncio.Future[Any]]:
        """A command of the server's: the request's number, and the answer."""
        return self.connection.ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})

    def suggest(self, *, invoked: bool = False) -> tuple[int, asyncio.Future[Any]]:
        """Ask at the cursor, and leave the screen as it is."""
        place = self._place()
        if invoked:
            place["context"] = {"triggerKind": _INVOKED}
        return self.connection.ask("textDocument/inlineCompletion", place)

    async def until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait for the model to be loaded and the workspace to be indexed.

        :raises asyncio.TimeoutError: that takes longer.
        """
        await asyncio.wait_for(self._wait_ready(), seconds)

    def requests(self) -> list[ModelRequest]:
        text = self.host_log()
        return [parsed for parsed in map(parse_request, text.splitlines()) if parsed is not None]

    def host_log(self) -> str:
        """What the host wrote into its log since the last call."""
        log = self._home / "state" / "host.log"
        if not log.exists():
            return ""
        with log.open("rb") as stream:
            stream.seek(self._host_log_read)
            read = stream.read()
        self._host_log_read += len(read)
        return read.decode(errors="replace")

    def _request(self) -> None:
        if self._pending is not None:
            number, task = self._pending
            if not task.done():
                self.connection.cancel(number)
                task.cancel()
        asked_s = _now()
        number, answer = self.connection.ask("textDocument/inlineCompletion", self._place())
        task = asyncio.create_task(self._show(answer, asked_s, self._buffer.column))
        self._showing.add(task)
        task.add_done_callback(self._showing.discard)
        self._pending = (number, task)

    async def _show(self, answer: asyncio.Future[Any], asked_s: float, column: int) -> None:
        # Shielded: a cancelled task must not take the answer with it, which comes all the same.
        try:
            item = first_item(await asyncio.shield(answer), self._buffer.before, column)
        except HostUnavailable:
            return  # whether the server is still there is looked at behind every visit
        if item.text and not self.screen.ghost:
            self.screen.show(item.text, asked_s)
            self._item = item
            if self._extension and item.identity:
                self.connection.notify(DID_SHOW, {"id": item.identity})

    def _place(self) -> dict[str, Any]:
        return {
            "textDocument": {"uri": self._uri},
            "position": self._position,
            "context": {"triggerKind": _AUTOMATIC},
        }

    @property
    def _position(self) -> dict[str, int]:
        return {"line": self._buffer.line, "character": self._buffer.column}

    async def _initialize(self, rpc: Rpc) -> None:
        folder = {"uri": self._root.as_uri(), "name": self._root.name}
        params = {
            "processId": os.getpid(),
            "clientInfo": {"name": "coder-lsp bench"},
            "rootUri": folder["uri"],
            "workspaceFolders": [folder],
            "initializationOptions": self._settings,
            "capabilities": {
                "workspace": {"configuration": True, "workspaceFolders": True},
                "textDocument": {"inlineCompletion": {}},
            },
        }
        await rpc.ask("initialize", params)[1]
        rpc.notify("initialized", {})

    async def _wait_ready(self) -> None:
        off = self._settings.get("context", {}).get("enabled") is False
        while True:
            self._told.clear()
            if self._status.get("state") == "error":
                raise HostUnavailable(str(self._status.get("message")), hint="Run `coder-lsp doctor`.")
            indexed = off or (self._status.get("index") or {}).get("state") in {"ready", "off"}
            if self._status.get("state") in {"ready", "generating"} and indexed:
                return
            await self._told.wait()

    def _heard(self, method: str, params: Any) -> None:
        if method == STATUS:
            self._status = params
            self._told.set()
        elif method == "window/showMessage":
            self.messages.append(params["message"])

    def _reply(self, method: str, params: Any) -> Any:
        return [self._settings for _ in params["items"]] if method == "workspace/configuration" else None

    @property
    def connection(self) -> Rpc:
        assert self._rpc is not None, "start() comes first"
        return self._rpc

    @property
    def _uri(self) -> str:
        return (self._root / self._buffer.path).as_uri()


def first_item(result: Any, before: str, column: int) -> Item:
    """``before`` is the text up to the cursor, which is at ``column``."""
    items = result.get("items", []) if isinstance(result, dict) else result or []
    if not items:
        return Item()
    item = items[0]
    whole = item["insertText"] if isinstance(item["insertText"], str) else item["insertText"]["value"]
    start = item["range"]["start"]["character"] if item.get("range") else column
    typed = before[len(before) - (column - start) :] if start < column else ""
    text = whole[len(typed) :] if whole.startswith(typed) else ""
    command = item.get("command") or {}
    (identity,) = (command.get("arguments") or [""])[:1]
    return Item(text, len(whole), command.get("command", ""), str(identity))


def parse_request(line: str) -> ModelRequest | None:
    """One line of the host's log; None for any other line, and for requests that never came to the model."""
    ahead = _AHEAD_LINE.search(line)
    if ahead is not None:
        return ModelRequest(int(ahead["evaluated"]), 0, background=True)
    found = _HOST_LINE.search(line)
    if found is None:
        return None
    tokens = {name: int(float(value)) for name, value in _PAIR.findall(found["tokens"])}
    if not tokens.get("prompt"):
        return None
    return ModelRequest(
        evaluated=tokens.get("evaluated", 0),
        generated=tokens.get("generated", 0),
        background=bool(_AHEAD.search(line)),
        cancelled=found["reason"] == "cancelled",
        prompt=tokens["prompt"],
        passes=tokens.get("passes", 0),
        drafted=tokens.get("drafted", 0),
        accepted=tokens.get("accepted", 0),
        client=found["label"].partition("/")[0],
        queued_ms=int(float(dict(_PAIR.findall(found["ms"])).get("queue", 0))),
    )


def _link_models(home: Path) -> None:
    """The user's models in a home of its own: nothing else of the user's is read or written."""
    (home / "data").mkdir(parents=True, exist_ok=True)
    link = home / "data" / "models"
    if not link.exists():
        link.symlink_to(models_dir(), target_is_directory=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
