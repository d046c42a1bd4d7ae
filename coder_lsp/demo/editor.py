"""The editor that the demo plays: an LSP client with just enough to open a file, type into it and see ghost text.

It starts the shipped server as a process and talks to it over stdio: what the demo shows is what an editor gets. Owns
that process and ends it under every circumstance; knows nothing of models, and prints nothing.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.client import LanguageClient

from coder_lsp import __version__
from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

GRACE_SECONDS = 5.0
"""For the server to end by itself after it was asked to."""
READY_SECONDS = 600.0
"""For loading a model; a big one on a slow disk takes minutes."""
STATUS = "coder-lsp/status"
"""The server's own notification: ``state``, ``model``, ``engine``, ``message``, ``progress``."""


@dataclass(frozen=True)
class Ghost:
    """Ghost text at a cursor. ``replaced`` counts the characters after the cursor that accepting would overwrite."""

    text: str
    replaced: int = 0


@asynccontextmanager
async def editor(command: Sequence[str], root: Path, settings: dict[str, Any], log: Path) -> AsyncIterator[Editor]:
    """Start ``command`` as the language server of ``root``; its stderr goes to ``log``. The server ends with the block.

    :raises HostUnavailable: the server ended, or did not answer as a language server does.
    """
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=root,
            # A Ctrl-C in the terminal is for the demo, which then ends the server in good order.
            start_new_session=True,
        )
    session = Editor(process, root, settings, log)
    try:
        await session.initialize()
        yield session
    finally:
        await session.close()


