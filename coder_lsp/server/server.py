"""The language server: one session of one editor, put together from the parts of this package.

Owns the session's life (initialize, initialized, shutdown, end) and what is announced to the client. What it works
with comes through the constructor (``server.ports``); bytes come through ``server.transport``.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from coder_lsp import __version__
from coder_lsp.documents.notebooks import NotebookStore
from coder_lsp.documents.positions import Encoding
from coder_lsp.documents.store import DocumentStore
from coder_lsp.errors import CoderLspError, origin
from coder_lsp.server import convert
from coder_lsp.server.client import ClientSupport
from coder_lsp.server.commands import Commands
from coder_lsp.server.feedback import Feedback
from coder_lsp.server.handlers import CompletionHandlers
from coder_lsp.server.instruct_commands import InstructCommands
from coder_lsp.server.model_commands import ModelCommands
from coder_lsp.server.parent import watch_process
from coder_lsp.server.presence import DID_FOCUS, Presence
from coder_lsp.server.progress import IndexingProgress, LoadingProgress, WorkDone
from coder_lsp.server.protocol import CoderProtocol, is_parse_error
from coder_lsp.server.report_commands import ReportCommands
from coder_lsp.server.roots import WorkspaceRoots
from coder_lsp.server.settings import SECTION, Settings
from coder_lsp.server.status import StatusBoard
from coder_lsp.server.sync import TextSync
from coder_lsp.server.workspace import WorkspaceFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from coder_lsp.server.ports import Completions, Host, Models, SettingsLoader, Statistics, Workspace
    from coder_lsp.server.roots import Location
    from coder_lsp.types import CompletionRequest, HostStatus, IndexStatus

logger = logging.getLogger(__name__)

TRIGGER_CHARACTERS = (".", "(", "[", "{", ",", "=", ":", " ")
"""Where a completion list is wanted besides identifiers; clients ask at those by themselves."""

_STOP_SECONDS = 3.0


class CoderLanguageServer(LanguageServer):
    """Construct it inside a running event loop or before one; :func:`coder_lsp.server.transport.run` drives it.

    ``host`` reports its changes through :meth:`host_changed`, ``workspace`` through :meth:`index_changed`; without one
    no other file is looked at. ``feedback`` has somewhere to record to, or nothing is kept. ``log_file`` is what
    ``coder-lsp.showLog`` opens.
    """

    protocol: CoderProtocol

    def __init__(
        self,
        *,
        completions: Completions,
        host: Host,
        load_settings: SettingsLoader,
        models: Models,
        workspace: Workspace | None = None,
        feedback: Feedback | None = None,
        statistics: Statistics | None = None,
        log_file: Path | None = None,
    ) -> None:
        super().__init__(
            "coder-lsp",
            __version__,
            lsp.TextDocumentSyncKind.Incremental,
            lsp.NotebookDocumentSyncOptions([lsp.NotebookDocumentFilterWithNotebook(notebook="*")]),
            protocol_cls=CoderProtocol,
        )
        self.log_file = log_file
        self.feedback = feedback or Feedback()
        self.client = ClientSupport()
        self.roots = WorkspaceRoots()
        self.documents = DocumentStore()
        self.notebooks = NotebookStore(self.documents)
        presence = Presence(self, completions)
        self.sync = TextSync(self.documents, self.notebooks, WorkspaceFeed(workspace, self.documents), presence)
        self.work_done = WorkDone(self)
        loading = LoadingProgress(self.work_done, self.spawn)
        self.status = StatusBoard(self, loading, IndexingProgress(self.work_done, self.spawn, lambda: self.roots.name))
        self.settings = Settings(self, completions, host, load_settings, workspace)
        self.completion_handlers = CompletionHandlers(self, completions)
        self._host = host
        self._workspace = workspace
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit_status: int | None = None
        self._ended = asyncio.Event()
        self._begun = False
        self._closing: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] | None = None
        Commands(self, completions, host, workspace, feedback=self.feedback)
        self._model_commands = ModelCommands(self, models)
        ReportCommands(self, completions, statistics)
        InstructCommands(self, completions)
        self._handle(lsp.INITIALIZE, self._on_initialize)
        self._handle(lsp.INITIALIZED, self._on_initialized)
        self._handle(lsp.WORKSPACE_DID_CHANGE_CONFIGURATION, self._on_configuration)
        self._handle(lsp.TEXT_DOCUMENT_DID_SAVE, self.sync.did_save, lsp.SaveOptions(include_text=False))
        self._handle(lsp.NOTEBOOK_DOCUMENT_DID_SAVE, _nothing_to_do)
        self._handle(DID_FOCUS, presence.did_focus)
        self._handle(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, _nothing_to_do)

    def host_changed(self, status: HostStatus) -> None:
        """Take a new status of the model host; from any thread, in the order of the calls."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._loop is None or here is self._loop:
            self.status.host_changed(status)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.status.host_changed, status)

    def index_changed(self, status: IndexStatus) -> None:
        """Take a new status of the workspace's index; on the event loop."""
        self.status.index_changed(status)

    def index_notice(self, message: str) -> None:
        """Show what the user should know about the index or an adapter; who calls says each thing once."""
        self.show(lsp.MessageType.Warning, f"coder-lsp: {message}")

    def folders_changed(self, event: lsp.WorkspaceFoldersChangeEvent) -> None:
        self.roots.change(
            added=[folder.uri for folder in event.added], removed=[folder.uri for folder in event.removed]
        )
        self.spawn(self._refresh_settings(), "settings")

    def locate(self, uri: str) -> Location:
        """Where a document lies in the workspace; a cell lies where its notebook does."""
        return self.roots.locate(self.notebooks.notebook_of(uri) or uri)

    def request_at(self, uri: str, line: int, character: int) -> CompletionRequest | None:
        """What would be asked at a place, in client units; None if the document is not open."""
        document = self.documents.get(uri)
        if document is None:
            return None
        encoding = self.documents.encoding
        cursor = document.offset_at(line, character, encoding)
        place = convert.Place(document, cursor, encoding, preceding=self.notebooks.preceding(uri))
        return convert.completion_request(place, self.locate(uri))

    def start_host(self) -> None:
        """Have the model loaded in the background; a failure is shown once."""
        config = self.settings.config
        if config is not None and config.completion.enabled:
            self.spawn(self._start_host(), "start host")

    def show(self, kind: lsp.MessageType, message: str) -> None:
        self.window_show_message(lsp.ShowMessageParams(kind, message))

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Run ``work`` in the background until the session ends."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.log_fault(what, error)

        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    def end(self, status: int) -> None:
        """End the session; the first status given is the process's exit status."""
        if self._exit_status is None:
            self._exit_status = status
        self._ended.set()

    async def wait_ended(self) -> int:
        await self._ended.wait()
        assert self._exit_status is not None
        return self._exit_status

    async def close(self) -> None:
        """Stop completions, end the index and let go of the host; once, and whoever asks waits for the end of it."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
        await self.completion_handlers.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1.0)
        stops = [
            self._stopped("the host", self._host.stop()),
            self._stopped("the statistics", self.feedback.close()),
            self._stopped("pulling", self._model_commands.close()),
        ]
        if self._workspace is not None:
            stops.append(self._stopped("the workspace", self._workspace.stop()))
        await asyncio.gather(*stops)

    def report_server_error(self, error: Exception, source: Any) -> None:
        """The hook for everything that fails inside pygls; a glitch is for the log, not for the user."""
        if is_parse_error(error):
            logger.warning("a message was no JSON")
            self.protocol.refuse_bytes()
        elif isinstance(error, JsonRpcException) and error.code != JsonRpcException.CODE:
            logger.info("%s: code %d", source.__name__, error.code)
        else:
            self.log_fault(source.__name__, error.__cause__ or error)

    def log_fault(self, what: str, error: BaseException) -> None:
        """A fault of ours: its class and where it came from. Its words may quote a text, so they are left out."""
        logger.error("%s failed: %s at %s", what, type(error).__name__, origin(error))

    async def _stopped(self, what: str, stop: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(stop, _STOP_SECONDS)
        except (CoderLspError, OSError, asyncio.TimeoutError) as error:
            logger.warning("%s did not stop in good order: %s", what, type(error).__name__)
        except Exception as error:  # noqa: BLE001  (a fault of ours must not keep the session from ending)
            self.log_fault(f"stopping {what}", error)

    def _handle(self, method: str, handler: Callable[..., Any], options: Any = None) -> None:
        """Register a handler; as a partial, because pygls puts attributes on it and a bound method takes none."""
        self.feature(method, options)(partial(handler))

    def _on_initialize(self, params: lsp.InitializeParams) -> None:
        self._loop = asyncio.get_running_loop()
        self.client = ClientSupport.of(params.capabilities)
        # pygls chose it and is about to announce it; two choices could differ.
        chosen = self.workspace.position_encoding
        self.documents.encoding = Encoding(getattr(chosen, "value", chosen))
        folders = [folder.uri for folder in params.workspace_folders or ()]
        self.roots.change(added=folders or [uri for uri in (params.root_uri,) if uri])
        self.settings.initialize(params.initialization_options)
        # Announced here and never registered later: vscode-languageclient says yes to a registration that comes before
        # it has finished starting, and forgets it. That window has no suggestions then.
        if self.client.inline:
            # Without options pygls does not announce it.
            options = lsp.InlineCompletionOptions()
            self._handle(lsp.TEXT_DOCUMENT_INLINE_COMPLETION, self.completion_handlers.inline, options)
        else:
            # Not announced, but answered: a plugin may know more than its editor says.
            self._handle(lsp.TEXT_DOCUMENT_INLINE_COMPLETION, self.completion_handlers.inline)
            listed = lsp.CompletionOptions(trigger_characters=TRIGGER_CHARACTERS)
            self._handle(lsp.TEXT_DOCUMENT_COMPLETION, self.completion_handlers.completion, listed)
        if params.process_id is not None:
            self._unwatch = watch_process(params.process_id, self._client_died)
        logger.info("initialize: encoding=%s %s", self.documents.encoding.value, self.client)

    def _client_died(self) -> None:
        logger.warning("the client's process is gone")
        self.end(1)

    def _on_initialized(self, _: lsp.InitializedParams) -> None:
        if not self._begun:
            self._begun = True
            self.spawn(self._begin(), "start")

    def _on_configuration(self, params: lsp.DidChangeConfigurationParams) -> None:
        self.spawn(self._refresh_settings(params.settings), "settings")

    async def _begin(self) -> None:
        self.status.open(self._host.status)
        await self._register()
        await self._refresh_settings()

    async def _refresh_settings(self, pushed: Any = None) -> None:
        before = self.settings.config
        await self.settings.refresh(pushed)
        if self._workspace is not None:
            # Only now: a folder's own settings say what in it may be read.
            self._workspace.set_roots(self.roots.paths)
        if self.settings.config != before:
            self.start_host()

    async def _start_host(self) -> None:
        try:
            await self._host.start()
        except CoderLspError as error:
            self.status.failed(error)

    async def _register(self) -> None:
        """Subscribe to changes of the settings; there is no other way to."""
        if not self.client.configuration_dynamic:
            return
        method = lsp.WORKSPACE_DID_CHANGE_CONFIGURATION
        options = lsp.DidChangeConfigurationRegistrationOptions(SECTION)
        wanted = lsp.Registration(id=f"coder-lsp:{method}", method=method, register_options=options)
        try:
            await self.client_register_capability_async(lsp.RegistrationParams([wanted]))
        except JsonRpcException as error:
            logger.warning("the editor refused registration: code %d", error.code)


def _nothing_to_do(_: Any) -> None:
    """A saved notebook has the text it had; files are watched by the workspace itself."""
