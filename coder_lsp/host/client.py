"""One connection of a front to a running host: requests out, text and status back.

Cancelling the task that awaits ``complete`` tells the host; a connection that drops turns into :class:`HostCrashed`
for whoever was waiting. Starts no host and tries nothing twice: that is ``host.supervisor``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from pygls.exceptions import JsonRpcException

from coder_lsp import __version__
from coder_lsp.errors import CoderLspError, HostCrashed, HostError, HostUnavailable
from coder_lsp.host import protocol
from coder_lsp.host.protocol import (
    HOST_ERROR,
    Ask,
    Complete,
    Delta,
    Fault,
    Hello,
    HostInfo,
    MalformedMessage,
    Preview,
    StatusChange,
    Warm,
    Welcome,
    error_of,
    from_json,
)
from coder_lsp.host.rpc import ConnectionLost, Peer
from coder_lsp.host.transport import connect
from coder_lsp.types import FimResult, FinishReason, HostState, PromptPreview

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.host.address import Endpoint
    from coder_lsp.types import AskRequest, FimRequest, TextSink

HELLO_SECONDS = 10.0
"""A host that does not greet back in this time hangs: its event loop has nothing else to do."""
CONNECT_SECONDS = 5.0

T = TypeVar("T")


class HostHangs(HostUnavailable):
    """A host that is there but does not answer."""


_READING: set[asyncio.Task[None]] = set()


class HostClient:
    """A connection that said hello. Made by :meth:`open`; ``on_lost`` is called once when it ends by itself."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.endpoint = endpoint
        self._early: list[StatusChange] = []
        self._on_status: Callable[[StatusChange], None] = self._early.append
        self._on_lost: Callable[[HostClient], None] = lambda _: None
        self._streams: dict[str | int, _Stream] = {}
        self._closing = False
        self._version = __version__
        handlers = {protocol.DELTA: self._delta, protocol.STATUS: self._status}
        self._peer = Peer(reader, writer, notifications=handlers)
        self._reading = asyncio.create_task(self._read())
        # asyncio itself keeps no task: a client that nobody holds any more must not be collected while it still reads.
        _READING.add(self._reading)
        self._reading.add_done_callback(_READING.discard)

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        on_status: Callable[[StatusChange], None] = lambda _: None,
        on_lost: Callable[[HostClient], None] = lambda _: None,
        *,
        name: str = "",
        hello_seconds: float = HELLO_SECONDS,
    ) -> HostClient:
        """Connect and greet; ``on_status`` gets the present status before this returns, then every change.

        :raises OSError: nobody listens there.
        :raises HostHangs: somebody does but does not answer.
        :raises HostCrashed: it went away meanwhile.
        :raises HostUnavailable: refused: another user's, another version's, the wrong token.
        """
        hangs = HostHangs(
            f"the model host (process {endpoint.pid}) does not answer",
            hint="restart it with the editor's restart command, or end it: coder-lsp host --stop",
        )
        try:
            reader, writer = await asyncio.wait_for(connect(endpoint), CONNECT_SECONDS)
        except asyncio.TimeoutError as error:
            raise hangs from error
        client = cls(endpoint, reader, writer)
        greeting = Hello(protocol.PROTOCOL_VERSION, __version__, name, endpoint.token)
        try:
            asking = client._ask(protocol.HELLO, greeting, Welcome)
            welcome = await asyncio.wait_for(asking, hello_seconds)
        except asyncio.TimeoutError as error:
            await client.close()
            raise hangs from error
        except BaseException:
            await client.close()
            raise
        client._version = welcome.version
        for change in [welcome.current, *client._early]:
            on_status(client._noted(change))
        client._on_status, client._on_lost = on_status, on_lost
        if client.closed:
            await client.close()
            raise HostCrashed("the model host went away while greeting")
        return client

    @property
    def closed(self) -> bool:
        return self._closing or self._peer.closed

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        """Have the host complete. With ``on_text``, the text comes as it appears.

        When ``on_text`` returns False the result is exactly what it has been given, with ``ENOUGH``, though the host
        may be some tokens further by then. What ``on_text`` raises ends the request and is raised here.

        :raises HostCrashed: the connection dropped.
        :raises CoderLspError: what the host says is wrong.
        """
        return await self._streamed(protocol.COMPLETE, Complete(request, stream=on_text is not None), on_text)

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        """Have the host follow an instruction; otherwise as :meth:`complete`."""
        return await self._streamed(protocol.ASK, Ask(request, stream=on_text is not None), on_text)

    async def _streamed(self, method: str, asked: Complete | Ask, on_text: TextSink | None) -> FimResult:
        message_id = self._peer.next_id()
        stream = _Stream(on_text) if on_text else None
        if stream:
            self._streams[message_id] = stream
        try:
            result = await self._ask(method, asked, FimResult, message_id)
        except asyncio.CancelledError:
            self._peer.notify(protocol.CANCEL, {"id": message_id})
            raise
        finally:
            self._streams.pop(message_id, None)
        return stream.seal(result) if stream else result

    def warm(self, request: FimRequest) -> None:
        """Have the host make the prompt of a place ready when it has nothing else to do."""
        self._peer.notify(protocol.WARM, Warm(request))

    async def preview(self, request: FimRequest) -> PromptPreview:
        """What the model would be shown for a request.

        :raises HostCrashed: the connection dropped.
        :raises CoderLspError: what the host says is wrong.
        """
        return await self._ask(protocol.PREVIEW, Preview(request), PromptPreview)

    async def info(self) -> HostInfo:
        """:raises HostCrashed: the connection dropped."""
        return await self._ask(protocol.INFO, None, HostInfo)

    async def shutdown(self) -> None:
        """Ask the host to end, for all its clients; returns when the connection is gone."""
        self._closing = True
        with contextlib.suppress(HostCrashed):
            await self._ask(protocol.SHUTDOWN, None, type(None))
        await self.ended()

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the connection is gone, whoever ends it; tells whether it is."""
        done, _ = await asyncio.wait([self._reading], timeout=seconds)
        return bool(done)

    async def close(self) -> None:
        """Leave. The host goes on for others; what was asked here is cancelled there."""
        self._closing = True
        await self._peer.close()
        await self._reading

    async def _ask(self, method: str, params: Any, answer: type[T], message_id: int | None = None) -> T:
        try:
            # The shield keeps the future for the answer of a request whose task was cancelled.
            data = await asyncio.shield(self._peer.request(method, params, message_id))
        except ConnectionLost as error:
            raise HostCrashed("the connection to the model host was lost") from error
        except JsonRpcException as error:
            raise _error_from(error) from error
        if answer is type(None):
            return data  # type: ignore[no-any-return]
        try:
            return from_json(answer, data)
        except MalformedMessage as error:
            raise HostError(f"unreadable answer from the model host ({error})") from error

    async def _read(self) -> None:
        await self._peer.run()
        if not self._closing:
            self._closing = True
            self._on_lost(self)

    def _delta(self, params: Any) -> None:
        delta = from_json(Delta, params)
        stream = self._streams.get(delta.id)
        if stream is None or stream.full or stream.feed(delta.text):
            return
        self._peer.notify(protocol.CANCEL if stream.fault else protocol.ENOUGH, {"id": delta.id})

    def _status(self, params: Any) -> None:
        self._on_status(self._noted(from_json(StatusChange, params)))

    def _noted(self, change: StatusChange) -> StatusChange:
        """With a word on it if the host is of another version, which it is only where an update came while we ran.

        It understands us, or it had not let us in. What else of this process is of before the update nobody knows.
        """
        if self._version == __version__ or change.status.message or change.status.state is not HostState.READY:
            return change
        message = f"coder-lsp was updated from {__version__} to {self._version} while it ran; restart the editor"
        return dataclasses.replace(change, status=dataclasses.replace(change.status, message=message))


class _Stream:
    """What one reader has been given so far."""

    def __init__(self, on_text: TextSink) -> None:
        self._on_text = on_text
        self._given: list[str] = []
        self.full = False
        self.fault: Exception | None = None

    def feed(self, text: str) -> bool:
        """Whether the reader wants more."""
        self._given.append(text)
        try:
            self.full = not self._on_text(text)
        except Exception as error:  # noqa: BLE001  (raised again where the reader waits, in seal())
            self.full, self.fault = True, error
        return not self.full

    def seal(self, result: FimResult) -> FimResult:
        if self.fault:
            raise self.fault
        if not self.full:
            return result
        return dataclasses.replace(result, text="".join(self._given), finish_reason=FinishReason.ENOUGH)


def _error_from(error: JsonRpcException) -> CoderLspError:
    if error.code == HOST_ERROR:
        try:
            return error_of(from_json(Fault, error.data))
        except MalformedMessage:
            pass
    return HostError(f"the model host answered with an error: {error.message}", hint="see its log: coder-lsp doctor")
