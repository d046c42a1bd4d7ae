"""Commands that show what is otherwise unseen: what the model is shown at a place, and what became of suggestions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from coder_lsp.errors import CoderLspError
from coder_lsp.server.arguments import refused, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coder_lsp.server.ports import Completions, Statistics
    from coder_lsp.server.server import CoderLanguageServer
    from coder_lsp.types import CompletionRequest, PromptPreview


class ReportCommands:
    """Registers itself with the server; every method answers one command."""

    def __init__(self, server: CoderLanguageServer, completions: Completions, statistics: Statistics | None) -> None:
        self._server = server
        self._completions = completions
        self._statistics = statistics
        for name, handler in {
            "coder-lsp.context": self.context,
            "coder-lsp.stats": self.stats,
            "coder-lsp.statsPage": self.stats_page,
        }.items():
            server.command(name)(partial(handler))

    async def context(self, *arguments: Any) -> dict[str, Any]:
        """What the model is shown at a place: the prompt, and what of it comes from other files."""
        request = self._request(arguments)
        config = self._server.settings.config
        budget = config.prompt.context_tokens if config is not None else 0
        try:
            shown = await self._completions.preview(request)
        except CoderLspError as error:
            raise refused(error) from error
        if isinstance(shown, str):
            return {"text": "", "prompt": "", "tokens": 0, "budget": budget, "snippets": [], "reason": shown}
        return {
            "text": shown.context,
            "tokens": shown.context_tokens,
            "budget": budget,
            "prompt": shown.prompt,
            "promptTokens": shown.tokens,
            "snippets": _snippets(shown),
            "reason": "" if shown.snippets else self._why_none(),
        }

    async def stats(self, *arguments: Any) -> Any:
        """Figures of the local history of suggestions."""
        figures = await self._read(arguments, lambda of, days: of.figures(days))
        languages = {language: _camel(of_it) for language, of_it in figures["languages"].items()}
        return {**_camel(figures), "languages": languages}

    async def stats_page(self, *arguments: Any) -> dict[str, str]:
        """The same as an HTML page."""
        return {"html": await self._read(arguments, lambda of, days: of.page(days))}

    async def _read(self, arguments: tuple[Any, ...], what: Callable[[Statistics, float | None], Any]) -> Any:
        days = value_of(arguments[0], "days") if arguments else None
        if days is not None and (isinstance(days, bool) or not isinstance(days, (int, float)) or days <= 0):
            raise JsonRpcInvalidParams("days must be a number greater than 0")
        if self._statistics is None:
            raise refused(CoderLspError("no statistics are kept here"))
        try:
            return await asyncio.to_thread(what, self._statistics, days)
        except CoderLspError as error:
            raise refused(error) from error

    def _request(self, arguments: tuple[Any, ...]) -> CompletionRequest:
        given = arguments[0] if len(arguments) == 1 else None
        uri, line = value_of(given, "uri"), value_of(given, "position", "line")
        character = value_of(given, "position", "character")
        if not (isinstance(uri, str) and _is_index(line) and _is_index(character)):
            raise JsonRpcInvalidParams('one argument is needed: {"uri": …, "position": {"line": …, "character": …}}')
        request = self._server.request_at(uri, line, character)
        if request is None:
            raise JsonRpcInvalidParams("the document is not open")
        return request

    def _why_none(self) -> str:
        config = self._server.settings.config
        if config is not None and not config.context.enabled:
            return "context.enabled is off"
        return "nothing that was read of other files has to do with this place"


def _snippets(shown: PromptPreview) -> list[dict[str, Any]]:
    return [
        {
            "path": snippet.path,
            "startLine": snippet.start_line,
            "endLine": snippet.end_line,
            "source": snippet.source,
            "score": round(snippet.score, 4),
            "text": snippet.text,
        }
        for snippet in shown.snippets
    ]


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _camel(value: Any) -> Any:
    """With names as the protocol writes them."""
    if isinstance(value, dict):
        found: Mapping[str, Any] = value
        return {_camel_name(name): _camel(inner) for name, inner in found.items()}
    return [_camel(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
