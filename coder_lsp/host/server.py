"""The model host: listens, lets in who may come, passes requests on, and ends when nobody needs it.

The socket listens before the model loads, so that a front connects at once and shows the progress. ``host.jobs`` does
the work on its thread; the event loop here is never blocked by it. The process, its log and the lock of its address
belong to ``cli.host``; nothing here writes text of a request anywhere but back to who asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp import __version__
from coder_lsp.errors import HostUnavailable
from coder_lsp.host import protocol
from coder_lsp.host.job import Job
from coder_lsp.host.jobs import JobRunner
from coder_lsp.host.overdue import until_overdue
from coder_lsp.host.protocol import (
    Ask,
    Complete,
    Delta,
    Hello,
    HostInfo,
    Preview,
    StatusChange,
    Warm,
    Welcome,
    from_json,
)
from coder_lsp.host.rpc import MAX_GREETING_BYTES, Peer, trail_of
from coder_lsp.host.transport import DEFAULT_TRANSPORT, Listener, listen
from coder_lsp.types import HostState, HostStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coder_lsp.host.protocol import HostSettings, WorkerLoader
    from coder_lsp.types import FimRequest, FimResult, PromptPreview

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
GREETING_SECONDS = 10.0
"""A connection that has not said hello by then is closed."""
FIRST_CLIENT_SECONDS = 30.0
"""A host nobody has connected to yet is no orphan before this."""
MEND_SECONDS = 3.0
"""Between two looks whether clients still find this host: three calls of the system."""
FAILED_SECONDS = 3.0
"""A host that could not load its model stays this long, to say so to those who connect."""


class HostServer:
    """One host. ``run`` is its whole life."""

    def __init__(
        self, settings: HostSettings, key: str, load: WorkerLoader, *, transport: str = DEFAULT_TRANSPORT
    ) -> None:
        self._settings = settings
        self._key = key
        self._transport = transport
        self._jobs = JobRunner(settings, load, self._announce)
        self._connections = 0
        self._clients: list[_Connection] = []
        self._numbers = itertools.count(1)
        self._began = time.monotonic()
        self._last_client = self._began + max(0.0, FIRST_CLIENT_SECONDS - settings.orphan_seconds)
        self._token_fits: Callable[[str], bool] = lambda _: False
        self._stopping = asyncio.Event()
        self._stop_reason = ""
        self._look = asyncio.Event()
        """Something changed that may bring the end nearer."""

    async def run(self, listening: Callable[[], None]) -> int:
        """Serve until idle, orphaned, told to stop or failed; ``listening`` is called once clients can connect.

        For the holder of the lock of this address. Leaves neither socket nor record behind. Returns the exit status.
        """
        asyncio.get_running_loop().set_exception_handler(self._on_defect)
        listener = await listen(self._key, self._settings.model_name, self._serve, self._transport)
        self._token_fits = listener.token_fits
        with _stop_signals(self.stop):
            logger.info("host %s listens (%s), model %s", self._key, self._transport, self._settings.model_name)
            listening()
            tasks = [
                asyncio.create_task(self._jobs.run()),
                asyncio.create_task(self._watch()),
                asyncio.create_task(_stay_findable(listener)),
                asyncio.create_task(self._end_if_overdue()),
            ]
            for task in tasks:
                task.add_done_callback(self._stop_if_broken)
            try:
                await self._stopping.wait()
            finally:
                # While the lock is held: the next host of this address makes anew what goes here.
                listener.close()
                await self._jobs.close(self._stop_reason)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(*(client.peer.close() for client in self._clients))
        logger.info("host %s ends: %s", self._key, self._stop_reason)
        return 1 if self._jobs.current.fault else 0

    def stop(self, reason: str) -> None:
        """End soon; the first reason counts."""
        if not self._stopping.is_set():
            self._stop_reason = reason
            self._stopping.set()

    @property
    def stuck(self) -> bool:
        """Whether the engine has not come back from a call; the process must then end without waiting for it."""
        return self._jobs.stuck

    # What connections ask for.

    def join(self, client: _Connection, greeting: Hello) -> Welcome:
        """Let a client in, or say why not.

        :raises HostUnavailable: the wrong token or another protocol.
        """
        if not self._token_fits(greeting.token):
            logger.warning("connection refused: wrong token")
            raise HostUnavailable("the host refused the connection: wrong token", hint="restart the editor")
        if greeting.protocol != protocol.PROTOCOL_VERSION:
            logger.warning("connection refused: protocol %d", greeting.protocol)
            older = greeting.protocol < protocol.PROTOCOL_VERSION
            raise HostUnavailable(
                f"the host speaks protocol {protocol.PROTOCOL_VERSION} (coder-lsp {__version__}),"
                f" the editor's side {greeting.protocol} (coder-lsp {greeting.version})",
                hint="restart the editor" if older else "stop the old host: coder-lsp host --stop",
            )
        self._clients.append(client)
        logger.info("client %d connected (%s), %d now", client.number, greeting.client, len(self._clients))
        return Welcome(os.getpid(), protocol.PROTOCOL_VERSION, __version__, self._jobs.current)

    def leave(self, client: _Connection) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._jobs.forget(client)
            self._last_client = time.monotonic()
            self._look.set()
            logger.info("client %d left, %d remain", client.number, len(self._clients))

    def submit(self, job: Job) -> None:
        self._jobs.submit(job)

    def cancel(self, job: Job) -> None:
        self._jobs.cancel(job)

    def warm(self, client: _Connection, request: FimRequest) -> None:
        self._jobs.warm(client, request)

    async def preview(self, request: FimRequest) -> PromptPreview:
        return await self._jobs.preview(request)

    def info(self) -> HostInfo:
        import psutil

        state = HostState.GENERATING if self._jobs.busy else self._jobs.current.status.state
        return HostInfo(
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._began, 3),
            rss_bytes=psutil.Process().memory_info().rss,
            clients=len(self._clients),
            requests=self._jobs.requests,
            state=state.value,
            model=self._settings.model_name,
            engine=self._jobs.engine,
            model_path=self._settings.model_path,
            protocol=protocol.PROTOCOL_VERSION,
            version=__version__,
            adapters=self._jobs.adapters,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            logger.warning("connection refused: there are %d already", self._connections)
            writer.close()
            return
        self._connections += 1
        connection = _Connection(self, next(self._numbers), reader, writer)
        try:
            await connection.run()
        finally:
            self._connections -= 1

    def _announce(self, change: StatusChange) -> None:
        for client in self._clients:
            client.peer.notify(protocol.STATUS, change)
        self._look.set()
        if change.fault:
            asyncio.get_running_loop().call_later(FAILED_SECONDS, self.stop, "the model could not be loaded")

    def _stop_if_broken(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error:
            self._on_defect(task.get_loop(), {"exception": error})
            self.stop("a defect, see above")

    def _on_defect(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # What asyncio would log itself, but without the arguments of callbacks, which may be text.
        error = context.get("exception")
        kind, trail = (type(error).__name__, trail_of(error)) if error else ("no exception", "")
        logger.error("a defect in the host: %s\n%s", kind, trail)
        if isinstance(error, MemoryError):
            # Whoever is connected may be deaf now; a new process has what this one cannot get.
            self.stop("out of memory")

    async def _end_if_overdue(self) -> None:
        await until_overdue(lambda: self._jobs.told_to_end)
        logger.error("the engine was told to end and does not come back")
        self.stop("the engine hangs")

    async def _watch(self) -> None:
        """Stop when there is nothing to do any more."""
        while True:
            now = time.monotonic()
            ends: list[tuple[float, str]] = []
            if not self._clients:
                patience = self._settings.orphan_seconds
                ends.append((self._last_client + patience - now, f"no clients for {patience:g} s"))
            idle = self._settings.idle_seconds
            if idle > 0 and self._jobs.current.status.state is HostState.READY:
                since = now if self._jobs.busy else self._jobs.last_request
                ends.append((since + idle - now, f"no requests for {idle:g} s"))
            left, reason = min(ends, default=(None, ""))
            if left is not None and left <= 0:
                self.stop(reason)
                return
            self._look.clear()
            # Not wait_for(): before Python 3.12 it can swallow a cancellation that comes together with the event.
            timer = asyncio.get_running_loop().call_later(left, self._look.set) if left is not None else None
            await self._look.wait()
            if timer:
                timer.cancel()


async def _stay_findable(listener: Listener) -> None:
    while True:
        await asyncio.sleep(MEND_SECONDS)
        try:
            missing = await listener.mend()
        except (OSError, HostUnavailable) as error:
            logger.warning("clients cannot find this host any more: %s", type(error).__name__)
        else:
            if missing:
                logger.warning("put back what was removed: %s", missing)


@dataclass(eq=False)
class _Connection:
    """One connection: a stranger until it said hello, then a client who may ask, and speak of its own requests."""

    server: HostServer
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    jobs: dict[str | int, Job] = field(default_factory=dict)
    welcome: bool = False

    def __post_init__(self) -> None:
        self.peer = Peer(
            self.reader,
            self.writer,
            {
                protocol.HELLO: self._hello,
                protocol.COMPLETE: self._complete,
                protocol.ASK: self._ask,
                protocol.PREVIEW: self._preview,
                protocol.INFO: self._info,
                protocol.SHUTDOWN: self._shutdown,
            },
            {protocol.CANCEL: self._cancel, protocol.ENOUGH: self._enough, protocol.WARM: self._warm},
            max_message_bytes=MAX_GREETING_BYTES,
        )

    async def run(self) -> None:
        """Serve until the other end leaves; what it still waited for is cancelled by its going."""
        deadline = asyncio.get_running_loop().call_later(GREETING_SECONDS, self._drop_stranger)
        try:
            await self.peer.run()
        finally:
            deadline.cancel()
            self.server.leave(self)

    def _hello(self, _: str | int, params: Any) -> Welcome:
        # A stranger who is refused, or greets wrongly, is sent away once the answer is written.
        self._drop_soon()
        greeting = from_json(Hello, params)
        if self.welcome:
            raise HostUnavailable("host/hello comes once")
        answer = self.server.join(self, greeting)
        self.welcome = True
        self.peer.accept()
        return answer

    def _complete(self, message_id: str | int, params: Any) -> asyncio.Future[FimResult]:
        self._require_welcome()
        return self._submit(message_id, from_json(Complete, params))

    def _ask(self, message_id: str | int, params: Any) -> asyncio.Future[FimResult]:
        self._require_welcome()
        return self._submit(message_id, from_json(Ask, params))

    def _submit(self, message_id: str | int, asked: Complete | Ask) -> asyncio.Future[FimResult]:
        def on_text(delta: str) -> None:
            self.peer.notify(protocol.DELTA, Delta(message_id, delta))

        def on_status(status: HostStatus) -> None:
            self.peer.notify(protocol.STATUS, StatusChange(status))

        answer: asyncio.Future[FimResult] = asyncio.get_running_loop().create_future()
        label = f"{self.number}/{message_id}"
        job = Job(self, label, asked.request, answer, on_text if asked.stream else None, on_status)
        self.server.submit(job)
        self.jobs[message_id] = job
        answer.add_done_callback(lambda _: self.jobs.pop(message_id, None))
        return answer

    def _preview(self, _: str | int, params: Any) -> asyncio.Future[PromptPreview]:
        self._require_welcome()
        return asyncio.ensure_future(self.server.preview(from_json(Preview, params).request))

    def _info(self, _: str | int, __: Any) -> HostInfo:
        self._require_welcome()
        return self.server.info()

    def _shutdown(self, _: str | int, __: Any) -> None:
        self._require_welcome()
        asyncio.get_running_loop().call_soon(self.server.stop, "asked to by a client")

    def _cancel(self, params: Any) -> None:
        job = self._job(params)
        if job:
            self.server.cancel(job)

    def _enough(self, params: Any) -> None:
        job = self._job(params)
        if job:
            job.enough = True

    def _warm(self, params: Any) -> None:
        self._require_welcome()
        self.server.warm(self, from_json(Warm, params).request)

    def _job(self, params: Any) -> Job | None:
        """The request a notification is about; None if it has been answered meanwhile."""
        self._require_welcome()
        message_id = params.get("id") if isinstance(params, dict) else None
        if not isinstance(message_id, str | int):
            raise protocol.MalformedMessage("id: expected a string or a number")
        return self.jobs.get(message_id)

    def _require_welcome(self) -> None:
        if not self.welcome:
            self._drop_soon()
            raise HostUnavailable("the first message must be host/hello")

    def _drop_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._drop_stranger)

    def _drop_stranger(self) -> None:
        if not self.welcome:
            self.writer.close()


@contextlib.contextmanager
def _stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end the host cleanly, where event loops know signals (not on Windows)."""
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    with contextlib.suppress(NotImplementedError, RuntimeError):
        for number in numbers:
            loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)
