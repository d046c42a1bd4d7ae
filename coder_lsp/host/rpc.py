"""One connection between front and host: pygls' JSON-RPC with source text kept out of every log.

pygls does the framing, the ids and the matching of answers. What is replaced here is what would write a message into
a log (it logs bodies when sending, and parameters and exception texts when a handler fails) or turn parameters into
objects of its own making. A peer that sends what is no message, or too much, loses its connection and nothing else.
Same for both ends; ``host.server`` and ``host.client`` bring the handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import cattrs
from lsprotocol.types import ResponseError, ResponseErrorMessage
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams, JsonRpcMethodNotFound
from pygls.io_ import run_async
from pygls.protocol.json_rpc import (
    JsonRPCNotification,
    JsonRPCProtocol,
    JsonRPCRequestMessage,
    JsonRPCResponseMessage,
)

from coder_lsp.errors import CoderLspError
from coder_lsp.host.protocol import HOST_ERROR, MalformedMessage, fault_of, to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pygls.server import JsonRPCServer

    MessageId = str | int
    RequestHandler = Callable[["MessageId", Any], Any]
    """Gets the id and the parameters, in the order of arrival; its result, or the future's, is the answer."""
    NotificationHandler = Callable[[Any], None]

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Far above any request: the front sends what fits a prompt, or at most a large document around the cursor."""
MAX_GREETING_BYTES = 4096
"""Until the first message is accepted, from whoever it may be."""
MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""A peer that does not read what it asked for loses its connection at this point."""


class ConnectionLost(ConnectionError):
    """The other end is gone; raised for every request that waited for it."""


