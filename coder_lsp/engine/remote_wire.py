"""Speaks HTTP with one server: requests, streams that can be dropped at any moment, and faults as our errors.

An event loop on a thread of its own does the talking, so that a blocking caller can wait for the next piece and another
thread can end the wait at once; ending a stream closes its connection, which is how servers are told to stop. The key
goes to the configured origin alone: redirects are not followed, and no error, log line or ``repr`` has it. Answers are
bounded: a server cannot fill memory. Knows nothing of what is said (``engine.remote_dialects``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import random
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from coder_lsp import __version__
from coder_lsp.engine.remote_refusals import REFUSAL_BYTES, refusal
from coder_lsp.errors import (
    ConfigError,
    RemoteBusy,
    RemoteError,
    RemoteGarbage,
    RemoteRefused,
    RemoteUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from coder_lsp.config import RemoteConfig

MAX_LINE_BYTES = 4 << 20
"""Of one event: the last one of llama.cpp repeats the prompt."""
MAX_ANSWER_BYTES = 16 << 20
_FIRST_BACK_OFF_S = 0.05
_LONGEST_WAIT_S = 1.0
"""A server that wants to be left alone for longer gets no second try: nobody waits for a suggestion that long."""
_KEEP_ALIVE_S = 60.0
"""Of a connection that nobody uses: who stops to think should not pay for a handshake. One that the server closed
meanwhile is noticed before it is used.
"""
_ERROR_CHARACTERS = 200


@dataclass(frozen=True)
class Address:
    """Where a server is and how we get in. ``key`` is never printed."""

    url: str
    key: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port; for messages, since a path or a query could hold what is nobody's business."""
        url = httpx2.URL(self.url)
        return f"{url.scheme}://{url.netloc.decode('ascii').rpartition('@')[2]}"


