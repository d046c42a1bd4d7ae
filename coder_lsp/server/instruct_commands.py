"""Commands and code actions that have the model follow an instruction: generate, rewrite, explain, write tests.

A command answers when the model has ended. Until then the client is shown what there is as ``coder-lsp/preview``, if it
asks for that, and a progress that the user can stop. The change comes as one ``workspace/applyEdit``, which an editor
undoes in one step, or in the answer alone for clients that show and apply it themselves. A text that was changed
meanwhile where the edit would go is left alone, and what the model wrote is in the answer, so nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from coder_lsp.errors import CoderLspError
from coder_lsp.server import convert
from coder_lsp.server.arguments import refused, value_of
from coder_lsp.server.roots import path_of
from coder_lsp.types import InstructRequest, Task

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.documents.document import Document
    from coder_lsp.server.ports import Completions
    from coder_lsp.server.server import CoderLanguageServer
    from coder_lsp.types import InstructOutcome

logger = logging.getLogger(__name__)

PREVIEW = "coder-lsp/preview"
"""Notification to a client that gave a command an ``id``: what the outcome would be so far."""
COMMANDS = {
    "coder-lsp.generate": Task.GENERATE,
    "coder-lsp.rewrite": Task.REWRITE,
    "coder-lsp.explain": Task.EXPLAIN,
    "coder-lsp.writeTests": Task.TESTS,
}
_TITLES = {
    Task.GENERATE: "Writing code",
    Task.REWRITE: "Rewriting",
    Task.EXPLAIN: "Explaining",
    Task.TESTS: "Writing tests",
}
_PREVIEW_S = 0.05
"""Between two previews: an editor draws no faster, and a token comes every 20 ms."""
_ACTIONS = (
    ("Explain", "coder-lsp.explain", ""),
    ("Write tests", "coder-lsp.writeTests", ""),
    ("Add documentation", "coder-lsp.rewrite", "add documentation to it, in the style of the language; change no code"),
    ("Simplify", "coder-lsp.rewrite", "make it simpler and shorter without changing what it does"),
)
"""For clients that cannot ask for an instruction: title, command, instruction."""


@dataclass(frozen=True)
class _Asked:
    """A command as it came. ``document`` is the text that it is about, whatever comes later."""

    document: Document
    request: InstructRequest
    preview: str | None
    apply: bool
    show: bool


class InstructCommands:
    """Registers itself with the server."""

    def __init__(self, server: CoderLanguageServer, completions: Completions) -> None:
        self._server = server
        self._completions = completions
        for name, task in COMMANDS.items():
            server.command(name)(partial(self.run, task))
        options = lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.Refactor], resolve_provider=False)
        server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, options)(partial(self.actions))

    async def run(self, task: Task, *arguments: Any) -> dict[str, Any]:
        """Follow the instruction; see docs/protocol.md for what is given and answered."""
        asked = self._asked(task, arguments)
        await self._server.settings.look()
        outcome = await self._followed(asked)
        reason, applied = outcome.reason, False
        if not reason and task is Task.TESTS and asked.apply:
            applied, reason = await self._apply_tests(asked, outcome)
        elif not reason and task is not Task.EXPLAIN and asked.apply:
            applied, reason = await self._apply(asked, outcome)
        if not reason and task is Task.EXPLAIN and asked.show:
            await self._show(outcome.text)
        elif reason and asked.show:
            self._server.show(lsp.MessageType.Info, f"coder-lsp: {reason}")
        return self._answer(asked, outcome, reason, applied=applied)

    def actions(self, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        """What can be done at a place, told without asking the model."""
        only = params.context.only
        kind = lsp.CodeActionKind.RefactorRewrite
        if only is not None and not any(_covers(each, kind) for each in only):
            return []
        document = self._server.documents.get(params.text_document.uri)
        config = self._server.settings.config
        if document is None or config is None or not config.completion.enabled:
            return []
        empty = params.range.start == params.range.end
        task = Task.GENERATE if empty else Task.EXPLAIN
        if self._completions.refuses(self._request(document, params.range, task)):
            return []
        offered = [("Write the code of this comment", "coder-lsp.generate", "")] if empty else _ACTIONS
        place = {"uri": document.uri, "range": _as_range(params.range), "show": True}
        return [
            lsp.CodeAction(
                title=f"coder-lsp: {title}",
                kind=kind,
                command=lsp.Command(title, command, arguments=[{**place, "instruction": instruction}]),
            )
            for title, command, instruction in offered
        ]

    async def _followed(self, asked: _Asked) -> InstructOutcome:
        """The outcome, with progress and previews on the way; whoever stops the progress cancels the command."""
        shown = self._server.work_done
        token = await shown.granted() if self._server.client.progress and not shown.refused else ""
        if token:
            shown.begin(token, _TITLES[asked.request.task], 0, cancellable=True)
            task = asyncio.current_task()
            assert task is not None
            shown.when_cancelled(token, task.cancel)
        told_at = 0.0

        def on_preview(outcome: InstructOutcome) -> None:
            nonlocal told_at
            now = time.monotonic()
            if asked.preview is None or (outcome.result is None and now - told_at < _PREVIEW_S):
                return
            told_at = now
            self._server.protocol.notify(PREVIEW, self._previewed(asked, outcome))

        try:
            return await self._completions.instruct(asked.request, on_preview)
        except CoderLspError as error:
            raise refused(error) from error
        finally:
            if token:
                shown.end(token, "done")

    async def _apply(self, asked: _Asked, outcome: InstructOutcome) -> tuple[bool, str]:
        """Have the client change the text, if it is still the one that the model saw; whether it did, else why not."""
        document = self._server.documents.get(asked.request.uri)
        if document is None or document.text != asked.document.text:
            return False, "the text was changed meanwhile; what the model wrote was not put into it"
        edit = lsp.TextEdit(self._range(document, outcome.start, outcome.end), _with_ends_of(document, outcome.text))
        return await self._sent(asked, lsp.WorkspaceEdit(changes={asked.request.uri: [edit]}))

    async def _apply_tests(self, asked: _Asked, outcome: InstructOutcome) -> tuple[bool, str]:
        """Put tests into a new file beside the tested one, which the client makes and nothing is overwritten for."""
        if not self._server.client.creates_files:
            return False, "the editor cannot make files; the tests are in the answer"
        target = tests_uri(asked.request.uri, asked.request.language)
        if target is None or _exists(target):
            return False, "there is a file of tests already; the tests are in the answer"
        start = lsp.Position(0, 0)
        created = lsp.CreateFile(uri=target, options=lsp.CreateFileOptions(overwrite=False, ignore_if_exists=False))
        filled = lsp.TextDocumentEdit(
            lsp.OptionalVersionedTextDocumentIdentifier(uri=target, version=None),
            [lsp.TextEdit(lsp.Range(start, start), f"{outcome.text}\n")],
        )
        applied, reason = await self._sent(asked, lsp.WorkspaceEdit(document_changes=[created, filled]))
        if applied and self._server.client.show_document:
            await self._opened(target)
        return applied, reason

    async def _sent(self, asked: _Asked, edit: lsp.WorkspaceEdit) -> tuple[bool, str]:
        if not self._server.client.applies_edits:
            return False, "the editor takes no changes from servers"
        label = f"coder-lsp: {asked.request.task.value}"
        try:
            answer = await self._server.workspace_apply_edit_async(lsp.ApplyWorkspaceEditParams(edit, label))
        except JsonRpcException as error:
            logger.info("the editor refused an edit: code %d", error.code)
            return False, "the editor did not take the change"
        return answer.applied, "" if answer.applied else "the editor did not take the change"

    async def _show(self, text: str) -> None:
        """An explanation, as a document where the client can open one, else as a message."""
        if self._server.client.show_document:
            from coder_lsp.paths import state_dir

            file = state_dir() / "explanation.md"
            await asyncio.to_thread(_write_private, file, f"{text}\n")
            if await self._opened(file.as_uri()):
                return
        self._server.show(lsp.MessageType.Info, text)

    async def _opened(self, uri: str) -> bool:
        params = lsp.ShowDocumentParams(uri=uri, external=False, take_focus=False)
        try:
            return (await self._server.window_show_document_async(params)).success
        except JsonRpcException as error:
            logger.info("the editor did not open a document: code %d", error.code)
            return False

    def _asked(self, task: Task, arguments: tuple[Any, ...]) -> _Asked:
        given = arguments[0] if len(arguments) == 1 else None
        uri, instruction = value_of(given, "uri"), value_of(given, "instruction")
        corners = [value_of(given, "range", end, axis) for end in ("start", "end") for axis in ("line", "character")]
        if not isinstance(uri, str) or not all(_is_index(each) for each in corners):
            raise JsonRpcInvalidParams('one argument is needed: {"uri": …, "range": …, "instruction"?: …}')
        if not isinstance(instruction, str | None):
            raise JsonRpcInvalidParams("the instruction must be text")
        preview = value_of(given, "id")
        if not isinstance(preview, str | None):
            raise JsonRpcInvalidParams("the id must be text")
        document = self._server.documents.get(uri)
        if document is None:
            raise JsonRpcInvalidParams("the document is not open")
        place = lsp.Range(lsp.Position(corners[0], corners[1]), lsp.Position(corners[2], corners[3]))
        outline = value_of(given, "outline") is True
        request = self._request(document, place, task, instruction or "", outline=outline)
        apply, show = value_of(given, "apply") is not False, value_of(given, "show") is True
        return _Asked(document, request, preview, apply, show)

    def _request(
        self, document: Document, place: lsp.Range, task: Task, instruction: str = "", *, outline: bool = False
    ) -> InstructRequest:
        start, end = convert.offsets(document, place, self._server.documents.encoding)
        location = self._server.locate(document.uri)
        return InstructRequest(
            uri=document.uri,
            text=document.text,
            start=start,
            end=end,
            task=task,
            instruction=instruction,
            outline=outline,
            language=document.language,
            path=location.path,
            root=location.root,
        )

    def _previewed(self, asked: _Asked, outcome: InstructOutcome) -> dict[str, Any]:
        return {
            "id": asked.preview,
            "uri": asked.request.uri,
            "version": asked.document.version,
            "range": _as_range(self._range(asked.document, outcome.start, outcome.end)),
            "text": _with_ends_of(asked.document, outcome.text),
            "done": outcome.result is not None,
        }

    def _answer(self, asked: _Asked, outcome: InstructOutcome, reason: str, *, applied: bool) -> dict[str, Any]:
        result = outcome.result
        return {
            "task": outcome.task.value,
            "text": _with_ends_of(asked.document, outcome.text),
            "range": _as_range(self._range(asked.document, outcome.start, outcome.end)),
            "version": asked.document.version,
            "applied": applied,
            "reason": reason,
            "model": result.model if result else "",
            "engine": result.engine if result else "",
        }

    def _range(self, document: Document, start: int, end: int) -> lsp.Range:
        return convert.client_range(document, start, end, self._server.documents.encoding)


def tests_uri(uri: str, language: str) -> str | None:
    """Where tests of a file go: beside it, under the name that the language's tools look for; None if not a file."""
    path = path_of(uri)
    if path is None or not path.name or not path.is_absolute():
        return None
    stem, ending = path.stem, path.suffix
    names = {
        "python": f"test_{stem}{ending}",
        "go": f"{stem}_test{ending}",
        "rust": f"{stem}_test{ending}",
        "ruby": f"{stem}_spec{ending}",
        "java": f"{stem}Test{ending}",
        "csharp": f"{stem}Tests{ending}",
        "php": f"{stem}Test{ending}",
        "c": f"{stem}_test{ending}",
        "cpp": f"{stem}_test{ending}",
    }
    return path.with_name(names.get(language, f"{stem}.test{ending}")).as_uri()


def _exists(uri: str) -> bool:
    path = path_of(uri)
    # Not Path.exists(), which raises for a name that is too long.
    return path is not None and os.path.lexists(path)


def _write_private(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)


def _with_ends_of(document: Document, text: str) -> str:
    """With the line ends that the document has."""
    return text.replace("\n", "\r\n") if "\r\n" in document.text else text


def _covers(wanted: str, kind: str) -> bool:
    """Whether a client that asks for actions of one kind wants those of another (LSP, ``CodeActionKind``)."""
    return kind == wanted or kind.startswith(f"{wanted}.") or wanted == ""


def _as_range(given: lsp.Range) -> dict[str, Any]:
    return {
        "start": {"line": given.start.line, "character": given.start.character},
        "end": {"line": given.end.line, "character": given.end.character},
    }


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
