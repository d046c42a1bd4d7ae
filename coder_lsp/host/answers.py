"""Instructions at work: one engine and its chat format, for questions about a place in a file.

Beside ``host.places``, which is for completions: a question needs no anchor and is not made ready ahead. What two
questions about one place have in common, they share through the engine's own reuse of prompts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.prompt.chat import AskBuilder, chat_format
from coder_lsp.types import FimResult

if TYPE_CHECKING:
    from coder_lsp.config import PromptConfig
    from coder_lsp.engine.base import CancelToken, Engine
    from coder_lsp.types import AskRequest, TextSink


class Answers:
    """Belongs to the model's thread, like the engine it drives."""

    def __init__(self, engine: Engine, config: PromptConfig, template: str) -> None:
        self._engine = engine
        style, room = chat_format(engine, template), engine.options.context_tokens
        self._builder = AskBuilder(engine, style, config, room, parameters=engine.info.parameters)

    @property
    def warning(self) -> str:
        """What the user should know of how well this model follows instructions."""
        return self._builder.style.warning

    def ask(self, request: AskRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """What the model says behind ``begun``.

        :raises ContextOverflow: the instruction alone is too long.
        :raises ModelNotFound, ModelCorrupt, ModelUnsupported: an adapter cannot be used.
        """
        began = time.perf_counter()
        tokens, used = self._builder.build(request)
        self._engine.adapt(request.adapters)
        built_ms = (time.perf_counter() - began) * 1000
        generation = self._engine.generate(
            GenerateRequest(
                tokens=tokens,
                max_tokens=request.max_tokens,
                stop=request.stop,
                stop_tokens=self._builder.style.stop_tokens,
                deadline_ms=request.deadline_ms,
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                seed=request.seed,
                draft=self._engine.options.draft,
            ),
            on_text,
            cancel,
        )
        timings = {**generation.timings_ms, "prompt": built_ms, "total": (time.perf_counter() - began) * 1000}
        return FimResult(
            text=generation.text,
            finish_reason=generation.finish_reason,
            tokens=generation.tokens,
            timings_ms={stage: round(ms, 3) for stage, ms in timings.items()},
            logprobs=generation.logprobs,
            snippets=used,
        )
