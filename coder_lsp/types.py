"""The values that cross between the packages: frozen, typed, without behaviour of their own.

Two vocabularies meet here and never mix. The front (``server``, ``completion``) speaks of documents, in Unicode code
points; the host (``host``, ``prompt``, ``engine``) speaks of tokens. What crosses the socket between them is a
:class:`FimRequest` and, back, text deltas and one :class:`FimResult`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol


class FinishReason(str, enum.Enum):
    """Why a generation ended. Values are what ``--json`` prints."""

    STOP_TOKEN = "stop_token"
    """The model ended the middle by itself."""
    STOP_STRING = "stop_string"
    """A stop string was reached; it is not part of the text."""
    ENOUGH = "enough"
    """The reader of the stream said it had enough (structure, overlap with the suffix)."""
    LENGTH = "length"
    """``max_tokens`` or the end of the context."""
    DEADLINE = "deadline"
    """Out of time; the text ends with a whole line where there was one."""
    CANCELLED = "cancelled"
    """Cancelled, or superseded by a newer request."""


class Trigger(str, enum.Enum):
    """What asked for a suggestion (LSP 3.18 ``InlineCompletionTriggerKind``)."""

    AUTOMATIC = "automatic"
    INVOKED = "invoked"


class Shape(str, enum.Enum):
    """How much to suggest at a place, decided by syntax."""

    LINE = "line"
    BLOCK = "block"


@dataclass(frozen=True)
class Snippet:
    """A piece of another file for the prompt. ``path`` is relative to the workspace root, with ``/``.

    ``text`` has the lines out of ``[start_line, end_line)``, counted from 0, that are worth showing. ``score`` says
    which snippets to keep where not all fit, ``source`` why this one is here.
    """

    path: str
    text: str = field(repr=False)
    start_line: int = 0
    end_line: int = 0
    source: str = ""
    score: float = 0.0
    line_scores: tuple[float, ...] = ()
    """The same for each line of ``text``; without them lines go from the end."""


@dataclass(frozen=True)
class FimRequest:
    """Fill the gap between ``prefix`` and ``suffix``. Texts are raw: no template, no special tokens.

    ``document`` is an opaque identity (the URI) under which the host remembers where it anchored this document; the
    host never opens it. ``deadline_ms`` counts from the start of decoding, 0 means none. ``max_tokens`` counts
    generated tokens.
    """

    document: str
    prefix: str
    suffix: str
    language: str = ""
    path: str = ""
    repository: str = ""
    snippets: tuple[Snippet, ...] = ()
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    deadline_ms: int = 0
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class TokenCounts:
    """``prompt = reused + evaluated``; ``generated`` are new tokens, the healed one included."""

    prompt: int = 0
    reused: int = 0
    evaluated: int = 0
    generated: int = 0


@dataclass(frozen=True)
class FimResult:
    """What the model wrote between prefix and suffix, exactly from the cursor on.

    ``timings_ms`` has ``queue``, ``prompt`` (template, tokenise), ``prefill``, ``decode``, ``total`` where known.
    ``logprobs`` are natural logarithms, one a generated token.
    """

    text: str
    finish_reason: FinishReason
    model: str = ""
    engine: str = ""
    tokens: TokenCounts = field(default_factory=TokenCounts)
    timings_ms: dict[str, float] = field(default_factory=dict)
    logprobs: tuple[float, ...] = ()
    context_tokens: int = 0
    """Tokens of other files in the prompt, headers included."""
    snippets: tuple[int, ...] = ()
    """Which of the request's snippets the model saw, in full or in part."""


class TextSink(Protocol):
    """Receives whole code points of generated text as they appear; returns False when it has enough."""

    def __call__(self, delta: str, /) -> bool: ...


class FimBackend(Protocol):
    """Who completes for the front: the host's client in production, a scripted one in tests.

    Cancelling the awaiting task cancels the generation. ``on_text`` returning False ends it with
    :attr:`FinishReason.ENOUGH`.
    """

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult: ...


@dataclass(frozen=True)
class CompletionRequest:
    """One place in one document, as the front sees it. ``cursor`` is a code point offset into ``text``.

    ``text`` is an immutable snapshot of the whole document; ``preceding`` is text that comes before it without being
    part of it (the cells above in a notebook). ``path`` is for display and rules, relative to ``root`` if inside it.
    """

    uri: str
    text: str
    cursor: int
    language: str = ""
    path: str = ""
    root: str = ""
    version: int | None = None
    trigger: Trigger = Trigger.AUTOMATIC
    preceding: str = ""
    max_tokens: int | None = None


class ContextSource(Protocol):
    """Who knows the other files of a workspace (``retrieval.session``)."""

    def context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:
        """What of them to show for a place, about ``budget`` tokens of it. Quick, and never raises."""
        ...

    def holds(self, snippets: tuple[Snippet, ...]) -> bool:
        """Whether the files still say what these snippets show."""
        ...


@dataclass(frozen=True)
class Suggestion:
    """Text to put in place of ``[start, end)``, code point offsets into the request's text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class CompletionOutcome:
    """What came of a request: suggestions, or none and the reason (``paused``, ``superseded``, ``empty`` …)."""

    suggestions: tuple[Suggestion, ...] = ()
    reason: str = ""
    shape: Shape = Shape.LINE
    result: FimResult | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    snippets: tuple[Snippet, ...] = ()
    """What of other files was sent along; ``result.snippets`` says which of them the model saw."""


class HostState(str, enum.Enum):
    """What the model host is doing, as a user would want to see it."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    GENERATING = "generating"
    ERROR = "error"


@dataclass(frozen=True)
class HostStatus:
    """A state with its details; ``progress`` is 0.0–1.0 while loading, ``message`` states the fault and its fix."""

    state: HostState
    model: str = ""
    engine: str = ""
    progress: float | None = None
    message: str = ""


class IndexState(str, enum.Enum):
    """What the index of the workspace is doing."""

    OFF = "off"
    """Switched off, or no folder is open."""
    INDEXING = "indexing"
    READY = "ready"


@dataclass(frozen=True)
class IndexStatus:
    """``files`` can be searched now; ``done`` of ``total`` files of the latest run of reading are read."""

    state: IndexState = IndexState.OFF
    files: int = 0
    done: int = 0
    total: int = 0
