"""An editor window for end-to-end tests: the shipped server as a process, a pygls client over its stdio."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient


class Session:
    """One running ``coder-lsp serve``. Positions are UTF-32, so a column is a code point."""

    def __init__(self, client: LanguageClient, root: Path) -> None:
        self.client = client
        self.root = root
        self.statuses: list[dict] = []
        self.status_changed = asyncio.Event()
        self.progress: list[object] = []
        self.messages: list[str] = []
        self.result: lsp.InitializeResult
        self._versions: dict[str, int] = {}

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def open(self, name: str, text: str, language: str = "python") -> None:
        self._versions[name] = 1
        item = lsp.TextDocumentItem(self.uri(name), language, 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))

    def insert(self, name: str, line: int, column: int, text: str) -> None:
        self._versions[name] += 1
        at = lsp.Position(line, column)
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version=self._versions[name], uri=self.uri(name)),
                [lsp.TextDocumentContentChangePartial(lsp.Range(at, at), text)],
            )
        )

    def replace(self, name: str, text: str) -> None:
        """A new text for the whole document, not saved."""
        self._versions[name] += 1
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(version=self._versions[name], uri=self.uri(name)),
                [lsp.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    def request(self, name: str, line: int, column: int, *, invoked: bool = True):
        """A future of the answer, sent at the next turn of the loop."""
        kind = lsp.InlineCompletionTriggerKind.Invoked if invoked else lsp.InlineCompletionTriggerKind.Automatic
        params = lsp.InlineCompletionParams(
            lsp.InlineCompletionContext(kind), lsp.TextDocumentIdentifier(self.uri(name)), lsp.Position(line, column)
        )
        return asyncio.ensure_future(self.client.text_document_inline_completion_async(params))

    async def until(self, state: str, seconds: float = 60) -> None:
        """Wait for the server to report ``state`` from now on."""

        async def wait() -> None:
            seen = len(self.statuses)
            while state not in [status["state"] for status in self.statuses[seen:]]:
                self.status_changed.clear()
                await self.status_changed.wait()

        await asyncio.wait_for(wait(), seconds)

    async def until_told(self, words: str, seconds: float = 60) -> None:
        """Wait for a status whose message has these words, none for none; the last one counts as well."""

        async def wait() -> None:
            while not self.statuses or not _tells(self.statuses[-1]["message"] or "", words):
                self.status_changed.clear()
                await self.status_changed.wait()

        await asyncio.wait_for(wait(), seconds)

    async def indexed(self, seconds: float = 60) -> int:
        """Wait for the workspace to be indexed, if it is not; how many files there are."""

        async def wait() -> int:
            while not self.statuses or self.statuses[-1]["index"].state != "ready":
                self.status_changed.clear()
                await self.status_changed.wait()
            return self.statuses[-1]["index"].files

        return await asyncio.wait_for(wait(), seconds)

    async def ghost(self, name: str, line: int, column: int, *, invoked: bool = True) -> str:
        """The first suggestion's text, empty if there is none."""
        result = await asyncio.wait_for(self.request(name, line, column, invoked=invoked), 120)
        items = result.items if isinstance(result, lsp.InlineCompletionList) else result or []
        return items[0].insert_text if items else ""


def _tells(message: str, words: str) -> bool:
    return words in message if words else not message


@asynccontextmanager
async def session(root: Path, *arguments: str, prefix: tuple[str, ...] = (), settings: dict | None = None):
    """Start a server over stdio, initialize it with the editor's ``settings``, and shut it down in good order."""
    client = LanguageClient("e2e", "1")
    it = Session(client, root)

    @client.feature("coder-lsp/status")
    def _status(params) -> None:
        it.statuses.append(
            {key: getattr(params, key, None) for key in ("state", "model", "engine", "message", "index")}
        )
        it.status_changed.set()

    @client.feature(lsp.PROGRESS)
    def _progress(params) -> None:
        it.progress.append(params.value)

    @client.feature(lsp.WINDOW_WORK_DONE_PROGRESS_CREATE)
    def _create(_params) -> None:
        return None

    @client.feature(lsp.WINDOW_SHOW_MESSAGE)
    def _message(params) -> None:
        it.messages.append(params.message)

    command = [*prefix, sys.executable, "-m", "coder_lsp", "serve", *arguments]
    await client.start_io(*command)
    it.result = await asyncio.wait_for(
        client.initialize_async(
            lsp.InitializeParams(
                process_id=None,
                root_uri=root.as_uri(),
                initialization_options=settings,
                workspace_folders=[lsp.WorkspaceFolder(root.as_uri(), root.name)],
                capabilities=lsp.ClientCapabilities(
                    general=lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf32]),
                    window=lsp.WindowClientCapabilities(work_done_progress=True),
                    text_document=lsp.TextDocumentClientCapabilities(
                        inline_completion=lsp.InlineCompletionClientCapabilities()
                    ),
                ),
            )
        ),
        60,
    )
    client.initialized(lsp.InitializedParams())
    try:
        yield it
    finally:
        await asyncio.wait_for(client.shutdown_async(None), 30)
        client.exit(None)
        await asyncio.wait_for(client.stop(), 30)
