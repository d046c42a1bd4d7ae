"""A server completes, and the model on this machine stands in for it: at once where the server is known to be away, and
side by side with it where it takes too long. Whoever has the first text answers; nobody's text is shown twice.

A request is asked of the server on a thread of its own. If no text came after ``patience_ms``, the local model begins
as well, and from the first piece of either on only that one is read and the other is cancelled. A server that breaks
off in the middle of a suggestion has the local model go on behind what was shown already. One that is away is connected
to again between requests, from the beginning, since what comes back may be another. Keeps ``host.protocol.Worker``;
both halves are ordinary workers, each with its own prompts.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coder_lsp.engine.turns import EventCancel
from coder_lsp.errors import CoderLspError, RemoteError, RemoteResting, RemoteUnreachable
from coder_lsp.host.race import Asked, Race
from coder_lsp.types import FimResult, FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coder_lsp.engine.base import CancelToken
    from coder_lsp.host.protocol import Worker
    from coder_lsp.types import Adapter, AskRequest, FimRequest, PromptPreview, TextSink

logger = logging.getLogger(__name__)

_FIRST_REST_S, _LONGEST_REST_S = 2.0, 60.0
"""Between two attempts to connect to a server that is not there, or of no use."""
_SLOW = 3
"""So often running without a first text in time, a server is taken for one that is away: each wait costs the user."""


class FallbackWorker:
    """``connect`` makes the server's worker, ``load_local`` the other one; either may fail with a
    :class:`CoderLspError`, but not both. ``load_local`` None: there is no model here to stand in.
    """

    def __init__(
        self,
        connect: Callable[[], Worker],
        load_local: Callable[[], Worker] | None,
        *,
        patience_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects, and loads the local model beside that; waits for it only where the server is not there.

        :raises CoderLspError: neither can be had.
        """
        self._connect = connect
        self._patience_s = patience_ms / 1000
        self._clock = clock
        self._remote: Worker | None = None
        self._gone: Worker | None = None
        """The server's worker before it was away; closed, but it still knows what it was."""
        self._local: Worker | None = None
        self._local_fault: CoderLspError | None = None
        self._remote_fault: CoderLspError | None = None
        self._next_try = 0.0
        self._rest = _FIRST_REST_S
        self._slow = 0
        self._thread = _Thread()
        self._local_ready = threading.Event()
        self._answered: Worker | None = None
        self._closed = False
        if load_local is None:
            self._local_ready.set()
        else:
            threading.Thread(target=self._load_local, args=(load_local,), name="local model", daemon=True).start()
        self._try_to_connect()
        if self._remote is None:
            self._local_ready.wait()
            if self._local is None:
                self._thread.end()
                assert self._remote_fault is not None
                raise self._remote_fault

    @property
    def model(self) -> str:
        return self._present.model

    @property
    def engine(self) -> str:
        return self._present.engine

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        return self._present.adapters

    @property
    def notice(self) -> str:
        """What the user should know: that the server is away, and who completes instead."""
        if self._remote_fault is None:
            return self._remote.notice if self._remote is not None else ""
        instead = f"completing with {self._local.model} on this machine" if self._local else "nobody completes"
        return f"{self._remote_fault.message}; {instead}"

    def new_cancel_token(self) -> CancelToken:
        return EventCancel()

    def warm(self, request: FimRequest) -> None:
        if (local := self._standing_in) is not None:
            local.warm(request)

    def work(self, cancel: CancelToken) -> bool:
        """Only while the local model stands in: a server's time is others' time, and a laptop's battery is short."""
        local = self._standing_in
        if local is None:
            return False
        token = local.new_cancel_token()
        with _passing_on(cancel, token):
            return local.work(token)

    def preview(self, request: FimRequest) -> PromptPreview:
        return self._present.preview(request)

    def complete(self, request: FimRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """See the module.

        :raises CoderLspError: both failed; the server's own error if there is no local model.
        """
        return self._do(_completing(request), on_text, cancel, self._patience_s)

    def ask(self, request: AskRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """The same without a race: an answer is long, and nobody waits for its first word at every key.

        :raises CoderLspError: as :meth:`complete`.
        """
        return self._do(_asking(request), on_text, cancel, None)

    def close(self) -> None:
        self._closed = True
        self._thread.end()
        for worker in (self._remote, self._local):
            if worker is not None:
                worker.close()

    def _do(self, work: _Work, on_text: TextSink | None, cancel: CancelToken, patience_s: float | None) -> FimResult:
        remote = self._remote_if_due()
        if remote is None:
            return self._stand_in(work, on_text, cancel)
        race = Race(on_text)
        asked = Asked(remote, work.ask, race.sink("remote"))
        with _passing_on(cancel, asked.token):
            self._thread.do(asked.run)
            asked.on_end(race.wake)
            race.wait(patience_s if self._local is not None else None)
            waits = not asked.done.is_set() and race.winner != "remote"
            if waits and self._local is not None and not cancel.cancelled:
                result = self._race(work, race, asked, cancel)
                if result is not None:
                    return result
            asked.done.wait()
        return self._settled(asked, race, work, on_text, cancel)

    @property
    def _present(self) -> Worker:
        """Who answered last, or would answer."""
        found = self._answered or self._remote or self._local or self._gone
        assert found is not None
        return found

    @property
    def _standing_in(self) -> Worker | None:
        return self._local if self._remote is None or self._remote_fault is not None else None

    def _remote_if_due(self) -> Worker | None:
        """The server's worker; where there is none yet, it is tried for while this request goes to the local one."""
        if self._remote is None and self._clock() >= self._next_try:
            self._next_try = self._clock() + self._rest
            self._rest = min(self._rest * 2, _LONGEST_REST_S)
            self._thread.do(self._try_to_connect)
        return self._remote

    def _try_to_connect(self) -> None:
        try:
            remote = self._connect()
        except CoderLspError as error:
            logger.warning("no server: %s", error.message)
            self._remote_fault = error
            self._next_try = self._clock() + self._rest
            return
        if self._closed:
            remote.close()
            return
        self._remote, self._remote_fault, self._slow = remote, None, 0

    def _let_go(self, remote: Worker) -> None:
        """Of a server that is away: it is connected to anew after a rest, behind some request that does not wait."""
        self._next_try = self._clock() + self._rest
        self._rest = min(self._rest * 2, _LONGEST_REST_S)
        self._remote, self._gone = None, remote
        if self._answered is remote:
            self._answered = None
        self._thread.do(remote.close)

    def _load_local(self, load: Callable[[], Worker]) -> None:
        try:
            local = load()
        except CoderLspError as error:
            logger.info("no local model stands in: %s", error.message)
            self._local_fault = error
        except Exception:
            logger.exception("the local model could not be loaded")
        else:
            if self._closed:
                local.close()
            else:
                self._local = local
        finally:
            self._local_ready.set()

    def _race(self, work: _Work, race: Race, asked: Asked, cancel: CancelToken) -> FimResult | None:
        """Let the local model begin beside the server; its answer if it was first, None if the server was."""
        local = self._local
        assert local is not None
        token = local.new_cancel_token()
        race.on_win["remote"] = token.cancel
        race.on_win["local"] = asked.token.cancel
        if race.winner == "remote":
            token.cancel()  # while we came here
        asked.on_end(lambda: token.cancel() if asked.result is not None and race.end("remote") else None)
        with _passing_on(cancel, token):
            try:
                result = work.ask(local, race.sink("local"), token)
            except CoderLspError as error:
                # The server may still make it.
                logger.warning("the local model failed: %s: %s", type(error).__name__, error.message)
                return None
        if race.winner == "remote":
            return None
        self._outrun(asked)
        if cancel.cancelled:
            return None
        if not race.end("local"):
            return None
        logger.info("the server took longer than %.0f ms; answered here", self._patience_s * 1000)
        asked.token.cancel()
        self._answered = local
        return result

    def _outrun(self, asked: Asked) -> None:
        """The local model was first, or neither was before it was called off."""
        self._slow += 1
        if isinstance(asked.error, RemoteError):
            self._remote_fault = asked.error
        elif self._slow >= _SLOW:
            what = f"{asked.worker.model} did not begin within {self._patience_s * 1000:.0f} ms, {_SLOW} times running"
            self._remote_fault = RemoteUnreachable(what)
            self._let_go(asked.worker)

    def _settled(
        self, asked: Asked, race: Race, work: _Work, on_text: TextSink | None, cancel: CancelToken
    ) -> FimResult:
        """What the server's end means."""
        if asked.result is not None:
            if race.said or asked.result.finish_reason is not FinishReason.CANCELLED:
                self._answered, self._remote_fault = asked.worker, None
                self._slow, self._rest = 0, _FIRST_REST_S
            return asked.result
        error = asked.error
        assert error is not None
        if not isinstance(error, CoderLspError):
            raise error
        if isinstance(error, RemoteResting):
            self._let_go(asked.worker)
        if isinstance(error, RemoteError) and not (isinstance(error, RemoteResting) and self._remote_fault):
            self._remote_fault = error
        logger.warning("the server failed: %s: %s", type(error).__name__, error.message)
        said = race.said
        if cancel.cancelled or (self._local_ready.is_set() and self._local is None and not said):
            raise error
        if not said:
            return self._stand_in(work, on_text, cancel, because=error)
        return self._go_on(work, said, on_text, cancel, error)

    def _stand_in(
        self, work: _Work, on_text: TextSink | None, cancel: CancelToken, because: CoderLspError | None = None
    ) -> FimResult:
        """The local model's answer.

        :raises CoderLspError: there is none, and why there is no server; or it failed as well.
        """
        self._local_ready.wait()
        local = self._local
        if local is None:
            raise because or self._remote_fault or self._local_fault or RemoteError("nobody can complete")
        token = local.new_cancel_token()
        with _passing_on(cancel, token):
            result = work.ask(local, on_text, token)
        self._answered = local
        return result

    def _go_on(
        self, work: _Work, said: str, on_text: TextSink | None, cancel: CancelToken, error: CoderLspError
    ) -> FimResult:
        """The rest of a suggestion that the server began: written here, behind what was shown."""
        cut = FimResult(said, FinishReason.DEADLINE, model=self._present.model, engine=self._present.engine)
        if self._local is None:
            return cut
        logger.info("the server broke off; the rest is written here")
        try:
            result = self._stand_in(work.behind(said), on_text, cancel, because=error)
        except CoderLspError:
            return cut
        return replace(result, text=said + result.text, logprobs=(), alternatives=())


@dataclass(frozen=True)
class _Work:
    """What a worker is to do, and what is left of it behind text that was delivered."""

    ask: Callable[[Worker, TextSink | None, CancelToken], FimResult]
    behind: Callable[[str], _Work]


def _completing(request: FimRequest) -> _Work:
    return _Work(
        lambda worker, sink, token: worker.complete(request, sink, token),
        lambda said: _completing(replace(request, prefix=request.prefix + said, alternatives=1)),
    )


def _asking(request: AskRequest) -> _Work:
    return _Work(
        lambda worker, sink, token: worker.ask(request, sink, token),
        lambda said: _asking(replace(request, begun=request.begun + said)),
    )


class _Thread:
    """Does one thing after the other; a daemon, so that a call that hangs keeps no process alive."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="remote model", daemon=True).start()

    def do(self, work: Callable[[], object]) -> None:
        self._queue.put(work)

    def end(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:  # noqa: PERF203  (one defect must not end the thread)
                logger.exception("a defect at the server's side")


@contextlib.contextmanager
def _passing_on(cancel: CancelToken, token: CancelToken) -> Iterator[None]:
    """Within it ``token`` is cancelled when ``cancel`` is."""
    assert isinstance(cancel, EventCancel)
    with cancel.calling(token.cancel):
        yield
