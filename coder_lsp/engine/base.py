"""The contract every inference engine keeps, and the values it speaks.

An engine owns one loaded model, its vocabulary and the KV cache of several sequences. It knows tokens, never files,
templates or policy; ``prompt`` builds what it evaluates and ``host.worker`` drives it. Blocking: one generation at a
time runs on the calling thread, and :class:`CancelToken` may be set from any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from coder_lsp.types import Adapter, FinishReason, TextSink, TokenCounts


@dataclass(frozen=True)
class EngineOptions:
    """How to load a model. Zero means: choose by the machine, and log the reason."""

    context_tokens: int = 4096
    """KV cells of one sequence."""
    sequences: int = 2
    kind: str = "auto"
    """Which engine: auto, llama, torch or remote (``config.EngineConfig``)."""
    device: str = "auto"
    """Of torch: where it computes."""
    precision: str = "auto"
    """Of torch: auto, bf16, fp16 or f32."""
    quantise: str = "none"
    """Of torch: none, int8 or int4, of weights alone."""
    threads: int = 0
    """Threads for decoding; 0: physical cores this process may use."""
    threads_batch: int = 0
    kv_type: str = "f16"
    """Element type of the KV cache: f16, q8_0 or f32."""
    slice_tokens: int = 0
    """Prompt tokens evaluated between two looks at cancellation; 0: by model size."""
    use_mmap: bool = True
    draft: bool = True
    """Whether its user wants tokens guessed (see :class:`GenerateRequest`)."""


@dataclass(frozen=True)
class ModelInfo:
    """Facts read from the loaded file, not from a catalogue."""

    path: str
    description: str
    architecture: str
    parameters: int
    size_bytes: int
    vocab_size: int
    train_context: int
    recurrent: bool = False
    """Recurrent or hybrid: the cache cannot be rolled back, so every change is evaluated from the start."""


@dataclass(frozen=True)
class GenerateRequest:
    """Continue ``tokens``. ``forced`` bytes must come first in what is generated and are not part of the text.

    ``forced`` is how a healed token is constrained: each generated token must agree with the bytes still owed.
    ``stop`` strings and ``stop_tokens`` end the text before themselves. The deadline counts in ms from the first
    decoded token and is looked at where a line ends. ``temperature`` 0 is greedy. ``sequence`` None: the one whose
    history shares the longest prefix with ``tokens``, else the least recently used.

    ``draft``: guess tokens from text that is there already and check several in one forward pass; greedy only, and the
    answer is the same. ``hints`` are runs of tokens to guess from besides the prompt, such as recent suggestions.
    A line behind the first whose tokens have a mean logprob below ``least_logprob`` ends the text before itself
    (``UNSURE``); the text may then be shorter than what was streamed. ``branching``: at so many tokens, from the first
    that is not forced, note what else could have come.
    """

    tokens: Sequence[int]
    forced: bytes = b""
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    deadline_ms: int = 0
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 0
    sequence: int | None = None
    draft: bool = True
    hints: Sequence[Sequence[int]] = ()
    least_logprob: float = -math.inf
    branching: int = 0


class RunnerUp(NamedTuple):
    """``token`` could have come at ``position`` of ``token_ids``, with this logprob."""

    position: int
    token: int
    logprob: float


@dataclass(frozen=True)
class Generation:
    """``text`` without the forced bytes; ``token_ids`` as generated, the healed one first; one logprob a token.

    ``runners_up``: by position, of each up to four, the likeliest first, none that ends the text. Where an end token
    ended the text, the last position is behind the last token.
    """

    text: str
    finish_reason: FinishReason
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    tokens: TokenCounts = field(default_factory=TokenCounts)
    timings_ms: dict[str, float] = field(default_factory=dict)
    sequence: int = 0
    runners_up: tuple[RunnerUp, ...] = ()


class CancelToken(Protocol):
    """Set once, from any thread; the generation that polls it ends within 50 ms."""

    def cancel(self) -> None: ...

    @property
    def cancelled(self) -> bool: ...


class Vocabulary(Protocol):
    """The part of an engine that prompt building needs."""

    def tokenize(self, text: str) -> list[int]:
        """Token ids of plain text. Special tokens are off: nothing in ``text`` can become a control token."""
        ...

    def special(self, text: str) -> int | None:
        """Id of the control or user-defined token spelled exactly ``text``, or None if there is none."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for (empty for control tokens)."""
        ...

    @property
    def bos(self) -> int | None:
        """Beginning-of-sequence token if the model's own tokenizer adds one, else None."""
        ...

    @property
    def end_tokens(self) -> frozenset[int]:
        """All tokens that end a generation, as the model file declares them."""
        ...


class Engine(Vocabulary, Protocol):
    """One loaded model. See the module docstring for threading."""

    name: str
    reason: str
    """Why this engine was chosen, one phrase for the log and ``doctor``."""
    info: ModelInfo
    options: EngineOptions
    """As resolved: no zeros left."""

    def new_cancel_token(self) -> CancelToken: ...

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        """Evaluate what is new in ``request.tokens`` and decode. Cancellation returns what there is.

        :raises ContextOverflow: prompt plus one token is more than ``options.context_tokens``.
        """
        ...

    def prefill(self, tokens: Sequence[int], sequence: int | None = None, cancel: CancelToken | None = None) -> int:
        """Evaluate ``tokens`` without decoding; returns how many were new. What a cancel leaves is kept for reuse."""
        ...

    def adapt(self, adapters: Sequence[Adapter]) -> None:
        """Lay these LoRA adapters over the model from now on; none: the model alone.

        Quick where they were in use before. What a sequence holds was computed under the adapters of its time: under
        others it counts as empty, and is still there when these come back, unless its room was needed.

        :raises ModelNotFound, ModelCorrupt, ModelUnsupported: one of them cannot be used; all stays as it was.
        """
        ...

    def history(self, sequence: int) -> tuple[int, ...]:
        """Tokens whose keys and values a sequence holds now, under the adapters of now."""
        ...

    def clear(self, sequence: int) -> None: ...

    def reusable(self, tokens: Sequence[int]) -> int:
        """How many of ``tokens``, from the first on, some sequence holds now."""
        ...

    def sequence_state(self, sequence: int) -> bytes:
        """What a sequence holds, for :meth:`restore_sequence`; empty if it holds nothing."""
        ...

    def restore_sequence(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        """Make a sequence hold ``tokens`` again out of the state it once had with them.

        False, and nothing is restored, if the state is damaged or was made of other tokens, by another model as far as
        its header tells, or with another kind of cache. The caller keeps apart files that differ in weights alone.
        """
        ...

    def close(self) -> None: ...


LoadProgress = Callable[[float], None]
"""Called with 0.0–1.0 while a model loads."""
