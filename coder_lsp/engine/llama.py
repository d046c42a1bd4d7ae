"""The engine that runs GGUF models on the CPU through llama.cpp.

The only module that touches the native extension. It settles what can be settled before a byte of the model is
loaded (matching versions, a whole file, an amount of memory, threads) and then hands values to C++ and back; the
loop of a generation is in ``native/src/decoding.cpp``. Calls from several threads take turns: a second one waits until
the first is done or is itself cancelled.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from coder_lsp.engine import hardware, tuned
from coder_lsp.engine.base import EngineOptions, GenerateRequest, Generation, ModelInfo, RunnerUp
from coder_lsp.errors import EngineError, EngineVersionError, ModelUnsupported, OutOfMemory
from coder_lsp.types import FinishReason, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from coder_lsp.engine import _native
    from coder_lsp.engine.base import CancelToken, LoadProgress
    from coder_lsp.engine.tuned import Tuned
    from coder_lsp.types import Adapter, TextSink

log = logging.getLogger(__name__)

# Bytes of one KV element; q8_0 stores 32 elements and their scale in 34 bytes.
KV_ELEMENT_BYTES = {"f16": 2.0, "f32": 4.0, "q8_0": 34 / 32}

INT32_MAX = 2**31 - 1
SEED_MASK = 2**64 - 1

# Graph buffers, tokenizer tables and the interpreter, on top of weights and cache.
FIXED_BYTES = 128 * 2**20

# Rounds of busy waiting, some 15 microseconds: no loss on an idle machine, where steps are shorter than that apart.
SPIN_COUNT = 1000

REINSTALL = "reinstall coder-lsp into this environment (scripts/setup), which compiles it against the installed version"


class LlamaEngine:
    """One GGUF model, loaded. Make it with :meth:`load`, give its memory back with :meth:`close`."""

    name = "llama"

    def __init__(self, session: _native.Session, options: EngineOptions, info: ModelInfo, reason: str) -> None:
        self.session = session
        """The native session; for benchmarks, nothing else should need it."""
        self.options = options
        self.info = info
        self.reason = reason

    @classmethod
    def load(cls, path: Path, options: EngineOptions, progress: LoadProgress | None = None) -> LlamaEngine:
        """Check and load a model file.

        :raises EngineVersionError: another llama-cpp-python is installed than the one compiled against.
        :raises ModelNotFound: no such file.
        :raises ModelCorrupt: not a GGUF, or truncated.
        :raises ModelUnsupported: an architecture or a tokenizer that cannot be run.
        :raises OutOfMemory: weights and cache would not fit.
        """
        load_native()
        from coder_lsp.engine import _native as native

        facts = native.inspect_gguf(str(path))
        if not facts.architecture:
            raise ModelUnsupported(f"{path} states no model architecture", hint="choose a file that holds a model")
        measured = tuned.recall(path)
        resolved, reason = resolve(options, facts, measured)
        need = MemoryNeed.of(facts, resolved)
        need.check(path, hardware.memory())
        load_options = native.LoadOptions()
        load_options.path = str(path)
        load_options.context_tokens = resolved.context_tokens
        load_options.sequences = resolved.sequences
        load_options.threads = resolved.threads
        load_options.threads_batch = resolved.threads_batch
        load_options.kv_type = resolved.kv_type
        load_options.slice_tokens = resolved.slice_tokens
        load_options.use_mmap = resolved.use_mmap
        # Measured, 0.5B, slices of 128: prefill 4-8 % faster with it, decoding the same. It computes in half precision
        # whatever the cache holds, so an f32 cache, chosen for exactness, goes without.
        wanted = measured.flash_attention if measured else True
        load_options.flash_attention = wanted and resolved.kv_type != "f32"
        session = native.Session(load_options, progress)
        loaded = session.facts
        info = ModelInfo(
            path=str(path),
            description=loaded.description,
            architecture=loaded.architecture,
            parameters=loaded.parameters,
            size_bytes=loaded.size_bytes,
            vocab_size=loaded.vocab_size,
            train_context=loaded.train_context,
            recurrent=loaded.recurrent,
        )
        resolved = replace(resolved, context_tokens=loaded.context_tokens)
        log.info("engine=llama: %s; %s; needs about %d MiB", info.description, reason, need.total // 2**20)
        return cls(session, resolved, info, reason)

    # Vocabulary

    def tokenize(self, text: str) -> list[int]:
        return self.session.tokenize(_encodable(text))

    def special(self, text: str) -> int | None:
        return self.session.special(_encodable(text))

    def token_bytes(self, token: int) -> bytes:
        return self.session.token_bytes(token)

    @property
    def bos(self) -> int | None:
        return self.session.bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return frozenset(self.session.end_tokens)

    # Engine

    def new_cancel_token(self) -> CancelToken:
        from coder_lsp.engine import _native

        return _native.CancelToken()

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        """See :class:`~coder_lsp.engine.base.Engine`. The model's own end tokens always end the text.

        ``logprobs`` are of the model's distribution as it is: temperature 1, before forced bytes, top-k and top-p
        narrow it. Temperature comes first, then top-k, then top-p. After a deadline ``text`` may be shorter than what
        was streamed: it is cut to whole lines. A cancelled prefill reports what it evaluated, less than the prompt.
        Nothing is guessed for recurrent models, whose state cannot be rolled back.
        """
        result = self.session.generate(_native_request(request), on_text, _own(cancel))
        return Generation(
            text=result.text,
            finish_reason=FinishReason(result.finish.name),
            token_ids=tuple(result.token_ids),
            logprobs=tuple(result.logprobs),
            tokens=TokenCounts(
                prompt=result.prompt,
                reused=result.reused,
                evaluated=result.evaluated,
                generated=len(result.token_ids),
                passes=result.passes,
                drafted=result.drafted,
                accepted=result.accepted,
            ),
            timings_ms={
                "prompt": result.rollback_ms,
                "prefill": result.prefill_ms,
                "decode": result.decode_ms,
                "total": result.rollback_ms + result.prefill_ms + result.decode_ms,
            },
            sequence=result.sequence,
            runners_up=runners_up(result),
        )

    def prefill(self, tokens: Sequence[int], sequence: int | None = None, cancel: CancelToken | None = None) -> int:
        return self.session.prefill(list(tokens), sequence, _own(cancel))

    def adapt(self, adapters: Sequence[Adapter]) -> None:
        self.session.adapt([(each.path, each.version, each.scale) for each in adapters])

    def scores(self, tokens: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """What follows each of ``tokens``: (tokens, vocabulary), as the model gives it. Nothing of it is kept.

        :raises ContextOverflow: no token, or more than a sequence holds.
        """
        import numpy as np

        return np.frombuffer(self.session.score(list(tokens)), np.float32).reshape(len(tokens), -1)

    def history(self, sequence: int) -> tuple[int, ...]:
        return tuple(self.session.history(sequence))

    def clear(self, sequence: int) -> None:
        self.session.clear(sequence)

    def reusable(self, tokens: Sequence[int]) -> int:
        return self.session.reusable(list(tokens))

    def sequence_state(self, sequence: int) -> bytes:
        return self.session.state(sequence)

    def restore_sequence(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        return self.session.restore(sequence, list(tokens), state)

    def close(self) -> None:
        """Cancel what runs, wait for it, free the model. Any later call raises EngineError."""
        self.session.close()


class LlamaVocabulary:
    """The vocabulary of a GGUF file without its weights: for counting tokens where nothing is generated."""

    def __init__(self, vocabulary: _native.Vocabulary, architecture: str) -> None:
        self._vocabulary = vocabulary
        self.architecture = architecture

    @classmethod
    def load(cls, path: Path) -> LlamaVocabulary:
        """Half a second and some 50 MB, whatever the size of the model.

        :raises EngineVersionError, ModelNotFound, ModelCorrupt, ModelUnsupported: as :meth:`LlamaEngine.load`.
        """
        load_native()
        from coder_lsp.engine import _native as native

        facts = native.inspect_gguf(str(path))
        return cls(native.load_vocabulary(str(path)), facts.architecture)

    def tokenize(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(_encodable(text))

    def special(self, text: str) -> int | None:
        return self._vocabulary.special(_encodable(text))

    def token_bytes(self, token: int) -> bytes:
        return self._vocabulary.token_bytes(token)

    @property
    def bos(self) -> int | None:
        return self._vocabulary.bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return frozenset(self._vocabulary.end_tokens)


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes a model will take, estimated from its header before it is loaded."""

    weights: int
    cache: int
    compute: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute

    @staticmethod
    def of(facts: _native.GgufFacts, options: EngineOptions) -> MemoryNeed:
        layers = _dimension(facts, "block_count", 0)
        width = _dimension(facts, "embedding_length", 0)
        heads = max(1, _dimension(facts, "attention.head_count", 1))
        kv_heads = _dimension(facts, "attention.head_count_kv", heads)
        key = _dimension(facts, "attention.key_length", width // heads)
        value = _dimension(facts, "attention.value_length", width // heads)
        context = min(options.context_tokens, _dimension(facts, "context_length", options.context_tokens))
        cells = context * options.sequences
        element = KV_ELEMENT_BYTES.get(options.kv_type, 2.0)
        cache = int(cells * layers * kv_heads * (key + value) * element)
        # A slice's activations: a few buffers as wide as the feed-forward layer, in single precision.
        inner = max(_dimension(facts, "feed_forward_length", 4 * width), width)
        return MemoryNeed(facts.file_bytes, cache, FIXED_BYTES + options.slice_tokens * inner * 4 * 4)

    def check(self, path: Path, memory: hardware.Memory) -> None:
        if self.total <= memory.available_bytes:
            return
        raise OutOfMemory(
            f"{path.name} needs about {self.total / 2**30:.1f} GiB (weights {self.weights / 2**30:.1f}, "
            f"cache {self.cache / 2**30:.1f}), {memory.available_bytes / 2**30:.1f} GiB are available "
            f"({memory.reason})",
            hint="choose a smaller model, or lower engine.context_tokens or engine.sequences",
        )


def check_version() -> str:
    """The version of llama-cpp-python in use, the one compiled against; nothing native is loaded for it.

    :raises EngineVersionError: they differ: structures of another libllama would be misread.
    :raises EngineError: the native module is not there.
    """
    try:
        from coder_lsp.engine import _build_info
    except ImportError as error:
        raise EngineError("the native engine of coder-lsp is not built", hint=REINSTALL) from error
    compiled: str = _build_info.LLAMA_CPP_PYTHON_VERSION
    try:
        installed = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineVersionError(
            f"llama-cpp-python is not installed, the native engine was compiled against {compiled}",
            hint=f"pip install llama-cpp-python=={compiled}",
        ) from error
    if installed != compiled:
        raise EngineVersionError(
            f"llama-cpp-python {installed} is installed, the native engine was compiled against {compiled}",
            hint=f"pip install llama-cpp-python=={compiled}, or {REINSTALL}",
        )
    return compiled


def load_native() -> None:
    """Load the extension, once it is known to be the right one.

    :raises EngineVersionError, EngineError: see :func:`check_version`; or the libraries beside it are missing.
    """
    check_version()
    # The threads of a step wait for each other some 300 times a token. GNU OpenMP, which ggml is built with, spins for
    # milliseconds before it yields; next to a busy compiler that wastes the other thread's turn (measured on two cores
    # with two other processes: 2-9 tokens/s, with this 20-45). Read once, when the library is loaded below.
    # llama.cpp has a debugger, where there is one, look at a process that it ends: seconds, and frames in the log.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    try:
        importlib.import_module("coder_lsp.engine._native")
    except ImportError as error:
        raise EngineError(f"the native engine cannot be loaded: {error}", hint=REINSTALL) from error


def resolve(
    options: EngineOptions, facts: _native.GgufFacts, measured: Tuned | None = None
) -> tuple[EngineOptions, str]:
    """Options without zeros, and the reasons for what was chosen here. What was measured wins over what is usual."""
    cores = hardware.cores()
    reasons = []
    threads, threads_batch = options.threads, options.threads_batch
    if threads == 0 and measured:
        threads, threads_batch = measured.threads, threads_batch or measured.threads_batch
        reasons.append(f"{threads} threads (measured by doctor --tune)")
    elif threads == 0:
        threads = cores.count
        reasons.append(f"{threads} threads ({cores.reason})")
    threads_batch = threads_batch or threads
    slice_tokens = options.slice_tokens
    if slice_tokens == 0:
        slice_tokens = _slice_tokens(facts, options.context_tokens, threads_batch)
        reasons.append(f"slices of {slice_tokens} tokens (model size)")
    resolved = replace(options, threads=threads, threads_batch=threads_batch, slice_tokens=slice_tokens)
    return resolved, "GGUF on the CPU, " + (", ".join(reasons) or "as configured")


# Time one node of the graph may take, so that a cancelled call ends well within 50 ms, and what a core does (measured:
# 90 GFLOP/s with quantised weights on an AVX-512 server core; a laptop's does about half). Against whole batches of
# 512, slices of 256 cost the 0.5B model 0-2 % of its prefill speed, of 128 2-5 %, of 64 4-10 %.
NODE_SECONDS = 0.03
CORE_FLOPS = 60e9
SLICE_RANGE = (16, 256)


def _slice_tokens(facts: _native.GgufFacts, context_tokens: int, threads: int) -> int:
    """Prompt tokens in one graph, a multiple of 16: fewer for wide models, whose single products take longer."""
    width = max(1, _dimension(facts, "embedding_length", 1024))
    inner = _dimension(facts, "feed_forward_length", 4 * width)
    flops_of_token = 2.0 * width * max(inner, context_tokens)
    affordable = int(NODE_SECONDS * CORE_FLOPS * threads / flops_of_token)
    low, high = SLICE_RANGE
    return max(low, min(high, affordable // low * low))


def _dimension(facts: _native.GgufFacts, key: str, default: int) -> int:
    value: int = facts.numbers.get(f"{facts.architecture}.{key}", default)
    return value


def _encodable(text: str) -> str:
    """Lone surrogates, which editors can send and UTF-8 cannot carry, become ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def runners_up(generation: _native.Generation) -> tuple[RunnerUp, ...]:
    """Those of a native generation, as values that can be compared."""
    return tuple(RunnerUp(other.position, other.token, other.logprob) for other in generation.runners_up)


def _native_request(request: GenerateRequest) -> _native.Request:
    from coder_lsp.engine import _native

    native = _native.Request()
    native.tokens = list(request.tokens)
    native.forced = request.forced
    native.max_tokens = min(request.max_tokens, INT32_MAX)
    native.stop = [_encodable(stop) for stop in request.stop]
    native.stop_tokens = list(request.stop_tokens)
    native.deadline_ms = request.deadline_ms
    native.temperature = request.temperature
    native.top_k = min(request.top_k, INT32_MAX)
    native.top_p = request.top_p
    native.seed = request.seed & SEED_MASK
    native.sequence = request.sequence
    native.draft = request.draft
    native.hints = [list(hint) for hint in request.hints]
    native.least_logprob = request.least_logprob
    native.branching = request.branching
    return native


def _own(cancel: CancelToken | None) -> _native.CancelToken | None:
    from coder_lsp.engine import _native

    if cancel is None or isinstance(cancel, _native.CancelToken):
        return cancel
    raise EngineError(f"{type(cancel).__name__} is not a cancel token of this engine", hint="use new_cancel_token()")
