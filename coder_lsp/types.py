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
    UNSURE = "unsure"
    """The model lost its confidence; the text ends with the last whole line it was sure of."""
    CANCELLED = "cancelled"
    """Cancelled, or superseded by a newer request."""


class Trigger(str, enum.Enum):
    """What asked for a suggestion (LSP 3.18 ``InlineCompletionTriggerKind``)."""

    AUTOMATIC = "automatic"
    INVOKED = "invoked"


class PromptKind(str, enum.Enum):
    """How much of the document a prompt shows."""

    FULL = "full"
    FILE = "file"
    """The document alone, while the block of other files is not evaluated yet."""
    SHORT = "short"
    """The lines around the cursor alone, for a first answer in a place whose full prompt is not evaluated yet."""


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
    alike: bool = False
    """A function like the one around the place: worth reading the prompt again for."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter laid over the model. ``version`` tells apart files that come and go at the same path."""

    path: str
    scale: float = 1.0
    version: str = ""


@dataclass(frozen=True)
class FimRequest:
    """Fill the gap between ``prefix`` and ``suffix``. Texts are raw: no template, no special tokens.

    ``document`` is an opaque identity (the URI) under which the host remembers where it anchored this document; the
    host never opens it. ``deadline_ms`` counts from the start of decoding, 0 means none. ``max_tokens`` counts
    generated tokens. ``alternatives`` is how many different texts are wanted. ``idle``: work ahead that nobody waits
    for yet; it runs when the host has nothing else to do and ends ``CANCELLED`` when it has. ``patient``: the full
    prompt and these very snippets, however long reading them takes. ``adapters`` lie over the model for this request;
    another one may have others.
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
    alternatives: int = 1
    idle: bool = False
    patient: bool = False
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class AskRequest:
    """Follow an instruction about a place in a file. Texts are raw, as in :class:`FimRequest`.

    ``before`` and ``after`` are the file's text around the place; of both as much is shown as fits, what is nearest
    first, like the ``snippets`` of other files. ``instruction`` is shown whole. ``begun`` is how the answer begins: the
    model goes on behind it, and it is no part of the result. ``max_tokens`` and ``deadline_ms`` are of the answer.
    ``self_contained``: the instruction has the code that it is about, and a small model is shown nothing else.
    """

    document: str
    instruction: str
    before: str = ""
    after: str = ""
    begun: str = ""
    self_contained: bool = False
    language: str = ""
    path: str = ""
    repository: str = ""
    snippets: tuple[Snippet, ...] = ()
    stop: tuple[str, ...] = ()
    max_tokens: int = 512
    deadline_ms: int = 0
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 0
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class TokenCounts:
    """``prompt = reused + evaluated``; ``generated`` are new tokens, the healed one included.

    They took ``passes`` forward passes, which had ``drafted`` guessed tokens in them, of which ``accepted`` were right.
    """

    prompt: int = 0
    reused: int = 0
    evaluated: int = 0
    generated: int = 0
    passes: int = 0
    drafted: int = 0
    accepted: int = 0


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
    alternatives: tuple[str, ...] = ()
    """Further texts, the likeliest first, where the request asked for them."""
    prompt_kind: PromptKind = PromptKind.FULL


class TextSink(Protocol):
    """Receives whole code points of generated text as they appear; returns False when it has enough."""

    def __call__(self, delta: str, /) -> bool: ...


@dataclass(frozen=True)
class PromptPreview:
    """What a model is shown at a place, for people: the whole prompt and its block of other files, control tokens
    spelled out, with their tokens. ``snippets`` are what of the given ones fitted, as they are shown.
    """

    prompt: str = field(repr=False)
    tokens: int = 0
    context: str = field(default="", repr=False)
    context_tokens: int = 0
    snippets: tuple[Snippet, ...] = ()


class FimBackend(Protocol):
    """Who completes for the front: the host's client in production, a scripted one in tests.

    Cancelling the awaiting task cancels the generation. ``on_text`` returning False ends it with
    :attr:`FinishReason.ENOUGH`.
    """

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult: ...

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        """Have the model follow an instruction. Completions come in between; they do not end it."""
        ...

    async def warm(self, request: FimRequest) -> None:
        """Have the prompt of a place evaluated when there is nothing else to do. Returns at once; never raises."""
        ...

    async def preview(self, request: FimRequest) -> PromptPreview:
        """What the model would be shown for a request; nothing is evaluated."""
        ...


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
    patient: bool = False
    """Rather late than out of a short prompt: for who asks once, as a command does."""
    alternatives: bool = True
    """Whether more than the best suggestion can be shown, if it was asked for by hand."""
    adapters: tuple[Adapter, ...] = ()
    """What lies over the model for this document; filled in by the service, which knows the settings."""


class Task(str, enum.Enum):
    """What an instruction is to bring about."""

    GENERATE = "generate"
    """Code at the cursor, from a comment or an instruction."""
    REWRITE = "rewrite"
    """The selection, changed as asked."""
    EXPLAIN = "explain"
    """Words about the selection."""
    TESTS = "tests"
    """Tests of the selection, for a file of their own."""


@dataclass(frozen=True)
class InstructRequest:
    """An instruction about ``[start, end)`` of a document, code point offsets; both the same: a cursor.

    ``instruction`` may be empty where the task says enough. ``outline``: have the model plan before it writes.
    """

    uri: str
    text: str
    start: int
    end: int
    task: Task
    instruction: str = ""
    outline: bool = False
    language: str = ""
    path: str = ""
    root: str = ""
    max_tokens: int | None = None


@dataclass(frozen=True)
class InstructOutcome:
    """What came of an instruction: ``text`` to put in place of ``[start, end)``; of an explanation, and of tests, what
    to show. ``reason`` says why there is none.
    """

    task: Task
    text: str = ""
    start: int = 0
    end: int = 0
    reason: str = ""
    result: FimResult | None = None
    snippets: tuple[Snippet, ...] = ()


class PreviewSink(Protocol):
    """Receives what an instruction's outcome would be so far, each time more of it is there."""

    def __call__(self, outcome: InstructOutcome, /) -> None: ...


class ContextSource(Protocol):
    """Who knows the other files of a workspace (``retrieval.session``)."""

    def context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:
        """What of them to show for a place, about ``budget`` tokens of it. Quick, and never raises."""
        ...

    def holds(self, snippets: tuple[Snippet, ...]) -> bool:
        """Whether the files still say what these snippets show."""
        ...

    def scope(self, request: CompletionRequest) -> str:
        """The head of the function around a place, with that of its class; empty outside. Quick, and never raises."""
        ...


class AdapterChoice(Protocol):
    """Who knows which adapters the settings lay over the model for a document."""

    def __call__(self, request: CompletionRequest, /) -> tuple[Adapter, ...]:
        """Quick, and never raises: an adapter that is not there is left out, and whoever looks is told once."""
        ...


@dataclass(frozen=True)
class Suggestion:
    """Text to put in place of ``[start, end)``, code point offsets into the request's text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Judgement:
    """Whether a suggestion is worth showing (``completion.show_filter``), and the figures that say so.

    ``probability`` is how likely it is to be accepted, None where no filter has learned that. Now and then one that
    would be held back is shown, to learn whether that is still right; ``weight`` is how many it stands for.
    """

    show: bool
    probability: float | None = None
    reason: str = ""
    features: tuple[float, ...] = ()
    weight: float = 1.0


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
    source: str = "model"
    """Where the text comes from: ``model``, a running ``stream``, or the ``cache``."""
    judgement: Judgement | None = None
    """None where nobody judged: what the user asked for, or goes on typing through."""


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
