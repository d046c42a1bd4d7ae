"""The front's hold on its model host: finds the running one or starts it, and brings it back when it dies.

A crash of the host costs at most one suggestion. A request that was under way is tried once more on the next host
unless text of it was already delivered; then it fails with :class:`HostCrashed`. After each crash the wait doubles
(0.25 s up to 30 s), and five within two minutes end the attempts until :meth:`HostSupervisor.restart`. A host that
ended on purpose (idle, told to stop) is started again by the next request only. Everything a user should know comes as
:class:`HostStatus`; requests get errors. ``host.client`` speaks to the host, ``host.launch`` starts processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError, HostCrashed, HostError, HostUnavailable
from coder_lsp.host.address import address_key, kill, log_path, read_endpoint
from coder_lsp.host.client import HELLO_SECONDS, HostClient, HostHangs
from coder_lsp.host.launch import BUSY, LISTENING, HostLauncher, HostProcess, describe_exit
from coder_lsp.host.protocol import error_of, to_json
from coder_lsp.types import HostState, HostStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coder_lsp.host.address import Endpoint
    from coder_lsp.host.protocol import HostSettings, StatusChange
    from coder_lsp.types import AskRequest, FimRequest, FimResult, PromptPreview, TextSink

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
"""Until a started host listens. It takes half a second; a machine that is just booting may be far slower."""
BUSY_LOOK_SECONDS = 1.0
"""How long to look for a host that somebody else starts or ends before trying again to start one."""
SHUTDOWN_SECONDS = 5.0
FAULT_SECONDS = 30.0
"""After a host could not load its model, or hangs: how long requests are answered with just that."""


@dataclass
class CrashHistory:
    """When the host crashed lately, and what follows from it. Times are of one monotonic clock, in seconds."""

    first_wait: float = 0.25
    longest_wait: float = 30.0
    limit: int = 5
    window: float = 120.0
    _times: deque[float] = field(default_factory=deque)

    def add(self, now: float) -> None:
        self._times.append(now)
        while now - self._times[0] > self.window:
            self._times.popleft()

    def clear(self) -> None:
        self._times.clear()

    def start_at(self) -> float:
        """When the next start is due: 0.25, 0.5, 1, 2 s after the last crash; infinity when there were too many.

        Crashes older than ``window`` when the last one came do not count.
        """
        if not self._times:
            return -math.inf
        if len(self._times) >= self.limit:
            return math.inf
        return self._times[-1] + min(self.longest_wait, self.first_wait * 2.0 ** (len(self._times) - 1))


class HostSupervisor:
    """A :class:`~coder_lsp.types.FimBackend` over the shared host of these settings.

    ``on_status`` is called on the event loop with every change of :attr:`status`. ``clock`` and ``sleep`` measure the
    waits between starts.
    """

    def __init__(
        self,
        settings: HostSettings,
        on_status: Callable[[HostStatus], None] = lambda _: None,
        *,
        launcher: HostLauncher | None = None,
        name: str = "",
        hello_seconds: float = HELLO_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._on_status = on_status
        self._launcher = launcher or HostLauncher()
        self._name = name or f"process {os.getpid()}"
        self._hello_seconds = hello_seconds
        self._clock = clock
        self._sleep = sleep
        self._crashes = CrashHistory()
        self._status = HostStatus(HostState.STOPPED, settings.model_name)
        self._client: HostClient | None = None
        self._process: HostProcess | None = None
        self._connecting: asyncio.Task[HostClient] | None = None
        self._autopsy: asyncio.Task[None] | None = None
        self._fault: CoderLspError | None = None
        self._fault_until = -math.inf
        self._ended_on_purpose = False
        self._stopped = False
        self._to_warm: FimRequest | None = None

    @property
    def status(self) -> HostStatus:
        return self._status

    async def start(self) -> None:
        """Connect, starting the host if there is none. Returns when connected; a failure is in :attr:`status`."""
        self._stopped = False
        if self._fault_until == math.inf:
            # Given up on; whoever asks for it by hand has read so.
            self._crashes.clear()
            self._fault, self._fault_until = None, -math.inf
        with contextlib.suppress(CoderLspError):
            await self._connected()

    async def stop(self) -> None:
        """Leave the host, which other windows may use; it ends by itself when it has no clients."""
        self._stopped = True
        if self._autopsy:
            self._autopsy.cancel()
        await self._leave()
        self._report(HostStatus(HostState.STOPPED, self._settings.model_name))

    async def restart(self) -> None:
        """End the host, for all its clients, by force if it hangs, and start it anew. Forgets crashes and faults."""
        self._crashes.clear()
        self._fault = None
        await self._end_connecting()
        endpoint = await asyncio.to_thread(self._find)
        try:
            client, self._client = self._client or await self._reach(endpoint), None
            if client:
                await asyncio.wait_for(client.shutdown(), SHUTDOWN_SECONDS)
        except (HostError, asyncio.TimeoutError) as error:
            logger.warning("the host does not end when asked: %s", error)
            if endpoint:
                await asyncio.to_thread(kill, endpoint)
        # What the host said while it ended is no fault of the next one.
        self._fault = None
        await self.start()

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        """Complete on the host, which is started if need be. Cancelling the awaiting task cancels the generation.

        :raises HostUnavailable: no host can be started or reached.
        :raises HostCrashed: it crashed, and again or after text was delivered.
        :raises CoderLspError: the host's own: the model is damaged, the context too small …
        """
        return await self._served(lambda client, sink: client.complete(request, sink), on_text)

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        """Have the model follow an instruction; otherwise as :meth:`complete`."""
        return await self._served(lambda client, sink: client.ask(request, sink), on_text)

    async def _served(
        self, ask: Callable[[HostClient, TextSink | None], Awaitable[FimResult]], on_text: TextSink | None
    ) -> FimResult:
        delivered = False

        def deliver(delta: str) -> bool:
            nonlocal delivered
            delivered = True
            return on_text(delta) if on_text else True

        client = await self._connected()
        try:
            return await ask(client, deliver if on_text else None)
        except (HostCrashed, HostUnavailable) as error:
            if delivered or self._stopped:
                raise
            logger.info("a request is tried again: %s", error.message)
            await self._see_off(client)
        return await ask(await self._connected(), on_text)

    async def warm(self, request: FimRequest) -> None:
        """Have the prompt of a place made ready; while there is no connection to a host, the newest place is kept."""
        if self._client and not self._client.closed:
            self._client.warm(request)
        elif not self._stopped:
            self._to_warm = request

    async def preview(self, request: FimRequest) -> PromptPreview:
        """What the model would be shown for a request; a host is started if need be.

        :raises CoderLspError: as :meth:`complete`.
        """
        return await (await self._connected()).preview(request)

    async def info(self) -> dict[str, Any]:
        """Facts about the host, as :class:`~coder_lsp.host.protocol.HostInfo`; only state and model without one."""
        if self._client and not self._client.closed:
            facts = to_json(await self._client.info())
            assert isinstance(facts, dict)
            return facts
        return {"state": self._status.state.value, "model": self._settings.model_name}

    # ── getting a connection ──

    async def _connected(self) -> HostClient:
        while True:
            if self._client and not self._client.closed:
                return self._client
            if self._stopped:
                raise HostUnavailable("the connection to the model host was closed")
            if self._fault and self._clock() < self._fault_until:
                raise type(self._fault)(self._fault.message, hint=self._fault.hint)
            connecting = self._connect_soon()
            # Unlike awaiting the task: this raises CancelledError only if it is this one who is cancelled.
            await asyncio.wait([connecting])
            if not connecting.cancelled():
                return connecting.result()

    def _connect_soon(self) -> asyncio.Task[HostClient]:
        """One attempt for all who wait; it goes on when they stop waiting."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._establish())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._connecting

    async def _establish(self) -> HostClient:
        while True:
            wait = self._crashes.start_at() - self._clock()
            if wait > 0:
                await self._sleep(wait)
            self._fault = None
            self._ended_on_purpose = False
            try:
                self._client = await self._reach_or_start()
            except HostCrashed as error:
                self._crashed(error)
                if self._fault:
                    raise self._fault from error
            except CoderLspError as error:
                self._fail(error)
                raise
            except OSError as error:
                fault = HostUnavailable(f"the model host cannot be reached: {error}", hint=_hint())
                self._fail(fault)
                raise fault from error
            else:
                if self._to_warm:
                    self._client.warm(self._to_warm)
                    self._to_warm = None
                return self._client

    async def _reach_or_start(self) -> HostClient:
        client = await self._reach(await asyncio.to_thread(self._find))
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while client is None:
            self._report(HostStatus(HostState.STARTING, self._settings.model_name))
            client = await self._start(deadline)
            if client is None and asyncio.get_running_loop().time() > deadline:
                raise HostUnavailable(
                    "another process holds the lock of the model host but does not listen",
                    hint="end it: coder-lsp host --stop",
                )
        return client

    async def _start(self, deadline: float) -> HostClient | None:
        """Start a host and connect; None if another front or host was first and is not there (yet, or any more)."""
        process = self._launcher.launch(self._settings)
        left = deadline - asyncio.get_running_loop().time()
        try:
            line = await asyncio.wait_for(asyncio.shield(process.ready), left)
        except asyncio.TimeoutError:
            process.kill()
            raise HostUnavailable(f"the model host did not start within {START_SECONDS:g} s", hint=_hint()) from None
        word, _, key = line.partition(" ")
        # Its own idea of the address: the model file may have changed since ours, or this package under our feet.
        if word == LISTENING:
            self._process = process
            client = await self._reach(await asyncio.to_thread(read_endpoint, key))
            if client is None:
                raise HostCrashed("the model host ended right after its start", hint=_hint())
            return client
        if word == BUSY:
            return await self._look(BUSY_LOOK_SECONDS, key)
        status = await process.ended
        cause = process.last_words or describe_exit(status)
        raise HostUnavailable(f"the model host did not start: {cause}", hint=_hint())

    async def _look(self, seconds: float, key: str) -> HostClient | None:
        """Look for a host that is on its way, at our address and at the one where the process we started found it."""
        end = asyncio.get_running_loop().time() + seconds
        wait = 0.02
        while True:
            endpoint = await asyncio.to_thread(self._find) or (
                await asyncio.to_thread(read_endpoint, key) if key else None
            )
            client = await self._reach(endpoint)
            if client or asyncio.get_running_loop().time() > end:
                return client
            await asyncio.sleep(wait)
            wait = min(wait * 2, 0.25)

    async def _reach(self, endpoint: Endpoint | None) -> HostClient | None:
        """Connect to a host; None if it is not there any more."""
        if endpoint is None:
            return None
        try:
            return await HostClient.open(
                endpoint, self._on_change, self._on_lost, name=self._name, hello_seconds=self._hello_seconds
            )
        except (OSError, HostCrashed):
            return None

    def _find(self) -> Endpoint | None:
        return read_endpoint(address_key(self._settings))

    # ── losing it ──

    def _on_change(self, change: StatusChange) -> None:
        self._ended_on_purpose = change.status.state is HostState.STOPPED
        if change.fault:
            self._fault = error_of(change.fault)
            self._fault_until = self._clock() + FAULT_SECONDS
        self._report(change.status)

    def _on_lost(self, client: HostClient) -> None:
        if self._client not in (None, client):
            # It took its time to end, and another one is there already.
            return
        self._client = None
        if self._ended_on_purpose or self._fault or self._stopped:
            return
        self._crashed(HostCrashed("the connection to the model host was lost"))
        if not self._fault:
            self._connect_soon()

    def _crashed(self, error: HostCrashed) -> None:
        """Reckon with a crash: say that a new start follows, or that none does any more."""
        self._crashes.add(self._clock())
        self._autopsy = asyncio.create_task(_log_end(self._process))
        if self._give_up(error):
            return
        wait = max(0.0, self._crashes.start_at() - self._clock())
        message = f"the model host crashed; it is started again in {wait:.2g} s"
        self._report(HostStatus(HostState.STARTING, self._settings.model_name, message=message))

    def _fail(self, error: CoderLspError) -> None:
        """No connection: remember why, and for how long not to try again."""
        logger.warning("no model host: %s", error)
        self._fault, self._fault_until = error, self._clock() + FAULT_SECONDS
        if not isinstance(error, HostHangs):
            self._crashes.add(self._clock())
            if self._give_up(error):
                return
            self._fault_until = self._crashes.start_at()
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        self._report(HostStatus(HostState.ERROR, self._settings.model_name, message=message))

    def _give_up(self, last: CoderLspError) -> bool:
        if self._crashes.start_at() < math.inf:
            return False
        what = f"the model host failed {self._crashes.limit} times within {self._crashes.window:g} s"
        hint = f"restart it with your editor's command (coder-lsp.restart), or {_hint()}"
        error = HostUnavailable(f"{what}, the last time: {last.message}", hint=hint)
        self._fault, self._fault_until = error, math.inf
        self._report(HostStatus(HostState.ERROR, self._settings.model_name, message=f"{error.message}; {error.hint}"))
        return True

    async def _see_off(self, client: HostClient) -> None:
        """Wait until a connection that is about to end has ended, and been reckoned with by :meth:`_on_lost`."""
        if not await client.ended(SHUTDOWN_SECONDS):
            await self._drop(client)

    async def _drop(self, client: HostClient) -> None:
        if self._client is client:
            self._client = None
        await client.close()

    async def _leave(self) -> None:
        await self._end_connecting()
        if self._client:
            await self._drop(self._client)

    async def _end_connecting(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting:
            connecting.cancel()
            await asyncio.wait([connecting])

    def _report(self, status: HostStatus) -> None:
        if self._stopped and status.state is not HostState.STOPPED:
            return
        if status == self._status:
            return
        self._status = status
        try:
            self._on_status(status)
        except Exception:
            # Showing a status is not what keeps a host.
            logger.exception("a status could not be shown")


async def _log_end(process: HostProcess | None) -> None:
    """What the system says about the end of a host that this front started."""
    cause = "started by another front"
    if process:
        with contextlib.suppress(asyncio.TimeoutError):
            cause = describe_exit(await asyncio.wait_for(asyncio.shield(process.ended), 1))
    logger.warning("the model host is gone: %s", cause)


def _hint() -> str:
    return f"run: coder-lsp doctor; the log is {log_path()}"