class Editor:
    """One running server and the documents opened in it. Files are ASCII here, so a character is a UTF-16 unit."""

    def __init__(self, process: asyncio.subprocess.Process, root: Path, settings: dict[str, Any], log: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._root = root
        self._settings = settings
        self._log = log
        self._versions: dict[str, int] = {}
        self._status: dict[str, Any] = {}
        self._settled = asyncio.Event()
        self._client = LanguageClient("coder-lsp-demo", __version__)
        self._stop = threading.Event()
        self._answer_server()
        self._client.protocol.set_writer(process.stdin)
        self._reading = asyncio.create_task(
            run_async(self._stop, process.stdout, self._client.protocol, error_handler=lambda *_: None)
        )

    async def initialize(self) -> str:
        """Introduce the client; returns the server's name and version."""
        result = await self._ask(
            self._client.initialize_async(
                lsp.InitializeParams(
                    process_id=os.getpid(),
                    client_info=lsp.ClientInfo(name="coder-lsp demo", version=__version__),
                    root_uri=self._root.as_uri(),
                    workspace_folders=[lsp.WorkspaceFolder(uri=self._root.as_uri(), name=self._root.name)],
                    initialization_options=self._settings,
                    capabilities=lsp.ClientCapabilities(
                        workspace=lsp.WorkspaceClientCapabilities(configuration=True, workspace_folders=True),
                        window=lsp.WindowClientCapabilities(work_done_progress=True),
                        text_document=lsp.TextDocumentClientCapabilities(
                            inline_completion=lsp.InlineCompletionClientCapabilities()
                        ),
                    ),
                )
            )
        )
        self._client.initialized(lsp.InitializedParams())
        info = result.server_info
        return f"{info.name} {info.version or ''}".strip() if info else "?"

    def show(self, path: str, language: str, text: str) -> None:
        """Open a file, or replace its whole text if it is open."""
        uri = self._uri(path)
        version = self._versions.get(path, 0) + 1
        self._versions[path] = version
        if version == 1:
            self._client.text_document_did_open(
                lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, language, version, text))
            )
            return
        self._client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version=version, uri=uri),
                [lsp.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    def type_text(self, path: str, before: str, typed: str) -> None:
        """Insert ``typed`` where ``before`` ends, as a keystroke does."""
        self._versions[path] += 1
        position = _position(before)
        self._client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version=self._versions[path], uri=self._uri(path)),
                [lsp.TextDocumentContentChangePartial(lsp.Range(position, position), typed)],
            )
        )

    @property
    def status(self) -> dict[str, Any]:
        """What the server last said of itself in :data:`STATUS`; empty before it said anything."""
        return self._status

    async def ready(self) -> str:
        """Wait until the model is loaded; returns the engine's name.

        :raises HostUnavailable: it cannot be, with the server's reason; or it takes too long.
        """
        try:
            await asyncio.wait_for(self._ask(self._settled.wait()), READY_SECONDS)
        except asyncio.TimeoutError as error:
            raise HostUnavailable(
                f"the model was not loaded after {READY_SECONDS:.0f} s", hint="Run `coder-lsp doctor`."
            ) from error
        if self._status["state"] == "error":
            raise HostUnavailable(str(self._status["message"]), hint="Run `coder-lsp doctor`.")
        return str(self._status["engine"])

    async def ghost(self, path: str, before: str, *, asked: bool = True) -> Ghost | None:
        """Ask for a suggestion where ``before`` ends; None when the server has none. Not ``asked``: as typing does."""
        position = _position(before)
        kinds = lsp.InlineCompletionTriggerKind
        result = await self._ask(
            self._client.text_document_inline_completion_async(
                lsp.InlineCompletionParams(
                    text_document=lsp.TextDocumentIdentifier(self._uri(path)),
                    position=position,
                    context=lsp.InlineCompletionContext(kinds.Invoked if asked else kinds.Automatic),
                )
            )
        )
        items = result.items if isinstance(result, lsp.InlineCompletionList) else result or ()
        return _ghost(items[0], before, position) if items else None

    async def close(self) -> None:
        """End the server: asked first, killed when it does not listen."""
        with suppress(HostUnavailable, asyncio.TimeoutError):
            await asyncio.wait_for(self._ask(self._client.shutdown_async(None)), GRACE_SECONDS)
            self._client.exit(None)
        try:
            await asyncio.wait_for(self._process.wait(), GRACE_SECONDS)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._stop.set()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _ask(self, answer: Any) -> Any:
        """Await an answer, or the server's end if that comes first."""
        answering = asyncio.ensure_future(answer)
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({answering, ended}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
        except JsonRpcException as error:
            raise HostUnavailable(
                f"the language server answered with an error: {error}", hint="Run `coder-lsp doctor`."
            ) from error
        finally:
            answering.cancel()
            ended.cancel()
        tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
        raise HostUnavailable(
            f"the language server ended with status {self._process.returncode}",
            hint=f"Run `coder-lsp doctor`. Its last words:\n{tail}",
        )

    def _answer_server(self) -> None:
        """What a server may ask of any client, and tell it."""

        def configuration(params: lsp.ConfigurationParams) -> list[Any]:
            return [self._settings for _ in params.items]

        def accept(_params: Any) -> None:
            return None

        def status(params: Any) -> None:
            self._status = params._asdict()
            if self._status["state"] in {"ready", "generating", "error"}:
                self._settled.set()

        self._client.feature(lsp.WORKSPACE_CONFIGURATION)(configuration)
        self._client.feature(STATUS)(status)
        for request in (lsp.WINDOW_WORK_DONE_PROGRESS_CREATE, lsp.CLIENT_REGISTER_CAPABILITY):
            self._client.feature(request)(accept)
        for remark in (lsp.PROGRESS, lsp.WINDOW_SHOW_MESSAGE, lsp.WINDOW_LOG_MESSAGE):
            self._client.feature(remark)(accept)

    def _uri(self, path: str) -> str:
        return (self._root / path).as_uri()


def _position(before: str) -> lsp.Position:
    line = before.count("\n")
    return lsp.Position(line=line, character=len(before) - (before.rfind("\n") + 1))


def _ghost(item: lsp.InlineCompletionItem, before: str, position: lsp.Position) -> Ghost:
    text = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
    if item.range is None:
        return Ghost(text)
    # The item's text stands for its whole range, which may begin before the cursor and end behind it, on this line.
    typed = before[len(before) - (position.character - item.range.start.character) :]
    if position.character > item.range.start.character and text.startswith(typed):
        text = text[len(typed) :]
    return Ghost(text, replaced=item.range.end.character - position.character)
