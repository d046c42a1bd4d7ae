"""Requests at work: who is next, who is superseded, and what the model's thread does when there is nobody.

Owns the worker from loading to closing, and the answers of all requests. Of each owner (a client of the host) the
newest request counts: an older one, waiting or running, is answered ``CANCELLED``. Requests that come while the
model loads wait for it; cancelling one never touches the loading.

While nobody waits, work is done ahead: requests that say so (``FimRequest.idle``), then whatever the worker finds to
do. All of it ends as soon as somebody asks. Knows no sockets: ``host.server`` makes jobs out of messages. Logs one line
a request, of numbers only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from coder_lsp import errors
from coder_lsp.host.job import Job, stopping_error
from coder_lsp.host.power import Power
from coder_lsp.host.protocol import StatusChange, error_of, fault_of
from coder_lsp.host.rpc import trail_of
from coder_lsp.host.schedule import FairQueue
from coder_lsp.host.thread import WorkerThread
from coder_lsp.types import AskRequest, FimRequest, FimResult, FinishReason, HostState, HostStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from coder_lsp.engine.base import CancelToken
    from coder_lsp.host.protocol import HostSettings, Worker, WorkerLoader
    from coder_lsp.types import Adapter, PromptPreview

logger = logging.getLogger(__name__)

STOP_SECONDS = 2.0
"""How long a generation gets to end when the host stops; it should take 50 ms."""
AHEAD_AFTER_S = 0.02
"""Quiet before prompts are made ready, so that what follows an answer at once can come first. Short: somebody who types
without a stop leaves 0.1 s between an answer and the next key, and a new place's full prompt is to be made even so."""
_PROGRESS_STEP = 0.01


