"""The model at work: one engine, one template, the placements of the documents it was asked about.

The only place in the host where text becomes tokens and tokens text. Blocking, one request at a time on the caller's
thread; ``host.server`` decides who is next.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind
from coder_lsp.types import FimResult

if TYPE_CHECKING:
    from coder_lsp.engine.base import CancelToken, Engine, LoadProgress
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.prompt.anchor import Placement
    from coder_lsp.types import FimRequest, TextSink

logger = logging.getLogger(__name__)

_PLACEMENTS_KEPT = 64


class ModelWorker:
    """Answers :class:`FimRequest` with one loaded model; keeps ``host.protocol.Worker``."""

    def __init__(self, engine: Engine, settings: HostSettings) -> None:
        self._engine = engine
        self._template = bind(engine, settings.template, engine.info.architecture)
        self._builder = PromptBuilder(engine, self._template, settings.prompt, engine.options.context_tokens)
        self._placements: OrderedDict[str, Placement] = OrderedDict()
        self.model = settings.model_name
        self.engine = engine.name
        self.warning = self._template.warning
        logger.info("engine=%s: %s; template=%s", engine.name, engine.reason, self._template.template.name)
        if self.warning:
            logger.warning("%s: %s", self.model, self.warning)

    @classmethod
    def load(cls, settings: HostSettings, progress: LoadProgress | None = None) -> ModelWorker:
        """Load the model the settings name.

        :raises ModelError, EngineError: as :meth:`coder_lsp.engine.llama.LlamaEngine.load`.
        """
        from coder_lsp.engine.llama import LlamaEngine

        return cls(LlamaEngine.load(Path(settings.model_path), settings.engine, progress), settings)

    def new_cancel_token(self) -> CancelToken:
        return self._engine.new_cancel_token()

    def complete(self, request: FimRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """Fill the gap; a cancelled request returns what there was by then.

        :raises ContextOverflow: the budgets do not fit the engine's context.
        """
        began = time.perf_counter()
        prompt = self._builder.build(request, self._placements.get(request.document))
        self._placements[request.document] = prompt.placement
        self._placements.move_to_end(request.document)
        if len(self._placements) > _PLACEMENTS_KEPT:
            self._placements.popitem(last=False)
        built_ms = (time.perf_counter() - began) * 1000
        generation = self._engine.generate(
            GenerateRequest(
                tokens=prompt.tokens,
                forced=prompt.forced,
                max_tokens=request.max_tokens,
                stop=request.stop,
                stop_tokens=prompt.stop_tokens,
                deadline_ms=request.deadline_ms,
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                seed=request.seed,
            ),
            on_text,
            cancel,
        )
        timings = {**generation.timings_ms, "prompt": built_ms, "total": (time.perf_counter() - began) * 1000}
        return FimResult(
            text=generation.text,
            finish_reason=generation.finish_reason,
            model=self.model,
            engine=self.engine,
            tokens=generation.tokens,
            timings_ms={stage: round(ms, 3) for stage, ms in timings.items()},
            logprobs=generation.logprobs,
            context_tokens=len(prompt.block.tokens),
            snippets=prompt.block.used,
        )

    def close(self) -> None:
        self._engine.close()
