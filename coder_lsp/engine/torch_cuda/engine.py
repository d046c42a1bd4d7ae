"""The engine that runs GGUF files and hub folders with torch. See :class:`~coder_lsp.engine.base.Engine`.

It settles device, arithmetic and room before a weight is read, keeps the books of its sequences, and says token by
token what comes next; when a text ends is for ``engine.decoding`` to say. The vocabulary is that of the model's own
file: of a GGUF as the native engine reads it, so that token ids are the same in both.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.engine.base import EngineOptions, GenerateRequest, Generation, ModelInfo
from coder_lsp.engine.decoding import Reader, Reading, Step, read_steps
from coder_lsp.engine.sequences import Sequences, check_tokens, common
from coder_lsp.engine.text_stream import TextStream
from coder_lsp.engine.torch_cuda import device as devices
from coder_lsp.engine.torch_cuda import loading, sequence_state
from coder_lsp.engine.torch_cuda.adapters import Adapters
from coder_lsp.engine.torch_cuda.choosing import TokenBytes
from coder_lsp.engine.torch_cuda.writing import CLOSE, Work, Writer
from coder_lsp.engine.turns import EventCancel, Turns, own_cancel
from coder_lsp.errors import EngineError
from coder_lsp.types import FinishReason, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from coder_lsp.engine.base import CancelToken, LoadProgress, Vocabulary
    from coder_lsp.engine.torch_cuda.decoder import Source
    from coder_lsp.engine.torch_cuda.device import Place
    from coder_lsp.engine.torch_cuda.runner import Rows, Runner
    from coder_lsp.types import Adapter, TextSink

    Tensor = Any

log = logging.getLogger(__name__)


class TorchEngine:
    """One model, loaded. Make it with :meth:`load`, give its memory back with :meth:`close`."""

    name = "torch"

    def __init__(
        self, runner: Runner, vocabulary: Vocabulary, options: EngineOptions, info: ModelInfo, reason: str
    ) -> None:
        """``options`` as resolved."""
        self.runner = runner
        """For benchmarks, nothing else should need it."""
        self.options, self.info, self.reason = options, info, reason
        self._vocabulary = vocabulary
        self._tokens = TokenBytes([vocabulary.token_bytes(token) for token in range(info.vocab_size)])
        self._sequences = Sequences(options.sequences, options.context_tokens)
        self._adapters = Adapters(runner.decoder)
        self._turns = Turns()
        self._running: EventCancel | None = None

    @classmethod
    def load(cls, path: Path, options: EngineOptions, progress: LoadProgress | None = None) -> TorchEngine:
        """Check and load a GGUF file, or a folder with ``config.json`` and safetensors.

        :raises ModelNotFound, ModelCorrupt, ModelUnsupported: as the native engine; or torch cannot run it.
        :raises EngineError: no device that could be used.
        :raises OutOfMemory: weights and cache would not fit.
        """
        # First of all: whoever goes on with another engine has lost no time.
        place = devices.choose(options)
        source, vocabulary = loading.open_source(path), loading.open_vocabulary(path)
        return cls.of(source, vocabulary, options, place, path=str(path), progress=progress)

    @classmethod
    def check(cls, path: Path, options: EngineOptions) -> str:
        """Whether :meth:`load` would do it, without reading a weight: the reason that the engine would have.

        :raises ModelError, EngineError: as :meth:`load`.
        """
        place = devices.choose(options)
        source = loading.open_source(path)
        resolved = loading.resolve(options, source, place)
        devices.Need.of(source.shape, resolved, place.dtype).check(source.description, place)
        return loading.reason(place, resolved)

    @classmethod
    def of(
        cls,
        source: Source,
        vocabulary: Vocabulary,
        options: EngineOptions,
        place: Place,
        *,
        path: str = "",
        progress: LoadProgress | None = None,
    ) -> TorchEngine:
        """An engine on weights from anywhere."""
        shape = source.shape
        resolved = loading.resolve(options, source, place)
        need = devices.Need.of(shape, resolved, place.dtype)
        need.check(source.description, place)
        runner = loading.make_runner(source, resolved, place, progress or (lambda _: None))
        info = ModelInfo(
            path=path,
            description=source.description,
            architecture=shape.architecture,
            parameters=shape.parameters,
            size_bytes=source.bytes,
            vocab_size=shape.vocab_size,
            train_context=shape.train_context,
        )
        reason = loading.reason(place, resolved)
        log.info("engine=torch: %s; %s; needs about %d MiB", info.description, reason, need.total // 2**20)
        return cls(runner, vocabulary, resolved, info, reason)

    # Vocabulary

    def tokenize(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text)

    def special(self, text: str) -> int | None:
        return self._vocabulary.special(text)

    def token_bytes(self, token: int) -> bytes:
        check_tokens([token], self.info.vocab_size)
        return self._tokens.table[token]

    @property
    def bos(self) -> int | None:
        return self._vocabulary.bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return self._vocabulary.end_tokens

    # Engine

    def new_cancel_token(self) -> EventCancel:
        return EventCancel()

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        own = own_cancel(cancel)
        with self._turn(own):
            return self._generate(request, on_text, own)

    def generate_many(
        self,
        requests: Sequence[GenerateRequest],
        on_texts: Sequence[TextSink | None] | None = None,
        cancels: Sequence[CancelToken | None] | None = None,
    ) -> list[Generation]:
        """Several texts at once, for several windows: their prompts one after the other, then a step of all of them at
        a time, which reads the weights once. Each gets a sequence of its own and says what it would say alone; nothing
        is guessed. What a reader raises ends all of them.

        :raises EngineError: more requests than sequences.
        """
        if len(requests) > self.options.sequences:
            raise EngineError(
                f"{len(requests)} texts at once, and only {self.options.sequences} sequences",
                hint="raise engine.sequences",
            )
        own = [own_cancel(cancel) for cancel in cancels or [None] * len(requests)]
        whole = EventCancel()
        with self._turn(whole):
            for request in requests:
                self._check(request)
            texts: list[_Text] = []
            for request, on_text, cancel in zip(requests, on_texts or [None] * len(requests), own, strict=True):
                texts.append(self._begin(request, on_text, cancel, {text.sequence for text in texts}))
            try:
                self._write_all(texts, whole)
            finally:
                for text in texts:
                    self._drop_behind(text.sequence, text.request, text.writer.work)
            return [
                self._generation(text.request, text.evaluated, text.reader.reading, text.writer.work, text.times)
                for text in texts
            ]

    def prefill(self, tokens: Sequence[int], sequence: int | None = None, cancel: CancelToken | None = None) -> int:
        own = own_cancel(cancel)
        with self._turn(own):
            self._sequences.check_room(len(tokens))
            check_tokens(tokens, self.info.vocab_size)
            chosen = self._sequences.choose(tokens, sequence)
            if common(self._sequences.at(chosen), tokens) == len(tokens):
                return 0
            return self._evaluate(chosen, tokens, own).evaluated

    def adapt(self, adapters: Sequence[Adapter]) -> None:
        with self._turns.taken():
            wanted = tuple(adapters)
            if wanted == self._sequences.adapters:
                return
            if self._adapters.lay(wanted):
                self.runner.forget_graphs()
            self.runner.rank = self._adapters.rank
            self._sequences.adapters = wanted

    def history(self, sequence: int) -> tuple[int, ...]:
        self._turns.check_open()
        return tuple(self._sequences.held(sequence))

    def clear(self, sequence: int) -> None:
        self._turns.check_open()
        self._sequences.at(sequence).clear()

    def reusable(self, tokens: Sequence[int]) -> int:
        self._turns.check_open()
        return self._sequences.reusable(tokens)

    def sequence_state(self, sequence: int) -> bytes:
        with self._turns.taken():
            held = self._sequences.held(sequence)
            return sequence_state.save(self.runner.cache, sequence, held, self._kind()) if held else b""

    def restore_sequence(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        with self._turns.taken():
            history = self._sequences.at(sequence)
            fits = len(tokens) <= self.options.context_tokens and all(
                0 <= token < self.info.vocab_size for token in tokens
            )
            if not fits or not sequence_state.restore(self.runner.cache, sequence, tokens, state, self._kind()):
                return False
            history[:] = tokens
            self._sequences.take(sequence)
            return True

    def close(self) -> None:
        """Cancel what runs, wait for it, free the model. Any later call raises EngineError."""
        running = self._running
        if running is not None:
            running.cancel()
        with contextlib.suppress(EngineError), self._turns.taken():
            self.runner.release()
        self._turns.close()

    @contextlib.contextmanager
    def _turn(self, cancel: EventCancel) -> Iterator[None]:
        """A call that :meth:`close` can end."""
        with self._turns.taken():
            self._running = cancel
            try:
                yield
            finally:
                self._running = None

    def _kind(self) -> str:
        """What must be equal for the cells of one engine to be of use in another."""
        return repr(
            (
                self.info.description,
                self.info.size_bytes,
                self.runner.decoder.shape,
                self.options.precision,
                self.options.quantise,
                self._sequences.adapters,
            )
        )

    def _generate(self, request: GenerateRequest, on_text: TextSink | None, cancel: EventCancel) -> Generation:
        started = time.monotonic()
        self._check(request)
        chosen = self._sequences.choose(request.tokens, request.sequence)
        evaluated = self._evaluate(chosen, request.tokens, cancel, leave=1)
        evaluated_at = time.monotonic()
        reading, work = Reading(TextStream(request)), Work()
        if evaluated.scores is not None:
            writer = self._writer(request, chosen)
            work = writer.work
            steps = self._steps(writer, chosen, evaluated.scores, cancel)
            room = self.options.context_tokens - len(request.tokens)
            try:
                reading = read_steps(request, steps, room=room, on_text=on_text, cancel=cancel)
            finally:
                self._drop_behind(chosen, request, work)
        return self._generation(request, evaluated, reading, work, (started, evaluated_at, time.monotonic()))

    def _begin(self, request: GenerateRequest, on_text: TextSink | None, cancel: EventCancel, taken: set[int]) -> _Text:
        """One of several texts, its prompt evaluated. ``taken``: sequences of the others."""
        started = time.monotonic()
        chosen = self._sequences.choose(request.tokens, request.sequence)
        if chosen in taken:
            free = (each for each in range(self.options.sequences) if each not in taken)
            chosen = self._sequences.choose(request.tokens, next(free))
        evaluated = self._evaluate(chosen, request.tokens, cancel, leave=1)
        writer = self._writer(request, chosen, drafts=False)
        reader = Reader(request, room=self.options.context_tokens - len(request.tokens), on_text=on_text)
        text = _Text(request, chosen, evaluated, writer, reader, cancel, started, time.monotonic())
        if evaluated.scores is not None and not reader.ended:
            # The scores may be in memory that the next prompt writes to.
            writer.begin(evaluated.scores.clone())
        return text

    def _write_all(self, texts: list[_Text], whole: EventCancel) -> None:
        going = [text for text in texts if text.evaluated.scores is not None]
        while True:
            for text in going:
                text.take()
            going = [text for text in going if not text.reader.ended and not text.cancel.cancelled]
            if not going or whole.cancelled:
                return
            wanted: list[int | None] = [None] * self.options.sequences
            for text in going:
                wanted[text.sequence] = text.writer.wanted()[0]
            starts = [len(self._sequences.at(sequence)) for sequence in range(self.options.sequences)]
            rows = self.runner.step_all(wanted, starts)
            for text in going:
                row, token = rows[text.sequence], wanted[text.sequence]
                assert row is not None
                assert token is not None
                text.writer.evaluated([token], row, self._never)

    @staticmethod
    def _never(_token: int) -> Rows:
        raise AssertionError("a single token is no batch of guesses")

    def _check(self, request: GenerateRequest) -> None:
        if not request.tokens:
            raise EngineError("a prompt needs at least one token")
        self._sequences.check_room(len(request.tokens), more=1)
        for tokens in (request.tokens, *request.hints):
            check_tokens(tokens, self.info.vocab_size)

    def _writer(self, request: GenerateRequest, sequence: int, *, drafts: bool = True) -> Writer:
        return Writer(
            request,
            self._tokens,
            request.stop_tokens | self.end_tokens,
            self._sequences.at(sequence),
            context_tokens=self.options.context_tokens,
            close=CLOSE[self.runner.decoder.dtype],
            drafts=drafts,
        )

    def _steps(self, writer: Writer, sequence: int, scores: Tensor, cancel: EventCancel) -> Iterator[Step]:
        """The tokens of a text, each evaluated when the next one is asked for."""
        history = self._sequences.at(sequence)
        writer.begin(scores)
        while True:
            yield from writer.steps()
            if cancel.cancelled:
                return
            tokens = writer.wanted()
            rows = self.runner.step(sequence, tokens, len(history))
            writer.evaluated(tokens, rows, lambda token: self.runner.step(sequence, [token], len(history)))

    def _drop_behind(self, sequence: int, request: GenerateRequest, work: Work) -> None:
        """Guesses that were right may have been evaluated behind the end."""
        del self._sequences.at(sequence)[len(request.tokens) + work.taken :]

    @staticmethod
    def _generation(
        request: GenerateRequest, evaluated: _Evaluated, reading: Reading, work: Work, times: tuple[float, float, float]
    ) -> Generation:
        """``times``: when it began, when the prompt was evaluated, and now."""
        # A chosen end token is a place where the text could go on.
        end = len(reading.token_ids) + (reading.finish is FinishReason.STOP_TOKEN)
        started, evaluated_at, now = times
        return Generation(
            text=reading.text,
            finish_reason=reading.finish,
            token_ids=tuple(reading.token_ids),
            logprobs=tuple(reading.logprobs),
            tokens=TokenCounts(
                prompt=len(request.tokens),
                reused=evaluated.reused,
                evaluated=evaluated.evaluated,
                generated=len(reading.token_ids),
                passes=work.passes,
                drafted=work.drafted,
                accepted=work.accepted,
            ),
            timings_ms={
                "prompt": 0.0,
                "prefill": (evaluated_at - started) * 1e3,
                "decode": (now - evaluated_at) * 1e3,
                "total": (now - started) * 1e3,
            },
            sequence=evaluated.sequence,
            runners_up=tuple(other for other in work.runners_up if other.position < end),
        )

    def _evaluate(self, sequence: int, tokens: Sequence[int], cancel: EventCancel, leave: int = 0) -> _Evaluated:
        """Go back to what is shared and evaluate the rest, a slice at a time. ``leave``: so many tokens are evaluated
        in any case, and the scores behind the last one are there if it came to that.
        """
        history = self._sequences.at(sequence)
        reused = min(common(history, tokens), len(tokens) - leave)
        del history[reused:]
        scores = None
        while len(history) < len(tokens) and not cancel.cancelled:
            start = len(history)
            part = list(tokens[start : start + self.options.slice_tokens])
            last = bool(leave) and start + len(part) == len(tokens)
            if last and len(part) <= self.runner.cheap_step:
                scores = self.runner.step(sequence, part, start).scores[len(part) - 1 : len(part)]
            else:
                scores = self.runner.slice(sequence, part, start, last=last)
            history += part
        return _Evaluated(sequence, reused, len(history) - reused, None if scores is None else scores[0])


@dataclass(frozen=True)
class _Evaluated:
    """``scores`` (vocabulary) of what follows the prompt; None if it was not evaluated to its end."""

    sequence: int
    reused: int
    evaluated: int
    scores: Tensor | None


@dataclass
class _Text:
    """One of several texts that are written at once."""

    request: GenerateRequest
    sequence: int
    evaluated: _Evaluated
    writer: Writer
    reader: Reader
    cancel: EventCancel
    started: float
    evaluated_at: float
    ended_at: float = 0.0

    @property
    def times(self) -> tuple[float, float, float]:
        return self.started, self.evaluated_at, self.ended_at or time.monotonic()

    def take(self) -> None:
        """Read what is decided, unless it is cancelled."""
        for step in self.writer.steps():
            if self.cancel.cancelled or self.reader.ended:
                break
            self.reader.take(step)
        if self.reader.ended:
            self.ended_at = time.monotonic()
