"""What the language server needs from the rest of the program; ``app`` hands it in.

Protocols only. The server constructs nothing behind them, so that a test drives all of it with scripted ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.config import Config
    from coder_lsp.errors import ConfigError
    from coder_lsp.types import (
        CompletionOutcome,
        CompletionRequest,
        HostStatus,
        IndexStatus,
        InstructOutcome,
        InstructRequest,
        PreviewSink,
        PromptPreview,
    )


class Completions(Protocol):
    """Turns a place in a document into suggestions (``completion.service``).

    A request that a newer one overtakes returns an outcome without suggestions. Cancelling the awaiting task is safe.
    """

    async def complete(self, request: CompletionRequest, /) -> CompletionOutcome: ...

    def configure(self, config: Config, /) -> None: ...

    def pause(self, scope: str | None, on: bool, /) -> None:
        """Stop (``on``) or resume suggestions: everywhere (None), in a language (its id), in a document (its URI)."""

    async def preview(self, request: CompletionRequest, /) -> PromptPreview | str:
        """What the model is shown at a place, or the reason why it is shown nothing.

        :raises CoderLspError: it cannot be asked.
        """

    def refuses(self, request: InstructRequest, /) -> str:
        """Why an instruction cannot be followed; empty if it can. Quick."""

    async def instruct(self, request: InstructRequest, on_preview: PreviewSink | None = None, /) -> InstructOutcome:
        """Follow an instruction about a place. Cancelling the awaiting task ends it.

        :raises CoderLspError: the model cannot.
        """

    def opened(self, request: CompletionRequest, /) -> None:
        """A document was opened; its cursor is not known."""

    def focused(self, request: CompletionRequest, /) -> None:
        """The user's cursor is at the request's place now."""

    def closed(self, document: str, /) -> None:
        """A document (its URI) was closed: nothing of it may be kept."""

    async def close(self) -> None:
        """End everything that still runs."""


class Host(Protocol):
    """The model host's process, as far as an editor steers it. Changes of ``status`` reach
    :meth:`coder_lsp.server.server.CoderLanguageServer.host_changed`.
    """

    @property
    def status(self) -> HostStatus: ...

    async def configure(self, config: Config, /) -> None:
        """Serve the model of ``config`` from now on; a host that runs another one is left.

        :raises CoderLspError: that model cannot be served; the message's hint says what to do.
        """

    async def start(self) -> None:
        """Have a host running with its model loaded, before anyone asks for a suggestion."""

    async def restart(self) -> None: ...

    async def stop(self) -> None:
        """Let go of the host; it is shared and ends by itself."""

    async def info(self) -> Mapping[str, Any]: ...


class Workspace(Protocol):
    """The files of the open folders and what the editor makes of them (``retrieval.session``).

    Paths are absolute, lines are counted from 0 and ranges half-open. Every call returns at once. Changes of ``status``
    reach :meth:`coder_lsp.server.server.CoderLanguageServer.index_changed`.
    """

    @property
    def status(self) -> IndexStatus: ...

    def configure(self, config: Config, /) -> None:
        """Go by new settings; nothing is read before the first ones."""

    def set_roots(self, roots: Sequence[Path], /) -> None: ...

    def opened(self, path: Path, text: str, /) -> None: ...

    def changed(self, path: Path, text: str, start_line: int, old_end_line: int, end_line: int, /) -> None:
        """Lines ``[start_line, old_end_line)`` became ``[start_line, end_line)`` of ``text``."""

    def saved(self, path: Path, /) -> None: ...

    def closed(self, path: Path, /) -> None: ...

    async def stop(self) -> None: ...


class LoadedSettings(Protocol):
    """Settings and every fault found in them."""

    @property
    def config(self) -> Config: ...

    @property
    def faults(self) -> Sequence[ConfigError]: ...


class SettingsLoader(Protocol):
    """Merges all sources of settings; ``editor`` is the object the editor has under ``coder-lsp``."""

    def __call__(self, *, editor: Mapping[str, Any] | None, workspace_roots: Sequence[Path]) -> LoadedSettings: ...


class Models(Protocol):
    """The models on this machine and those that can be had."""

    def installed(self) -> Sequence[str]:
        """Names of the ones that are here."""
        ...

    def listed(self, served: str, /) -> Sequence[Mapping[str, Any]]:
        """All that are known, the installed ones first, as ``coder-lsp models list --json`` has them, with
        ``decode_tokens_per_s`` and ``speed_by`` (``measured``, ``estimated``, None). Reads files: for a thread.
        """
        ...

    async def pull(
        self, name: str, *, offline: bool, allow_unverified: bool, on_event: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        """Download a model; returns its row, with ``seconds``. Cancelling the awaiting task ends the download, and
        the next one goes on from there.

        :raises CoderLspError: it cannot be had; the message's hint says what to do.
        """
        ...


class Statistics(Protocol):
    """What became of suggestions (``stats``). Both read a database: for a thread."""

    def figures(self, days: float | None, /) -> Mapping[str, Any]:
        """``overall``, ``languages`` and ``days``, as ``coder-lsp stats --json`` has them."""
        ...

    def page(self, days: float | None, /) -> str:
        """The same as an HTML page that needs nothing else."""
        ...
