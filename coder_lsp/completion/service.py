"""The path of one request in the front: gate, shape, ask the host, post-process. Read :meth:`CompletionService._run`.

Knows documents and policy, never tokens, sockets or the LSP. The newest request wins: the user types in one place, so
an older one is answered at once with nothing and the reason ``superseded``, and its generation is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import PurePath
from typing import TYPE_CHECKING

from coder_lsp.completion.context import FrozenContext
from coder_lsp.completion.gate import Gate
from coder_lsp.completion.postprocess import StopRule, examine
from coder_lsp.completion.shape import decide_shape
from coder_lsp.languages import resolve
from coder_lsp.types import CompletionOutcome, FimRequest, FinishReason, Shape, Suggestion, Trigger

if TYPE_CHECKING:
    from coder_lsp.config import Config
    from coder_lsp.types import CompletionRequest, ContextSource, FimBackend, Snippet

logger = logging.getLogger(__name__)

_BEFORE_CHARACTERS = 32 * 1024
_AFTER_CHARACTERS = 16 * 1024
"""Text around the cursor that crosses to the host, far more than any token budget shows to a model."""
_BEFORE_STEP = 16 * 1024
"""The start of what crosses moves in such steps, so that the host sees it stay put while the user types."""
_TRUNCATED = (FinishReason.LENGTH, FinishReason.DEADLINE)


class CompletionService:
    """Suggestions for one window, over any :class:`~coder_lsp.types.FimBackend`. Lives on one event loop.

    ``context`` knows the workspace; without one the model sees the document alone.
    """

    def __init__(self, backend: FimBackend, config: Config, context: ContextSource | None = None) -> None:
        self._backend = backend
        self._context = FrozenContext(context) if context is not None else None
        self._config = config
        self._gate = Gate(config)
        self._newest: asyncio.Task[CompletionOutcome] | None = None

    def configure(self, config: Config) -> None:
        """Go by new settings from the next request on."""
        self._config = config
        self._gate.configure(config)
        if self._context is not None:
            self._context.forget()

    def workspace_read(self) -> None:
        """The workspace was only partly known until now; look again at what is shown of it."""
        if self._context is not None:
            self._context.look_again()

    def pause(self, scope: str | None, on: bool) -> None:
        """Stop (``on``) or resume suggestions: everywhere (None), in a language (its id), in a document (its URI)."""
        change = self._gate.pause if on else self._gate.resume
        if scope is None:
            change()
        elif ":" in scope:
            change(uri=scope)
        else:
            change(language=scope)

    async def complete(self, request: CompletionRequest) -> CompletionOutcome:
        """What to show at a place. Cancelling the awaiting task cancels the generation.

        :raises CoderLspError: the backend cannot serve; the caller tells the user once.
        """
        refused = self._gate.check(request)
        if refused:
            return CompletionOutcome(reason=refused)
        if self._newest is not None:
            self._newest.cancel()
        task = self._newest = asyncio.ensure_future(self._run(request))
        try:
            # wait() instead of await: a newer request cancels the task, the client cancels us; only the latter raises.
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            if self._newest is task:
                self._newest = None
        if task.cancelled():
            return CompletionOutcome(reason="superseded")
        return task.result()

    async def _run(self, request: CompletionRequest) -> CompletionOutcome:
        began = time.perf_counter()
        config = self._config.completion
        language = resolve(request.language, request.path)
        decision = decide_shape(
            request.text, request.cursor, language, request.trigger, multiline=config.multiline, path=request.path
        )
        before, after = _around(request)
        rule = StopRule(before, after, language, decision.shape)
        shaped = time.perf_counter()
        snippets = self._snippets(request)
        fim = self._fim_request(request, before, after, language.id, decision.shape, snippets=snippets)

        asked = time.perf_counter()
        result = await self._backend.complete(fim, rule.feed)
        answered = time.perf_counter()

        if result.finish_reason is FinishReason.CANCELLED:
            return CompletionOutcome(reason="cancelled", shape=decision.shape, result=result, snippets=snippets)
        verdict = examine(
            result.text, before, after, language, decision.shape, truncated=result.finish_reason in _TRUNCATED
        )
        suggestions: tuple[Suggestion, ...] = ()
        if verdict.edit is not None:
            edit = verdict.edit
            suggestions = (Suggestion(edit.text, request.cursor, request.cursor + edit.replace_after),)
        ended = time.perf_counter()
        outside = (ended - began) - (answered - asked)
        logger.debug("shape=%s (%s), ended by %s", decision.shape.value, decision.reason, rule.reason or "the model")
        return CompletionOutcome(
            suggestions=suggestions,
            reason=verdict.reason,
            shape=decision.shape,
            result=result,
            timings_ms={
                "front": round(outside * 1000, 3),
                "context": round((asked - shaped) * 1000, 3),
                "host": round((answered - asked) * 1000, 3),
            },
            snippets=snippets,
        )

    def _snippets(self, request: CompletionRequest) -> tuple[Snippet, ...]:
        if self._context is None or not self._config.context.enabled:
            return ()
        return self._context.block(request, self._config.prompt.context_tokens)

    def _fim_request(
        self,
        request: CompletionRequest,
        before: str,
        after: str,
        language: str,
        shape: Shape,
        *,
        snippets: tuple[Snippet, ...],
    ) -> FimRequest:
        config = self._config.completion
        automatic = request.trigger is Trigger.AUTOMATIC
        default_tokens = config.max_tokens_line if shape is Shape.LINE else config.max_tokens_block
        return FimRequest(
            document=request.uri,
            # The model was trained on "\n"; the post-processor gives the file its own line ends back.
            prefix=before.replace("\r\n", "\n").replace("\r", "\n"),
            suffix=after.replace("\r\n", "\n").replace("\r", "\n"),
            language=language,
            path=request.path,
            repository=PurePath(request.root).name,
            snippets=snippets,
            max_tokens=request.max_tokens or default_tokens,
            deadline_ms=config.automatic_deadline_ms if automatic else config.invoked_deadline_ms,
        )


def _around(request: CompletionRequest) -> tuple[str, str]:
    """The text before and after the cursor that matters, cells above included, cut at line starts."""
    before = request.text[: request.cursor]
    if request.preceding:
        before = f"{request.preceding.rstrip()}\n\n{before}"
    surplus = max(0, len(before) - _BEFORE_CHARACTERS) // _BEFORE_STEP * _BEFORE_STEP
    if surplus:
        # A line longer than a whole step is cut where it is: it is no code a person wrote.
        start = before.find("\n", surplus, surplus + _BEFORE_STEP) + 1
        before = before[start or surplus :]
    after = request.text[request.cursor : request.cursor + _AFTER_CHARACTERS]
    return before, after
