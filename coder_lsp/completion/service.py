"""The path of one request in the front: gate, what was generated already, ask the model, post-process.

Read :meth:`CompletionService._run`. Knows documents and policy, never tokens, sockets or the LSP. The newest request
wins: the user types in one place, so an older one is answered at once with nothing and the reason ``superseded``. What
the model writes belongs to no request (``completion.stream``): the newer one reads on where the typing agrees with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from asyncio import FIRST_COMPLETED
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from coder_lsp.completion.ahead import MOVED_S, OPENED_S, SUGGESTED_S, WarmUp, after_accept, first_screen
from coder_lsp.completion.context import FrozenContext
from coder_lsp.completion.gap import Gap
from coder_lsp.completion.gate import Gate
from coder_lsp.completion.generations import Generations
from coder_lsp.completion.instruct import as_completion, follow, unfit
from coder_lsp.completion.job import Job
from coder_lsp.completion.reader import Reader
from coder_lsp.completion.scheduler import LoopClock, Pace
from coder_lsp.completion.shape import ShapeDecision, decide_shape
from coder_lsp.completion.show_filter import RecentAcceptance, ShowFeatures, Typing
from coder_lsp.completion.stream import Stream
from coder_lsp.errors import origin
from coder_lsp.types import CompletionOutcome, FimRequest, InstructOutcome, Shape, Suggestion, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from coder_lsp.completion.reader import Answer
    from coder_lsp.completion.scheduler import Clock
    from coder_lsp.completion.show_filter import ShowFilter
    from coder_lsp.config import Config
    from coder_lsp.types import (
        AdapterChoice,
        CompletionRequest,
        ContextSource,
        FimBackend,
        InstructRequest,
        PreviewSink,
        PromptPreview,
        Snippet,
    )

logger = logging.getLogger(__name__)

T = TypeVar("T")

ABANDONED_S = 1.0
"""An editor that cancels a request because a key was pressed asks again at once; so long the generation may go on."""


class CompletionService:
    """Suggestions for one window, over any :class:`~coder_lsp.types.FimBackend`. Lives on one event loop.

    ``context`` knows the workspace; without one the model sees the document alone. ``filter_of`` makes the filter for
    the settings; without one every suggestion is shown. ``adapters_of`` makes what says, by the settings, which
    adapters lie over the model for a document. ``acceptance`` is fed by whoever sees what becomes of them.
    """

    def __init__(
        self,
        backend: FimBackend,
        config: Config,
        context: ContextSource | None = None,
        *,
        filter_of: Callable[[Config], ShowFilter] | None = None,
        adapters_of: Callable[[Config], AdapterChoice] | None = None,
        acceptance: RecentAcceptance | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._context = FrozenContext(context) if context is not None else None
        self._config = config
        self._gate = Gate(config)
        self._filter_of = filter_of
        self._filter = filter_of(config) if filter_of else None
        self._adapters_of = adapters_of
        self._adapters = adapters_of(config) if adapters_of else None
        self._acceptance = acceptance or RecentAcceptance()
        self._clock = clock or LoopClock()
        self._pace = Pace()
        self._backend = backend
        self._generations = Generations(backend)
        self._generations.keep = config.completion.reuse
        self._warm = WarmUp(backend, self._clock, self._request_to_warm)
        self._newest: asyncio.Task[CompletionOutcome] | None = None
        self._newest_job: Job | None = None
        self._later: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._visited: CompletionRequest | None = None
        self._hears_focus = False

    def configure(self, config: Config) -> None:
        """Go by new settings from the next request on."""
        self._config = config
        self._gate.configure(config)
        self._filter = self._filter_of(config) if self._filter_of else None
        self._adapters = self._adapters_of(config) if self._adapters_of else None
        self._generations.keep = config.completion.reuse
        self._generations.start_afresh()
        if self._context is not None:
            self._context.forget()

    def workspace_read(self) -> None:
        """The workspace was only partly known until now; look again at what is shown of it, while nobody waits."""
        if self._context is not None:
            self._context.look_again()
            if self._visited is not None:
                self._propose(self._visited, MOVED_S)

    def pause(self, scope: str | None, on: bool) -> None:
        """Stop (``on``) or resume suggestions: everywhere (None), in a language (its id), in a document (its URI)."""
        change = self._gate.pause if on else self._gate.resume
        if scope is None:
            change()
        elif ":" in scope:
            change(uri=scope)
        else:
            change(language=scope)

    def refuses(self, request: InstructRequest) -> str:
        """Why an instruction cannot be followed; empty if it can. Asks nobody."""
        reason = self._gate.check(as_completion(request))
        return unfit(request) if reason.startswith(("paused", "disabled")) else reason or unfit(request)

    async def instruct(self, request: InstructRequest, on_preview: PreviewSink | None = None) -> InstructOutcome:
        """Follow an instruction about a place; ``on_preview`` hears what the outcome would be as the answer grows.

        What the user asks for by name is done while suggestions are paused too, but not in a file that is excluded or
        looks like a secret. Cancelling the awaiting task ends it.

        :raises CoderLspError: the model cannot.
        """
        if reason := self.refuses(request):
            return InstructOutcome(request.task, start=request.start, end=request.end, reason=reason)
        place = self._adapted(as_completion(request))
        return await follow(self._backend, request, self._snippets(place), place.adapters, on_preview)

    async def preview(self, request: CompletionRequest) -> PromptPreview | str:
        """What the model is shown at a place, or why it is shown nothing.

        :raises CoderLspError: the host's own.
        """
        refused = self._gate.check(request)
        if refused:
            return refused
        gap = Gap.of(self._adapted(request))
        return await self._backend.preview(self._fim_request(gap, Shape.LINE, self._snippets(request)))

    def opened(self, request: CompletionRequest) -> None:
        """A document was opened; where the cursor is in it is not known, nor whether the user sees it."""
        place = first_screen(request)
        if place is not None and not self._hears_focus:
            self._propose(place, OPENED_S)

    def focused(self, request: CompletionRequest) -> None:
        """The user's cursor is here now, wherever he was before. Who tells this need not be guessed at."""
        self._hears_focus = True
        self._propose(request, MOVED_S)

    def closed(self, document: str) -> None:
        """A document was closed: nothing of it is kept."""
        self._generations.forget(document)
        if self._newest is not None and self._newest_job is not None and self._newest_job.gap.request.uri == document:
            self._newest.cancel()
        if self._visited is not None and self._visited.uri == document:
            self._visited = None
            self._warm.drop()
            self._do_later(None)

    async def close(self) -> None:
        """End everything that runs, and wait for it."""
        self._warm.drop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._warm.close()
        await self._generations.close()

    async def complete(self, request: CompletionRequest) -> CompletionOutcome:
        """What to show at a place. Cancelling the awaiting task is safe; its generation goes on for a moment, as the
        next request may want it.

        :raises CoderLspError: the backend cannot serve; the caller tells the user once.
        """
        refused = self._gate.check(request)
        if refused:
            return CompletionOutcome(reason=refused)
        self._overtake()
        job = self._newest_job = self._job(self._adapted(request))
        task = self._newest = self._spawn(self._run(job))
        try:
            # wait() instead of await: a newer request cancels the task, the client cancels us; only the latter raises.
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            if self._newest is task:
                self._abandon()
            raise
        finally:
            if self._newest is task:
                self._newest = self._newest_job = None
        if task.cancelled():
            return CompletionOutcome(reason="superseded")
        return task.result()

    def _overtake(self) -> None:
        """A newer request is here: let go of the one before and of what was to be done behind it."""
        self._do_later(None)
        self._warm.drop()
        if self._newest is not None:
            self._newest.cancel()
        if self._newest_job is not None and self._newest_job.asked is not None:
            self._pace.overtaken(self._clock.now() - self._newest_job.asked)

    def _job(self, request: CompletionRequest) -> Job:
        """A request with all that it may read of what was generated; what it cannot use ends here."""
        completion, now = self._config.completion, self._clock.now()
        gap = Gap.of(request)
        invoked = request.trigger is Trigger.INVOKED
        self._visited = request
        if not invoked:
            self._pace.key(now)
        self._generations.release(gap if completion.reuse else None)
        job = Job(gap, now, invoked, completion.alternatives if invoked and request.alternatives else 1)
        if completion.reuse:
            asked_shape = self._shape(gap).shape if invoked else None
            readable = [each for each in self._generations.matching(gap) if job.may_read(*each, asked_shape)]
            still_true = {block: self._still_true(block) for block in {stream.snippets for stream, _ in readable}}
            job.candidates = [(stream, typed) for stream, typed in readable if still_true[stream.snippets]]
        return job

    async def _run(self, job: Job) -> CompletionOutcome:
        for stream, typed in job.candidates:
            source = "stream" if stream.running else "cache"
            outcome = await self._read(job, stream, typed, source)
            if outcome is not None:
                return outcome
        stream = await self._ask(job)
        outcome = await self._read(job, stream, "", "model")
        if outcome is None:
            return CompletionOutcome(
                reason="cancelled",
                shape=stream.shape,
                result=stream.result,
                timings_ms=job.timings_ms(),
                snippets=stream.snippets,
            )
        self._pace.answered(self._clock.now() - (job.asked or job.arrived))
        job.asked = None
        return outcome

    async def _ask(self, job: Job) -> Stream:
        """Have the model asked, once the burst of keys is over."""
        delay = 0.0
        if not job.invoked and self._config.completion.delay == "adaptive":
            delay = self._pace.delay(job.gap.prefix.rpartition("\n")[2])
        if delay:
            since = time.perf_counter()
            await self._clock.sleep(delay)
            job.spend("delay", since)
        decision = self._shape(job.gap)
        logger.debug("shape=%s (%s)", decision.shape.value, decision.reason)
        since = time.perf_counter()
        snippets = self._snippets(job.gap.request, waiting=self._config.idle.enabled)
        job.spend("context", since)
        request = self._fim_request(job.gap, decision.shape, snippets, wanted=job.wanted)
        job.asked = self._clock.now()
        stream = Stream(job.gap, decision.shape, request, job.asked)
        self._warm.asked(request)
        self._generations.start(stream)
        return stream

    async def _read(self, job: Job, stream: Stream, typed: str, source: str) -> CompletionOutcome | None:
        """The answer out of a stream, when there is one; None if there is none for this request."""
        reader = Reader(stream, job.gap, typed)
        early_s = self._early_s(job, stream)
        timer = self._spawn(self._clock.sleep(early_s)) if 0 < early_s < math.inf else None
        try:
            while True:
                answer = reader.look(early=early_s <= 0 or (timer is not None and timer.done()))
                if answer is not None or reader.useless:
                    break
                since = time.perf_counter()
                await _either(stream, timer)
                job.spend("host" if source == "model" else "waited", since)
        finally:
            if timer is not None:
                timer.cancel()
        if answer is None:
            self._generations.cancel(stream)
            return None
        self._generations.used(stream)
        outcome = self._outcome(job, stream, answer, source)
        if outcome.suggestions:
            stream.shown = True
            self._continue(job.gap, stream, typed)
        # The backend may not have heard of this place, or only with an old block.
        self._propose(job.gap.request, MOVED_S)
        if answer.partial and not self._config.completion.reuse:
            self._generations.cancel(stream)
        return outcome

    def _outcome(self, job: Job, stream: Stream, answer: Answer, source: str) -> CompletionOutcome:
        cursor = job.gap.request.cursor
        outcome = CompletionOutcome(
            suggestions=tuple(Suggestion(edit.text, cursor, cursor + edit.replace_after) for edit in answer.edits),
            reason=answer.reason,
            shape=stream.shape,
            result=stream.result,
            timings_ms=job.timings_ms(),
            snippets=stream.snippets,
            source=source,
        )
        return self._filtered(job, stream, outcome)

    def _filtered(self, job: Job, stream: Stream, outcome: CompletionOutcome) -> CompletionOutcome:
        """Nothing, where the suggestion is likely to be a nuisance. What is on screen already stays there."""
        if self._filter is None or job.invoked or stream.shown or not outcome.suggestions:
            return outcome
        took_ms = 1000 * (self._clock.now() - job.arrived)
        typing = Typing(took_ms, 1000 * self._pace.pause, 1000 * self._pace.gap)
        features = ShowFeatures.of(
            job.gap.request, outcome, typing, latency_ms=took_ms, acceptance=self._acceptance.share
        )
        judgement = self._filter.judge(features)
        if judgement.show:
            return replace(outcome, judgement=judgement)
        reason = f"filtered: {judgement.reason.removeprefix('held back: ')}"
        return replace(outcome, suggestions=(), reason=reason, judgement=judgement)

    def _continue(self, gap: Gap, stream: Stream, typed: str) -> None:
        """See to it that what follows the suggestion is there when it is accepted."""
        if self._config.completion.reuse and self._config.idle.enabled:
            self._do_later(self._ask_ahead(gap, stream, typed))

    async def _ask_ahead(self, gap: Gap, stream: Stream, typed: str) -> None:
        """Ask for what comes behind a suggestion. In the middle of a line, or of half a line, nothing is asked."""
        await stream.ended()
        await self._clock.sleep(SUGGESTED_S)
        answer = None if stream.fault or stream.provisional else Reader(stream, gap, typed).look()
        if answer is None or not answer.edits:
            return
        edit = answer.edits[0]
        request = after_accept(gap, edit)
        if request is None or (stream.truncated and "\n" not in edit.text):
            return
        there = Gap.of(request)
        if self._generations.knows(there):
            return
        shape = self._shape(there).shape
        fim = self._fim_request(there, shape, stream.snippets, idle=True)
        self._generations.start(Stream(there, shape, fim, self._clock.now()))

    def _propose(self, request: CompletionRequest, seconds: float) -> None:
        if self._config.idle.enabled:
            self._warm.propose(request, seconds)

    def _request_to_warm(self, request: CompletionRequest) -> FimRequest | None:
        if self._gate.check(request):
            return None
        return self._fim_request(Gap.of(self._adapted(request)), Shape.LINE, self._snippets(request), idle=True)

    def _adapted(self, request: CompletionRequest) -> CompletionRequest:
        """With the adapters of now: they change with the settings, and with the files in the store."""
        adapters = self._adapters(request) if self._adapters is not None else ()
        return request if adapters == request.adapters else replace(request, adapters=adapters)

    def _abandon(self) -> None:
        """The editor does not want the newest request any more, perhaps because the next one is coming."""
        if self._config.completion.reuse:
            self._do_later(self._give_up())
        else:
            self._generations.release()

    async def _give_up(self) -> None:
        await self._clock.sleep(ABANDONED_S)
        self._generations.release()

    def _do_later(self, work: Coroutine[Any, Any, None] | None) -> None:
        """Do this when there is time; the next request ends it, or the next such work."""
        if self._later is not None:
            self._later.cancel()
        self._later = None if work is None else self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Looked at here in any case, or asyncio would log it, with its text, when nobody waited.
            logger.debug("%s at %s", type(error).__name__, origin(error))

    def _shape(self, gap: Gap) -> ShapeDecision:
        request, multiline = gap.request, self._config.completion.multiline
        return decide_shape(
            request.text, request.cursor, gap.language, request.trigger, multiline=multiline, path=request.path
        )

    def _snippets(self, request: CompletionRequest, *, waiting: bool = False) -> tuple[Snippet, ...]:
        if self._context is None or not self._config.context.enabled:
            return ()
        return self._context.block(request, self._config.prompt.context_tokens, waiting=waiting)

    def _still_true(self, snippets: tuple[Snippet, ...]) -> bool:
        """What was written by looking at code that is not there any more is not served again."""
        return self._context is None or not snippets or self._context.holds(snippets)

    def _fim_request(
        self, gap: Gap, shape: Shape, snippets: tuple[Snippet, ...], *, wanted: int = 1, idle: bool = False
    ) -> FimRequest:
        config, request = self._config.completion, gap.request
        automatic = request.trigger is Trigger.AUTOMATIC
        most_tokens = config.max_tokens_line if shape is Shape.LINE else config.max_tokens_block
        return FimRequest(
            document=request.uri,
            prefix=gap.prefix,
            suffix=gap.suffix,
            language=gap.language.id,
            path=request.path,
            repository=PurePath(request.root).name,
            snippets=snippets,
            max_tokens=request.max_tokens or most_tokens,
            deadline_ms=config.automatic_deadline_ms if automatic else config.invoked_deadline_ms,
            alternatives=wanted,
            idle=idle,
            patient=request.patient,
            adapters=request.adapters,
        )

    def _early_s(self, job: Job, stream: Stream) -> float:
        """Seconds until whole lines are answer enough; none if the answer is one line or was asked for by hand.

        They count from where the model was asked, or a user who goes on typing would never see anything early.
        """
        early_ms = self._config.completion.early_ms
        if job.invoked or not early_ms or not stream.running or stream.shape is Shape.LINE:
            return math.inf
        return min(job.arrived, stream.began) + early_ms / 1000 - self._clock.now()


async def _either(stream: Stream, timer: asyncio.Task[None] | None) -> None:
    """Return when the stream has changed, or the timer, if it is still running, has ended."""
    change = asyncio.ensure_future(stream.changed())
    try:
        await asyncio.wait({change} if timer is None or timer.done() else {change, timer}, return_when=FIRST_COMPLETED)
    finally:
        change.cancel()
