"""What front and host say to each other: method names, their values, and the JSON form of both.

A value crosses as a plain JSON object, field by field of its dataclass, and is read back strictly: a missing, unknown
or wrongly typed field is refused with its name and the type found, never with its value, which may be source text.
Both ends are the same version of this package (the address of a host is derived from it), so nothing is negotiated
and nothing is lenient. Owns no socket and no process; ``host.server`` and ``host.client`` meet here.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from coder_lsp import errors
from coder_lsp.config import IdleConfig, PromptConfig, RemoteConfig
from coder_lsp.engine.base import EngineOptions, LoadProgress
from coder_lsp.types import Adapter, AskRequest, FimRequest, HostStatus  # noqa: TC001  (get_type_hints resolves them)

if typing.TYPE_CHECKING:
    from coder_lsp.engine.base import CancelToken
    from coder_lsp.types import FimResult, PromptPreview, TextSink

PROTOCOL_VERSION = 6
"""Raised with every change of a method or a value below."""

HELLO = "host/hello"
"""Request, the first of every connection: :class:`Hello` -> :class:`Welcome`."""
COMPLETE = "host/complete"
"""Request: :class:`Complete` -> :class:`FimResult`."""
ASK = "host/ask"
"""Request: :class:`Ask` -> :class:`FimResult`; streams, is cancelled and had enough of as a completion is."""
WARM = "host/warm"
"""Notification to the host, :class:`Warm`: make the prompt of a place ready when there is nothing else to do."""
PREVIEW = "host/preview"
"""Request: :class:`Preview` -> :class:`PromptPreview`, what the model would be shown."""
INFO = "host/info"
"""Request without parameters -> :class:`HostInfo`."""
SHUTDOWN = "host/shutdown"
"""Request without parameters -> null; the host ends after answering."""
CANCEL = "$/cancelRequest"
"""Notification to the host, ``{"id"}``: the request is answered with what there is, ``CANCELLED``."""
ENOUGH = "host/enough"
"""Notification to the host, ``{"id"}``: the reader of the stream has enough; the request ends with ``ENOUGH``."""
DELTA = "host/delta"
"""Notification from the host, :class:`Delta`: text as it appears, if the request asked for it."""
STATUS = "host/status"
"""Notification from the host, :class:`StatusChange`."""

HOST_ERROR = -32000
"""JSON-RPC code of an error out of :mod:`coder_lsp.errors`; its ``data`` is a :class:`Fault`."""

T = TypeVar("T")


class Worker(Protocol):
    """A loaded model at work. Blocking; one call at a time on the host's worker thread.

    ``complete`` returns soon after ``cancel`` is set, with what there is and ``CANCELLED``; it ends with ``ENOUGH``
    when ``on_text`` returns False. ``work`` does a piece of what can be done before it is asked for, until ``cancel``
    is set, and tells whether there was any; ``warm`` tells it of a place where a request is likely to come. ``preview``
    makes a prompt without evaluating it.
    """

    @property
    def model(self) -> str: ...

    @property
    def engine(self) -> str: ...

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Those that the last answer was written with; asked for from other threads, too."""

    @property
    def notice(self) -> str:
        """What the user should know of it now, in one line: who completes instead of whom, or what it cannot do. Asked
        for from other threads, too; empty if all is well.
        """

    def complete(self, request: FimRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult: ...

    def ask(self, request: AskRequest, on_text: TextSink | None, cancel: CancelToken) -> FimResult:
        """Follow an instruction; ends as ``complete`` does."""

    def warm(self, request: FimRequest) -> None: ...

    def preview(self, request: FimRequest) -> PromptPreview: ...

    def work(self, cancel: CancelToken) -> bool: ...

    def new_cancel_token(self) -> CancelToken: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class HostSettings:
    """Everything a host process needs to know; all but the last three decide which host it is.

    ``idle_seconds`` without requests end a host (0: never), and so do ``orphan_seconds`` without clients (0: as soon
    as the last one leaves). When several windows share a host, the settings of the one that started it hold.
    """

    model_path: str
    model_name: str
    template: str | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    remote: RemoteConfig = field(default_factory=RemoteConfig)
    idle: IdleConfig = field(default_factory=IdleConfig)
    idle_seconds: float = 1800.0
    orphan_seconds: float = 60.0


WorkerLoader = Callable[[HostSettings, LoadProgress | None], Worker]
"""Loads the model; blocking, on the host's worker thread, and may report progress."""


@dataclass(frozen=True)
class Hello:
    """Who calls. ``token`` is checked on transports where the system does not tell the caller's user."""

    protocol: int
    version: str
    client: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Fault:
    """One of our errors on the wire: the class by name, so that the other end raises the same."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class StatusChange:
    """A state, and with ``ERROR`` what to raise for requests."""

    status: HostStatus
    fault: Fault | None = None


@dataclass(frozen=True)
class Welcome:
    """The host's answer to :class:`Hello`."""

    pid: int
    protocol: int
    version: str
    current: StatusChange


@dataclass(frozen=True)
class Complete:
    """``stream``: send the text as it appears, in :class:`Delta` notifications that name the request's id."""

    request: FimRequest
    stream: bool = False


@dataclass(frozen=True)
class Ask:
    """``stream`` as in :class:`Complete`."""

    request: AskRequest
    stream: bool = False


@dataclass(frozen=True)
class Warm:
    """A place as a request for it would look."""

    request: FimRequest


@dataclass(frozen=True)
class Preview:
    """The request whose prompt is wanted."""

    request: FimRequest


@dataclass(frozen=True)
class Delta:
    """A piece of the text of the request ``id``."""

    id: str | int
    text: str


@dataclass(frozen=True)
class HostInfo:
    """Facts about a running host, for people and for ``doctor``."""

    pid: int
    uptime_seconds: float
    rss_bytes: int
    clients: int
    requests: int
    state: str
    model: str
    engine: str
    model_path: str
    protocol: int
    version: str
    adapters: tuple[Adapter, ...] = ()
    """Those that the last answer was written with."""


class MalformedMessage(ValueError):
    """A value that is not what the protocol says. The text names fields and types, never values."""


def to_json(value: Any) -> Any:
    """The plain JSON form of a dataclass and all in it: enums become their values, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def from_json(cls: type[T], data: Any) -> T:
    """Read a dataclass back.

    :raises MalformedMessage: ``FimRequest.max_tokens: expected int, found str``.
    """
    structured = _structure(cls, data, cls.__name__)
    assert isinstance(structured, cls)
    return structured


def fault_of(error: errors.CoderLspError) -> Fault:
    return Fault(type(error).__name__, error.message, error.hint)


def error_of(fault: Fault) -> errors.CoderLspError:
    """The error a fault stands for; a :class:`~coder_lsp.errors.HostError` if it names no class of ours."""
    cls = getattr(errors, fault.kind, None)
    if not (isinstance(cls, type) and issubclass(cls, errors.CoderLspError)):
        cls = errors.HostError
    return cls(fault.message, hint=fault.hint)


def _structure(expected: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return _structure_dataclass(expected, data, where)
    if isinstance(expected, type) and issubclass(expected, enum.Enum):
        try:
            return expected(data)
        except ValueError:
            raise MalformedMessage(f"{where}: not a {expected.__name__}") from None
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return _structure_union(arguments, data, where)
    if origin is tuple:
        items = _expect(list, data, where)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_structure(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
        if len(items) != len(arguments):
            raise MalformedMessage(f"{where}: expected {len(arguments)} items, found {len(items)}")
        pairs = enumerate(zip(arguments, items, strict=True))
        return tuple(_structure(argument, item, f"{where}[{i}]") for i, (argument, item) in pairs)
    if origin is dict:
        entries = _expect(dict, data, where)
        return {key: _structure(arguments[1], item, f"{where}[…]") for key, item in entries.items()}
    return _expect(expected, data, where)


def _structure_dataclass(cls: type, data: Any, where: str) -> Any:
    entries: Mapping[str, Any] = _expect(dict, data, where)
    fields = _fields(cls)
    unknown = entries.keys() - fields.keys()
    if unknown:
        raise MalformedMessage(f"{where}: {len(unknown)} unknown field(s)")
    missing = [name for name, (_, required) in fields.items() if required and name not in entries]
    if missing:
        raise MalformedMessage(f"{where}: missing {', '.join(missing)}")
    return cls(**{name: _structure(fields[name][0], item, f"{where}.{name}") for name, item in entries.items()})


def _structure_union(choices: tuple[Any, ...], data: Any, where: str) -> Any:
    # The unions of the protocol are primitives and "or None"; a dataclass appears at most once.
    if type(data) in choices:
        return data
    return _structure(next(choice for choice in choices if choice is not type(None)), data, where)


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """Field name -> (type, required). The types are resolved once: annotations are strings."""
    hints = typing.get_type_hints(cls)
    nothing = dataclasses.MISSING
    return {
        f.name: (hints[f.name], f.default is nothing and f.default_factory is nothing)
        for f in dataclasses.fields(cls)
        if f.init
    }


def _expect(expected: Any, data: Any, where: str) -> Any:
    # JSON has one kind of number, so a whole one may stand where a fraction is expected; a bool is no number at all.
    if expected is float and type(data) is int:
        return float(data)
    if type(data) is expected:
        return data
    raise MalformedMessage(f"{where}: expected {expected.__name__}, found {type(data).__name__}")