class JobRunner:
    """Runs jobs one at a time. ``run`` loads the model and works until cancelled."""

    def __init__(self, settings: HostSettings, load: WorkerLoader, on_change: Callable[[StatusChange], None]) -> None:
        self.current = StatusChange(HostStatus(HostState.LOADING, settings.model_name, progress=0.0))
        self.requests = 0
        self.last_request = time.monotonic()
        self._settings = settings
        self._load = load
        self._on_change = on_change
        self._thread = WorkerThread()
        self._queue: FairQueue[Hashable, Job] = FairQueue()
        self._asks: FairQueue[Hashable, Job] = FairQueue()
        self._ahead: FairQueue[Hashable, Job] = FairQueue()
        self._warm: dict[Hashable, FimRequest] = {}
        self._power = Power(settings.idle)
        self._may_work_ahead = False
        """Whether the worker may have something to do: it is asked until it says no, and again after each request."""
        self._work = asyncio.Event()
        self._loaded = asyncio.Event()
        """Set once the model is loaded, or will not be."""
        self._running: Job | None = None
        self._working_ahead: CancelToken | None = None
        self._worker: Worker | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return (self._running is not None and not self._running.idle) or len(self._queue) + len(self._asks) > 0

    @property
    def stuck(self) -> bool:
        """Whether the worker's thread is inside a call that has not come back."""
        return self._thread.busy

    @property
    def told_to_end(self) -> CancelToken | None:
        """Of what the worker's thread is at although it was cancelled; each call has a token of its own."""
        token = self._running.token if self._running else self._working_ahead
        return token if token is not None and token.cancelled and self._thread.busy else None

    @property
    def engine(self) -> str:
        return self._worker.engine if self._worker else ""

    @property
    def _model(self) -> str:
        return self._worker.model if self._worker else self._settings.model_name

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        return self._worker.adapters if self._worker else ()

    def submit(self, job: Job) -> None:
        """Take a job on; its answer comes in any case, unless it is cancelled from outside.

        :raises CoderLspError: the model could not be loaded, or the host is stopping.
        """
        if self.current.fault:
            raise error_of(self.current.fault)
        if self._closed:
            raise stopping_error()
        if job.idle:
            self._submit_ahead(job)
            return
        self.requests += 1
        self.last_request = time.monotonic()
        job.answer.add_done_callback(lambda answer: self.cancel(job) if answer.cancelled() else None)
        asks = isinstance(job.request, AskRequest)
        replaced = (self._asks if asks else self._queue).put(job.owner, job)
        if replaced:
            replaced.answer_cancelled()
        running = self._running
        if running and isinstance(running.request, AskRequest) and not asks:
            # Who types wants a suggestion now; an answer can be read a second later.
            running.gives_way = True
            if running.token:
                running.token.cancel()
        elif running and (running.idle or (running.owner is job.owner and running.is_ask == asks)):
            self.cancel(running)
        self._interrupt_work()
        self._work.set()

    def warm(self, owner: Hashable, request: FimRequest) -> None:
        """A request is likely at this place; the newest such place of each owner counts."""
        if self._power.allows_work_ahead():
            self._warm[owner] = request
            self._interrupt_work()
            self._work.set()

    async def preview(self, request: FimRequest) -> PromptPreview:
        """What the model would be shown; waits for the model to be loaded and for what it is doing.

        :raises CoderLspError: the model could not be loaded, the host is stopping, or the prompt does not fit.
        """
        await self._loaded.wait()
        if self.current.fault:
            raise error_of(self.current.fault)
        if self._closed or self._worker is None:
            raise stopping_error()
        self._interrupt_work()
        return await self._thread.call(partial(self._worker.preview, request))

    def forget(self, owner: Hashable) -> None:
        """Nobody is there any more for whom to do anything ahead."""
        self._warm.pop(owner, None)

    def cancel(self, job: Job) -> None:
        """A waiting job is answered now, a running one as soon as the worker lets go of it."""
        job.gives_way = False
        if any(queue.remove(job.owner, job) for queue in (self._queue, self._asks, self._ahead)):
            job.answer_cancelled()
        elif job.token:
            job.token.cancel()

    async def run(self) -> None:
        try:
            worker = await self._thread.call(partial(self._load, self._settings, self._progress()))
        except Exception as error:  # noqa: BLE001  (whatever kept the model from loading, clients must hear of it)
            self._fail(error)
            return
        self._worker = worker
        self._loaded.set()
        self.last_request = time.monotonic()
        self._change(StatusChange(self.status(HostState.READY)))
        logger.info("model %s is ready, engine %s", worker.model, worker.engine)
        while True:
            job = self._queue.take() or self._asks.take() or self._ahead.take()
            if job is not None:
                await self._serve(worker, job)
            elif self._warm:
                _, request = self._warm.popitem()
                await self._thread.call(partial(worker.warm, request))
                self._may_work_ahead = True
            elif self._may_work_ahead and not self._closed and self._power.allows_work_ahead():
                await self._work_ahead(worker)
            else:
                await self._something_to_do()

    async def close(self, reason: str) -> None:
        """Answer everyone, end what runs, close the worker if it lets go in time."""
        self._closed = True
        self._loaded.set()
        if not self.current.fault:
            self._change(StatusChange(dataclasses.replace(self.status(HostState.STOPPED), message=reason)))
        waiting = [*self._queue.clear(), *self._asks.clear(), *self._ahead.clear()]
        for job in [*waiting, *([self._running] if self._running else [])]:
            job.settle(stopping_error())
            if job.token:
                job.token.cancel()
        self._interrupt_work()
        if self._worker:
            # In line behind the generation that was just cancelled.
            closing = asyncio.ensure_future(self._thread.call(self._worker.close))
            done, _ = await asyncio.wait([closing], timeout=STOP_SECONDS)
            if not done:
                logger.warning("the engine did not stop within %g s", STOP_SECONDS)

    def status(self, state: HostState, progress: float | None = None) -> HostStatus:
        told = self._worker.notice if self._worker and state is HostState.READY else ""
        return HostStatus(state, self._model, self.engine, progress, told)

    def _submit_ahead(self, job: Job) -> None:
        job.answer.add_done_callback(lambda answer: self.cancel(job) if answer.cancelled() else None)
        replaced: Job | None = job
        if self._power.allows_work_ahead():
            replaced = self._ahead.put(job.owner, job)
            self._interrupt_work()
            self._work.set()
        if replaced:
            replaced.answer_cancelled()

    async def _serve(self, worker: Worker, job: Job) -> None:
        self._running = job
        waited_for = not job.idle
        if waited_for:
            job.on_status(self.status(HostState.GENERATING))
        try:
            await self._generate(worker, job)
        finally:
            self._running = None
            self._may_work_ahead = True
            if waited_for:
                self.last_request = time.monotonic()
                now = self.status(HostState.READY)
                if not self._closed and now != self.current.status:
                    # Who completes, or what should be known of it, is not what it was.
                    self._change(StatusChange(now))
                if job.owner not in self._queue:
                    job.on_status(self.current.status)

    def _interrupt_work(self) -> None:
        """What comes is more urgent than a prompt in the making, which goes on later where it was."""
        if self._working_ahead:
            self._working_ahead.cancel()

    async def _work_ahead(self, worker: Worker) -> None:
        """Let the worker do what it finds to do, unless somebody comes first."""
        if await self._something_to_do(AHEAD_AFTER_S):
            return
        self._working_ahead = worker.new_cancel_token()
        try:
            self._may_work_ahead = await self._thread.call(partial(worker.work, self._working_ahead))
        except Exception as error:  # noqa: BLE001  (nobody asked for it, so nobody is told)
            logger.error("work ahead: %s\n%s", type(error).__name__, trail_of(error))  # noqa: TRY400
            self._may_work_ahead = False
        finally:
            self._working_ahead = None

    async def _something_to_do(self, seconds: float | None = None) -> bool:
        """Wait for it, so long at most; tells whether something came."""
        self._work.clear()
        # Not wait_for(): before Python 3.12 it can swallow a cancellation that comes together with the event.
        timer = asyncio.get_running_loop().call_later(seconds, self._work.set) if seconds is not None else None
        await self._work.wait()
        if timer:
            timer.cancel()
        return len(self._queue) + len(self._asks) + len(self._ahead) + len(self._warm) > 0

    async def _generate(self, worker: Worker, job: Job) -> None:
        queued_ms = (time.perf_counter() - job.arrived) * 1000
        sink = job.sink(asyncio.get_running_loop()) if job.on_text or job.is_ask else None
        try:
            job.token = worker.new_cancel_token()
            if isinstance(job.request, AskRequest):
                result = await self._thread.call(partial(worker.ask, job.request, sink, job.token))
            else:
                result = await self._thread.call(partial(worker.complete, job.request, sink, job.token))
        except errors.CoderLspError as error:
            logger.warning("request %s: %s: %s", job.label, type(error).__name__, error.message)
            job.settle(error)
        except Exception as error:  # noqa: BLE001  (a defect costs one suggestion, not the host)
            # Without the exception's own words, which may quote the request.
            logger.error("request %s: %s\n%s", job.label, type(error).__name__, trail_of(error))  # noqa: TRY400
            hint = "see the log of the host: coder-lsp doctor names it"
            job.settle(errors.EngineError(f"the engine failed ({type(error).__name__})", hint=hint))
        else:
            total_ms = (time.perf_counter() - job.arrived) * 1000
            timings = {**result.timings_ms, "queue": round(queued_ms, 3), "total": round(total_ms, 3)}
            result = dataclasses.replace(result, timings_ms=timings)
            job.log(result)
            if self._goes_on_later(job, result):
                return
            if job.before:
                result = dataclasses.replace(result, text=job.before + result.text, logprobs=())
            job.settle(result)

    def _goes_on_later(self, job: Job, result: FimResult) -> bool:
        """Whether an answer was broken off for a completion; then it waits for its next turn."""
        if not (job.gives_way and result.finish_reason is FinishReason.CANCELLED) or self._closed or job.answer.done():
            return False
        assert isinstance(job.request, AskRequest)
        job.gives_way = False
        job.before += job.said
        left = max(1, job.request.max_tokens - result.tokens.generated)
        job.request = dataclasses.replace(job.request, begun=job.request.begun + job.said, max_tokens=left)
        job.said = ""
        if job.owner in self._asks:
            # The same client has asked something else meanwhile.
            job.answer_cancelled()
        else:
            self._asks.put(job.owner, job)
        return True

    def _progress(self) -> Callable[[float], None]:
        """For the worker's thread; passes on what a person could see."""
        loop = asyncio.get_running_loop()
        told = 0.0

        def tell(fraction: float) -> None:
            if self.current.status.state is HostState.LOADING:
                self._change(StatusChange(self.status(HostState.LOADING, progress=fraction)))

        def report(fraction: float) -> None:
            nonlocal told
            if fraction - told >= _PROGRESS_STEP:
                told = min(fraction, 1.0)
                loop.call_soon_threadsafe(tell, told)

        return report

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, errors.CoderLspError):
            logger.error("loading failed", exc_info=error)
            error = errors.EngineError(f"loading the model failed: {error}", hint="run: coder-lsp doctor")
        logger.error("model %s: %s", self._settings.model_name, error)
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        status = dataclasses.replace(self.status(HostState.ERROR), message=message)
        self._change(StatusChange(status, fault_of(error)))
        self._loaded.set()
        for job in [*self._queue.clear(), *self._asks.clear()]:
            job.settle(error)

    def _change(self, change: StatusChange) -> None:
        self.current = change
        self._on_change(change)