class Wire:
    """One server. Safe for several threads; :meth:`close` ends all that is under way."""

    def __init__(self, address: Address, config: RemoteConfig) -> None:
        """:raises ConfigError: an address that is none, or certificates that cannot be read."""
        self.address = address
        self._config = config
        self._check(address)
        self._tls = _tls(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="coder-lsp-remote", daemon=True)
        self._started = threading.Event()
        self._client: httpx2.AsyncClient | None = None
        self._permits: asyncio.Semaphore | None = None
        self._closed = False
        self._thread.start()
        self._started.wait()

    def get(self, path: str, *, seconds: float = 2.0) -> Any:
        """The JSON answer of a GET.

        :raises RemoteError: no answer, no JSON, or a status that is none of success.
        """
        return self._call(self._within(self._json("GET", path, None, seconds), seconds))

    def post(self, path: str, body: Any, *, seconds: float = 10.0) -> Any:
        """The JSON answer of a POST.

        :raises RemoteError: as :meth:`get`.
        """
        return self._call(self._within(self._json("POST", path, body, seconds), seconds))

    def stream(self, path: str, body: Any) -> Lines:
        """POST, and the lines of the answer as they come."""
        lines = Lines(self._loop)
        lines.begin(self._talk(path, body, lines))
        return lines

    def close(self) -> None:
        """Drop every connection. What waits for an answer gets :class:`RemoteUnreachable`."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    @staticmethod
    def _check(address: Address) -> None:
        try:
            url = httpx2.URL(address.url)
        except httpx2.InvalidURL as error:
            raise ConfigError(f"remote.url is no address: {error}", hint="such as https://models.example/v1") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigError(
                "remote.url must begin with https:// or http://", hint="such as https://models.example/v1"
            )
        if url.userinfo:
            raise ConfigError(
                "remote.url must not hold a user or password", hint="give the key by: coder-lsp remote key set"
            )
        if address.key and not (address.key.isascii() and address.key.isprintable()):
            raise ConfigError("the key of the remote server holds characters that no header can have")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        config = self._config
        # Made on the loop's thread: its locks belong to it.
        self._client = httpx2.AsyncClient(
            # Uncompressed: what compresses an answer holds its first pieces back.
            headers={
                "User-Agent": f"coder-lsp/{__version__}",
                "Accept-Encoding": "identity",
                **_bearer(self.address.key),
            },
            timeout=httpx2.Timeout(
                config.timeout_ms / 1000, connect=config.connect_ms / 1000, pool=config.timeout_ms / 1000
            ),
            limits=httpx2.Limits(
                max_connections=config.concurrent + 2,
                max_keepalive_connections=config.concurrent + 2,
                keepalive_expiry=_KEEP_ALIVE_S,
            ),
            verify=self._tls,
            follow_redirects=False,
            # A proxy has no business with what stays on this machine, whatever the environment says.
            trust_env=not config.is_here,
        )
        self._permits = asyncio.Semaphore(config.concurrent)
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _shut(self) -> None:
        here = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not here]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert self._client is not None
        await self._client.aclose()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._closed:
            work.close()
            raise _closed()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except asyncio.CancelledError:
            raise _closed() from None

    async def _within(self, work: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """All of it in that time: one that answers a byte a second is not waited for."""
        try:
            return await asyncio.wait_for(work, seconds)
        except asyncio.TimeoutError:
            raise RemoteUnreachable(f"{self.address.origin} did not answer within {seconds:g} s") from None

    async def _json(self, method: str, path: str, body: Any, seconds: float) -> Any:
        assert self._client is not None
        try:
            async with self._client.stream(
                method, self._url(path), json=body, timeout=self._patience(seconds)
            ) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise RemoteGarbage(f"{self.address.origin}{path} answers without end")
                if answer.status_code != httpx2.codes.OK:
                    raise refusal(self.address.origin, path, answer.status_code, bytes(content), body)
        except httpx2.HTTPError as error:
            raise self._transport_error(error) from error
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise RemoteGarbage(f"{self.address.origin}{path} does not answer in JSON") from None

    async def _talk(self, path: str, body: Any, lines: Lines) -> None:
        """One stream from the first try to its end, every outcome told to ``lines``."""
        assert self._permits is not None
        attempt = 0
        while True:
            try:
                async with self._permits:
                    async for line in self._lines(path, body):
                        lines.put(line)
                lines.end(None)
                return
            except RemoteError as error:
                wait = None if lines.began else self._wait_before_retry(error, attempt)
                if wait is None:
                    lines.end(error)
                    return
            except asyncio.CancelledError:
                lines.end(_closed())
                raise
            except Exception as error:  # noqa: BLE001  (whoever waits for a line must hear of it, whatever it is)
                lines.end(RemoteGarbage(f"speaking with {self.address.origin} failed ({type(error).__name__})"))
                return
            attempt += 1
            await asyncio.sleep(wait)

    async def _lines(self, path: str, body: Any) -> AsyncIterator[bytes]:
        assert self._client is not None
        try:
            async with self._client.stream("POST", self._url(path), json=body) as answer:
                if answer.status_code != httpx2.codes.OK:
                    content = bytearray()
                    async for chunk in answer.aiter_bytes():
                        content += chunk
                        if len(content) > REFUSAL_BYTES:
                            break
                    after = answer.headers.get("retry-after")
                    raise refusal(
                        self.address.origin, path, answer.status_code, bytes(content), body, retry_after=after
                    )
                pending = bytearray()
                async for chunk in answer.aiter_bytes():
                    pending += chunk
                    if len(pending) > MAX_LINE_BYTES:
                        raise RemoteGarbage(f"{self.address.origin}{path} sends a line without end")
                    *whole, rest = pending.split(b"\n")
                    for line in whole:
                        if said := bytes(line).strip():
                            yield said
                    pending = bytearray(rest)
                if last := bytes(pending).strip():
                    yield last
        except httpx2.HTTPError as error:
            raise self._transport_error(error) from error

    def _wait_before_retry(self, error: RemoteError, attempt: int) -> float | None:
        """Seconds until the next try; None: there is none."""
        if attempt >= self._config.retries or not isinstance(error, RemoteUnreachable | RemoteBusy):
            return None
        # Half of it is chance: clients that failed together must not come back together.
        back_off = _FIRST_BACK_OFF_S * 2.0**attempt * (0.5 + random.random() / 2)  # noqa: S311
        wait = max(error.retry_after_s or 0.0, back_off)
        return wait if wait <= _LONGEST_WAIT_S else None

    def _transport_error(self, error: httpx2.HTTPError) -> RemoteError:
        origin = self.address.origin
        if isinstance(error, httpx2.ConnectTimeout):
            return RemoteUnreachable(f"{origin} did not take the connection within {self._config.connect_ms} ms")
        if isinstance(error, httpx2.TimeoutException):
            return RemoteUnreachable(f"{origin} said nothing for {self._config.timeout_ms} ms")
        if isinstance(error, httpx2.ConnectError):
            if "CERTIFICATE" in str(error).upper() or isinstance(error.__cause__, ssl.SSLError):
                hint = "if it is your own authority's, name its certificate in remote.ca_file"
                return RemoteRefused(f"the certificate of {origin} is not trusted: {_brief(error)}", hint=hint)
            return RemoteUnreachable(f"{origin} cannot be reached: {_brief(error)}")
        if isinstance(error, httpx2.DecodingError | httpx2.RemoteProtocolError):
            broken = "without sending" in str(error) or "disconnected" in str(error)
            return RemoteUnreachable(f"{origin} broke off") if broken else RemoteGarbage(f"{origin} speaks no HTTP")
        return RemoteUnreachable(f"the connection to {origin} broke ({type(error).__name__})")

    def _url(self, path: str) -> str:
        return f"{self.address.url.rstrip('/')}{path}"

    def _patience(self, seconds: float) -> httpx2.Timeout:
        return httpx2.Timeout(seconds, connect=self._config.connect_ms / 1000)


class Lines:
    """The lines of one streamed answer, for a blocking reader. Leave it by :meth:`close`, from whichever thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[bytes | RemoteError | None] = queue.SimpleQueue()
        self._future: Future[None] | None = None
        self.began = False
        """Whether a line came."""
        self._closed = threading.Event()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self._future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            self.end(_closed())

    def put(self, line: bytes) -> None:
        self.began = True
        self._queue.put(line)

    def end(self, error: RemoteError | None) -> None:
        self._queue.put(error)

    @property
    def closed(self) -> bool:
        """Whether we hung up."""
        return self._closed.is_set()

    def close(self) -> None:
        """Hang up; the reader's iteration ends."""
        self._closed.set()
        if self._future is not None:
            self._future.cancel()
        self._queue.put(None)

    def __iter__(self) -> Iterator[bytes]:
        """:raises RemoteError: what ended the answer before its time."""
        while True:
            line = self._queue.get()
            if line is None or self._closed.is_set():
                return
            if isinstance(line, RemoteError):
                raise line
            yield line

    def __enter__(self) -> Lines:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tls(config: RemoteConfig) -> ssl.SSLContext:
    """The system's certificates, and those named besides; always checked.

    :raises ConfigError: the file cannot be read.
    """
    context = httpx2.create_ssl_context()
    if config.ca_file:
        try:
            context.load_verify_locations(cafile=config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"remote.ca_file: {config.ca_file} holds no certificates ({error})", hint="name a PEM file"
            ) from error
    return context


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:_ERROR_CHARACTERS] or type(error).__name__


def _closed() -> RemoteError:
    return RemoteUnreachable("the connection was closed")