class Peer:
    """One end of a connection. ``run`` reads until the connection ends; everything else may be called meanwhile."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        requests: Mapping[str, RequestHandler] | None = None,
        notifications: Mapping[str, NotificationHandler] | None = None,
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._writer = writer
        self._frames = _FrameReader(reader, max_message_bytes)
        self._rpc = _QuietJsonRpc(requests or {}, notifications or {}, writer)
        self._ids = itertools.count(1)

    def accept(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        """Allow messages of full size from now on."""
        self._frames.max_bytes = max_message_bytes

    def next_id(self) -> int:
        return next(self._ids)

    def request(self, method: str, params: Any = None, message_id: MessageId | None = None) -> asyncio.Future[Any]:
        """Ask; the future raises :class:`ConnectionLost` or a ``JsonRpcException``.

        Cancelling the future only forgets the answer. Tell the other end with a notification.
        """
        if self.closed:
            raise ConnectionLost
        future = self._rpc.send_request_async(method, to_json(params), message_id or self.next_id())
        # Read once here: who asked may have stopped waiting, and asyncio complains about errors nobody saw.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return cast("asyncio.Future[Any]", future)

    def notify(self, method: str, params: Any = None) -> None:
        """Tell; silently nothing if the connection is closed."""
        if not self.closed:
            self._rpc.notify(method, to_json(params))

    @property
    def closed(self) -> bool:
        return self._writer.is_closing()

    async def run(self) -> None:
        """Read and dispatch until the other end leaves or misbehaves, then close and let go of all who wait."""
        try:
            # The event is the library's way to stop; ours is to close the stream.
            await run_async(
                stop_event=threading.Event(),
                reader=self._frames,
                protocol=self._rpc,
                logger=cast("logging.Logger", _FrameLog()),
                error_handler=_refuse,
            )
        except (OSError, EOFError, _BadFrame) as error:
            # EOFError: the stream ended inside a message. OSError: a reset.
            logger.info("connection ended: %s", type(error).__name__)
        except ValueError:
            logger.warning("connection ended: a header line without an end")
        finally:
            self._rpc.abandon(ConnectionLost())
            await self.close()

    async def close(self) -> None:
        """Send what is buffered, briefly, and close; more than once is fine."""
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), timeout=1)


class _QuietJsonRpc(JsonRPCProtocol):
    """pygls' protocol with plain JSON parameters, our error mapping, and no message text in any log record."""

    def __init__(
        self,
        requests: Mapping[str, RequestHandler],
        notifications: Mapping[str, NotificationHandler],
        writer: asyncio.StreamWriter,
    ) -> None:
        super().__init__(cast("JsonRPCServer", self), cattrs.Converter())
        # Below WARNING pygls logs whole messages.
        pygls_logger = logging.getLogger("pygls")
        if pygls_logger.getEffectiveLevel() < logging.WARNING:
            pygls_logger.setLevel(logging.WARNING)
        self._requests = requests
        self._notifications = notifications
        self._stream = writer
        self._answering: set[asyncio.Future[Any]] = set()
        self.set_writer(writer)

    def abandon(self, error: ConnectionLost) -> None:
        """The connection is gone: fail what waits for an answer, cancel what was to be answered."""
        waiting, self._request_futures = self._request_futures, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)
        for result in tuple(self._answering):
            result.cancel()

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Called for every JSON object of a message, inner ones first; only the outermost is a message."""
        if "jsonrpc" not in data:
            return data
        version, method, params = data["jsonrpc"], data.get("method"), data.get("params")
        if "id" not in data:
            if not isinstance(method, str):
                raise _BadFrame
            return JsonRPCNotification(method=method, jsonrpc=version, params=params)
        message_id = data["id"]
        if not isinstance(message_id, str | int):
            raise _BadFrame
        if isinstance(method, str):
            return JsonRPCRequestMessage(id=message_id, method=method, jsonrpc=version, params=params)
        if "error" in data:
            return ResponseErrorMessage(id=message_id, jsonrpc=version, error=_response_error(data["error"]))
        return JsonRPCResponseMessage(id=message_id, jsonrpc=version, result=data.get("result"))

    def handle_message(self, message: Any) -> None:
        if getattr(message, "jsonrpc", None) != self.VERSION:
            raise _BadFrame
        super().handle_message(message)

    def _handle_request(self, msg_id: MessageId, method_name: str, params: Any) -> None:
        handler = self._requests.get(method_name)
        if handler is None:
            logger.warning("request %s: unknown method", msg_id)
            self._send_response(msg_id, error=JsonRpcMethodNotFound.of(method_name).to_response_error())
            return
        try:
            # Called now, not in a task: a cancellation may be the very next message.
            result = handler(msg_id, params)
        except Exception as error:  # noqa: BLE001  (a defect in one request must not end the connection)
            self._send_failure(msg_id, error)
            return
        if not asyncio.isfuture(result):
            self._send_response(msg_id, result=to_json(result))
            return
        self._answering.add(result)
        result.add_done_callback(partial(self._answer, msg_id))

    def _answer(self, msg_id: MessageId, result: asyncio.Future[Any]) -> None:
        self._answering.discard(result)
        if result.cancelled():
            return  # the connection is gone
        error = result.exception()
        if error:
            self._send_failure(msg_id, error)
        else:
            self._send_response(msg_id, result=to_json(result.result()))

    def _send_failure(self, msg_id: MessageId, error: BaseException) -> None:
        if isinstance(error, CoderLspError):
            answer = JsonRpcException(error.message, HOST_ERROR, to_json(fault_of(error)))
        elif isinstance(error, MalformedMessage):
            answer = JsonRpcInvalidParams(str(error))
        else:
            # Where it happened, without what the exception says: that may quote the request.
            logger.error("request %s failed: %s\n%s", msg_id, type(error).__name__, trail_of(error))
            answer = JsonRpcException(f"internal error ({type(error).__name__})")
        self._send_response(msg_id, error=answer.to_response_error())

    def _handle_notification(self, method_name: str, params: Any) -> None:
        handler = self._notifications.get(method_name)
        if handler is None:
            logger.warning("unknown notification ignored")
            return
        handler(params)

    def _handle_response(self, msg_id: MessageId, result: Any = None, error: ResponseError | None = None) -> None:
        future = self._request_futures.pop(msg_id, None)
        if future is None or future.done():
            return  # nobody waits any more
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(JsonRpcException.from_error(error))

    def _send_data(self, data: Any) -> None:
        if self._stream.is_closing():
            return
        if self._stream.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            logger.warning("connection dropped: the other end does not read")
            self._stream.transport.abort()
            return
        body = json.dumps(data, default=_attributes).encode(self.CHARSET)
        self._stream.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _report_server_error(self, *_: object) -> None:
        """What pygls would tell its server object, which this is."""


class _BadFrame(Exception):
    """Not a JSON-RPC message, or a larger one than allowed."""


class _FrameReader:
    """pygls' reader interface with a limit."""

    def __init__(self, reader: asyncio.StreamReader, max_bytes: int) -> None:
        self._reader = reader
        self.max_bytes = max_bytes

    def readline(self) -> Awaitable[bytes]:
        return self._reader.readline()

    def readexactly(self, n: int) -> Awaitable[bytes]:
        if n > self.max_bytes:
            logger.warning("message of %d bytes refused, at most %d are allowed", n, self.max_bytes)
            raise _BadFrame
        return self._reader.readexactly(n)


class _FrameLog:
    """Stands in for the logger of pygls' loop: says that a message was unreadable, never what was in it."""

    def debug(self, *_: object) -> None: ...

    def exception(self, *_: object) -> None:
        kind = sys.exc_info()[0]
        logger.warning("unreadable message: %s", kind.__name__ if kind else "unknown")


def trail_of(error: BaseException) -> str:
    """Where an exception comes from, without its words."""
    return "".join(traceback.format_tb(error.__traceback__))


def _attributes(message: Any) -> dict[str, Any]:
    """Fields of a message class of pygls or lsprotocol; the names of their fields are those of JSON-RPC."""
    return {attribute.name: getattr(message, attribute.name) for attribute in message.__attrs_attrs__}


def _response_error(data: Any) -> ResponseError:
    if isinstance(data, dict) and isinstance(data.get("code"), int) and isinstance(data.get("message"), str):
        return ResponseError(code=data["code"], message=data["message"], data=data.get("data"))
    raise _BadFrame


def _refuse(error: Exception, _: type[JsonRpcException]) -> None:
    # Both ends are ours, so this is a defect or an intruder; neither gets better by reading on.
    raise _BadFrame from error
