"""The model at work: one engine, one template, and the places it is ready to go on from.

The only place in the host where text becomes tokens and tokens text. Blocking, one call at a time on the model's
thread; ``host.jobs`` decides what is next. Which prompt answers is for ``host.places`` to say.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.host.address import address_key
from coder_lsp.host.alternatives import BRANCHING, branches, looks
from coder_lsp.host.answers import Answers
from coder_lsp.host.places import Places
from coder_lsp.host.saved import SavedPlaces
from coder_lsp.host.speeds import Speed
from coder_lsp.paths import cache_dir
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind
from coder_lsp.types import FimResult, FinishReason

if TYPE_CHECKING:
    from coder_lsp.engine.base import CancelToken, Engine, Generation, LoadProgress
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.prompt.builder import Prompt
    from coder_lsp.types import Adapter, AskRequest, FimRequest, PromptPreview, TextSink

logger = logging.getLogger(__name__)

HINTS = 16
"""Recent suggestions whose tokens are offered for drafting: what was suggested once is often wanted again."""
_LEAST_LOGPROB = -1.6
"""Mean of a line's tokens, natural logarithm: a model that gives its own choice one chance in five on average is
guessing, and what it writes below is not worth the waiting."""


class ModelWorker:
    """Answers :class:`FimRequest` with one loaded model; keeps ``host.protocol.Worker``."""

    def __init__(self, engine: Engine, settings: HostSettings, saved: SavedPlaces | None = None) -> None:
        self._engine = engine
        self._template = bind(engine, settings.template, engine.info.architecture)
        self._builder = PromptBuilder(engine, self._template, settings.prompt, engine.options.context_tokens)
        self._places = Places(engine, self._builder, settings.prompt, settings.idle, saved)
        self._answers = Answers(engine, settings.prompt, self._template.template.name)
        self._speed = Speed(Path(settings.model_path))
        self._hints: deque[tuple[int, ...]] = deque(maxlen=HINTS)
        self.adapters: tuple[Adapter, ...] = ()
        """Those that the last answer was written with."""
        self.model = settings.model_name
        self.engine = engine.name
        self.notice = self._template.warning
        logger.info("engine=%s: %s; template=%s", engine.name, engine.reason, self._template.template.name)
        if self.notice:
            logger.warning("%s: %s", self.model, self.notice)

    @classmethod
    def load(cls, settings: HostSettings, progress: LoadProgress | None = None) -> ModelWorker:
        """Load the model the settings name.

        :raises ModelError, EngineError: as :func:`coder_lsp.engine.choose.load_engine`.
        """
        from coder_lsp.engine.choose import load_engine

        loaded = load_engine(Path(settings.model_path), settings.engine, progress)
        saved = None
        if settings.idle.enabled and settings.idle.saved_places:
            saved = SavedPlaces(cache_dir() / "places" / address_key(settings), settings.idle.saved_places)
        worker = cls(loaded.engine, settings, saved)
        worker.notice = "; ".join(filter(None, (loaded.notice, worker.notice)))
        return worker

    def new_cancel_token(self) -> CancelToken:
        return self._engine.new_cancel_token()

    def warm(self, request: FimRequest) -> None:
        """Somebody is about to ask at this place; :meth:`work` makes its prompt ready."""
        self._places.note(request)

    def preview(self, request: FimRequest) -> PromptPreview:
        """What the model would be shown for a request.

        :raises ContextOverflow: the budgets do not fit the engine's context.
        """
        return self._builder.preview(request)

    def work(self, cancel: CancelToken) -> bool:
        """Do a piece of what can be done ahead; False if there is nothing to do."""
        return self._places.work(cancel)

    def complete(self, request: FimRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """Fill the gap; a cancelled request returns what there was by then.

        :raises ContextOverflow: the budgets do not fit the engine's context.
        :raises ModelNotFound, ModelCorrupt, ModelUnsupported: an adapter of the request cannot be used.
        """
        began = time.perf_counter()
        prompt, sequence = self._places.prompt(request)
        # Behind it: what could not be laid over the model is not what was used.
        self._note_adapters(request)
        built_ms = (time.perf_counter() - began) * 1000
        asked = self._asked(request, prompt, sequence)
        generation = self._engine.generate(asked, on_text, cancel)
        self._places.evaluated(request.document, generation.sequence)
        self._speed.note(generation.tokens.generated, generation.timings_ms.get("decode", 0.0))
        if generation.token_ids:
            self._hints.append(generation.token_ids)
        alternatives = self._alternatives(request, asked, generation, cancel)
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
            snippets=prompt.block.used if prompt.frame.given == request.snippets else (),
            alternatives=alternatives,
            prompt_kind=prompt.frame.kind,
        )

    def describe_format(self) -> str:
        """How prompts are written, for ``doctor``."""
        pieces = ", ".join(control.spellings[0] for control in self._template.ids)
        return f"template {self._template.template.name}; tokens there: {pieces or 'none'}"

    def ask(self, request: AskRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """Follow an instruction; a cancelled one returns what there was by then.

        :raises ContextOverflow, ModelNotFound, ModelCorrupt, ModelUnsupported: as :meth:`Answers.ask`.
        """
        return replace(self._answers.ask(request, on_text, cancel), model=self.model, engine=self.engine)

    def close(self) -> None:
        """Keep what is evaluated for the next session, and give the memory back."""
        self._places.save()
        self._speed.save()
        self._engine.close()

    def _note_adapters(self, request: FimRequest) -> None:
        """Suggestions of another adapter are poor guesses; and the log says what lies over the model."""
        if request.adapters == self.adapters:
            return
        self.adapters = request.adapters
        self._hints.clear()
        names = [f"{Path(each.path).parent.name}/{Path(each.path).name} x {each.scale:g}" for each in request.adapters]
        logger.info("adapters: %s", ", ".join(names) or "none")

    def _asked(self, request: FimRequest, prompt: Prompt, sequence: int | None) -> GenerateRequest:
        return GenerateRequest(
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
            sequence=sequence,
            draft=self._engine.options.draft,
            hints=tuple(self._hints),
            branching=BRANCHING if request.alternatives > 1 else 0,
            least_logprob=_LEAST_LOGPROB,
        )

    def _alternatives(
        self, request: FimRequest, asked: GenerateRequest, first: Generation, cancel: CancelToken
    ) -> tuple[str, ...]:
        """Other texts for the same place; they get no more lines than the first one has."""
        if request.alternatives <= 1 or first.finish_reason is FinishReason.CANCELLED:
            return ()
        lines = first.text.count("\n")
        texts: dict[str, str] = {looks(first.text): first.text}
        for branch in branches(first, asked.forced, self._engine.token_bytes):
            if len(texts) >= request.alternatives:
                break
            said = [branch.text]

            def wants_more(delta: str, said: list[str] = said) -> bool:
                said.append(delta)
                return "".join(said).count("\n") <= lines

            tokens = [*asked.tokens, *branch.tokens]
            other = replace(asked, tokens=tokens, forced=b"", branching=0, sequence=first.sequence)
            generation = self._engine.generate(other, wants_more, cancel)
            if generation.finish_reason is FinishReason.CANCELLED:
                break
            text = branch.text + generation.text
            texts.setdefault(looks(text), text)
        return tuple(texts.values())[1:]
