"""The engine that runs GGUF files and hub folders with torch. See :class:`~coder_lsp.engine.base.Engine`.

It settles device, arithmetic and room before a weight is read, keeps the books of its sequences, and says token by
token what comes next; when a text ends is for ``engine.decoding`` to say. The vocabulary is that of the model's own
file: of a GGUF as the native engine reads it, so that token ids are the same in both.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.base import EngineOptions, GenerateRequest, Generation, ModelInfo
from coder_lsp.engine.decoding import Reading, Step, read_steps
from coder_lsp.engine.sequences import Sequences, check_tokens, common
from coder_lsp.engine.text_stream import TextStream
from coder_lsp.engine.torch_cuda import device as devices
from coder_lsp.engine.torch_cuda import sequence_state
from coder_lsp.engine.torch_cuda.adapters import Adapters
from coder_lsp.engine.torch_cuda.choosing import Choice, Chooser, TokenBytes, runners_up
from coder_lsp.engine.torch_cuda.decoder import SPARE_CELLS, Cache, Decoder
from coder_lsp.engine.torch_cuda.drafting import Drafter
from coder_lsp.engine.torch_cuda.runner import Runner
from coder_lsp.engine.turns import EventCancel, Turns, own_cancel
from coder_lsp.errors import EngineError, OutOfMemory
from coder_lsp.types import FinishReason, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from coder_lsp.engine.base import CancelToken, LoadProgress, RunnerUp, Vocabulary
    from coder_lsp.engine.torch_cuda.decoder import Source
    from coder_lsp.engine.torch_cuda.device import Place
    from coder_lsp.types import Adapter, TextSink

    Tensor = Any

log = logging.getLogger(__name__)

CPU_SLICE = 32
"""Prompt tokens between two looks at cancellation on a processor: some 0.2 s of a 0.5B model on two cores."""
CUDA_SLICES = ((3e9, 512), (10e9, 256), (float("inf"), 128))
"""(weights up to, tokens): some 5 ms each on a device with 400 TFLOP/s of real arithmetic."""
CLOSE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.25}
"""A score this little above the next one may fall otherwise where several tokens are computed together, since sums are
taken in another order. Such a choice is not left to a batch of guesses: its token is evaluated alone."""


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
        source, vocabulary = _of_folder(path) if path.is_dir() else _of_file(path)
        return cls.of(source, vocabulary, options, place, path=str(path), progress=progress)

    @classmethod
    def check(cls, path: Path, options: EngineOptions) -> str:
        """Whether :meth:`load` would do it, without reading a weight: the reason that the engine would have.

        :raises ModelError, EngineError: as :meth:`load`.
        """
        from coder_lsp.engine.torch_cuda.gguf_source import GgufSource
        from coder_lsp.engine.torch_cuda.hub_source import HubSource

        place = devices.choose(options)
        source = HubSource(path) if path.is_dir() else GgufSource(path)
        resolved = resolve(options, source, place)
        devices.Need.of(source.shape, resolved, place.dtype).check(source.description, place)
        return _reason(place, resolved)

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
        resolved = resolve(options, source, place)
        need = devices.Need.of(shape, resolved, place.dtype)
        need.check(source.description, place)
        told = progress or (lambda _: None)
        # Steps are compiled in the last part.
        weights_part = 0.7 if place.device.type == "cuda" else 1.0
        try:
            with torch.no_grad():
                decoder = Decoder(
                    source,
                    positions=resolved.context_tokens + SPARE_CELLS,
                    quantise=resolved.quantise,
                    dtype=place.dtype,
                    device=place.device,
                    progress=lambda share: told(weights_part * share),
                )
                cache = Cache(shape, resolved.sequences, resolved.context_tokens, place.dtype, place.device)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"{source.description} does not fit on {place.device}: {str(error).splitlines()[0]}",
                hint="lower engine.context_tokens or engine.sequences, or set engine.quantise = int8",
            ) from error
        runner = Runner(decoder, cache)
        runner.prepare(lambda share: told(weights_part + (1 - weights_part) * share))
        info = ModelInfo(
            path=path,
            description=source.description,
            architecture=shape.architecture,
            parameters=shape.parameters,
            size_bytes=source.bytes,
            vocab_size=shape.vocab_size,
            train_context=shape.train_context,
        )
        reason = _reason(place, resolved)
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
        tokens = list(request.tokens)
        if not tokens:
            raise EngineError("a prompt needs at least one token")
        self._sequences.check_room(len(tokens), more=1)
        check_tokens(tokens, self.info.vocab_size)
        for hint in request.hints:
            check_tokens(hint, self.info.vocab_size)
        chosen = self._sequences.choose(tokens, request.sequence)
        evaluated = self._evaluate(chosen, tokens, cancel, leave=1)
        evaluated_at = time.monotonic()
        reading, work = Reading(TextStream(request)), Work()
        if evaluated.scores is not None:
            steps = self._steps(request, chosen, evaluated.scores, cancel, work)
            room = self.options.context_tokens - len(tokens)
            try:
                reading = read_steps(request, steps, room=room, on_text=on_text, cancel=cancel)
            finally:
                # Guesses that were right may have been evaluated behind the end.
                del self._sequences.at(chosen)[len(tokens) + work.taken :]
        now = time.monotonic()
        # A chosen end token is a place where the text could go on.
        end = len(reading.token_ids) + (reading.finish is FinishReason.STOP_TOKEN)
        return Generation(
            text=reading.text,
            finish_reason=reading.finish,
            token_ids=tuple(reading.token_ids),
            logprobs=tuple(reading.logprobs),
            tokens=TokenCounts(
                prompt=len(tokens),
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
            sequence=chosen,
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
            part = tokens[start : start + self.options.slice_tokens]
            last = bool(leave) and start + len(part) == len(tokens)
            if last and len(part) == 1:
                scores = self.runner.step(sequence, part, start).scores[:1]
            else:
                scores = self.runner.slice(sequence, part, start, last=last)
            history += part
        return _Evaluated(reused, len(history) - reused, None if scores is None else scores[0])

    def _steps(
        self, request: GenerateRequest, sequence: int, scores: Tensor, cancel: EventCancel, work: Work
    ) -> Iterator[Step]:
        """The tokens of a text, each evaluated when the next one is asked for."""
        history = self._sequences.at(sequence)
        ends = request.stop_tokens | self.end_tokens
        chooser = Chooser(request, self._tokens)
        drafter = None
        if request.draft and chooser.greedy:
            drafter = Drafter(
                request.tokens, request.hints, lambda token: token in ends or not self._tokens.table[token]
            )
        owed = request.forced
        decided = [(chooser.choose(scores, owed), scores)]
        while True:
            for choice, row in decided:
                if not owed and work.noted < request.branching:
                    self._note_runners_up(work, choice, row, ends)
                data = self._tokens.table[choice.token]
                work.taken += 1
                yield Step(choice.token, data, choice.logprob, choice.token in ends)
                owed = owed[len(data) :]
                if drafter is not None:
                    drafter.append(choice.token)
            if cancel.cancelled:
                return
            token = decided[-1][0].token
            guessed: list[int] = []
            if drafter is not None and not owed:
                room = self.options.context_tokens - len(history) - 1
                guessed = drafter.guess(min(request.max_tokens - work.taken, room) - 1)
            decided = self._decide(sequence, [token, *guessed], chooser, owed, work)
            if drafter is not None and guessed:
                drafter.learn(len(guessed), len(decided) - 1)

    def _decide(
        self, sequence: int, tokens: list[int], chooser: Chooser, owed: bytes, work: Work
    ) -> list[tuple[Choice, Tensor]]:
        """Evaluate a token with guesses of what follows it; what really follows, as far as the guesses were right."""
        history = self._sequences.at(sequence)
        rows = self.runner.step(sequence, tokens, len(history))
        work.passes += 1
        work.drafted += len(tokens) - 1
        if owed or not chooser.greedy:
            history.append(tokens[0])
            return [(chooser.choose(rows.scores[0], owed), rows.scores[0])]
        decided: list[tuple[Choice, Tensor]] = []
        for at, token in enumerate(tokens):
            if decided and decided[-1][0].token != token:
                break
            history.append(token)
            if len(tokens) > 1 and rows.margins[at] < CLOSE[self.runner.decoder.dtype]:
                # The scores of the others are in memory that the next step writes to.
                decided = [(choice, row.clone()) for choice, row in decided]
                alone = self.runner.step(sequence, [token], len(history) - 1)
                work.passes += 1
                decided.append((Choice(alone.chosen[0], alone.logprobs[0]), alone.scores[0]))
                break
            decided.append((Choice(rows.chosen[at], rows.logprobs[at]), rows.scores[at]))
        work.accepted += len(decided) - 1
        return decided

    def _note_runners_up(self, work: Work, choice: Choice, row: Tensor, ends: frozenset[int]) -> None:
        work.noted += 1

        def wanted(token: int) -> bool:
            return token != choice.token and token not in ends and bool(self._tokens.table[token])

        work.runners_up += runners_up(row, work.taken, wanted)


def _of_folder(folder: Path) -> tuple[Source, Vocabulary]:
    from coder_lsp.engine.hub_vocabulary import HubVocabulary
    from coder_lsp.engine.torch_cuda.hub_source import HubSource

    return HubSource(folder), HubVocabulary.load(folder)


def _of_file(path: Path) -> tuple[Source, Vocabulary]:
    from coder_lsp.engine.llama import LlamaVocabulary
    from coder_lsp.engine.torch_cuda.gguf_source import GgufSource

    return GgufSource(path), LlamaVocabulary.load(path)


def _reason(place: Place, options: EngineOptions) -> str:
    quantised = f", weights as {options.quantise}" if options.quantise != "none" else ""
    return f"{place.reason}, {options.precision}{quantised}"


def resolve(options: EngineOptions, source: Source, place: Place) -> EngineOptions:
    """Options without zeros."""
    shape = source.shape
    threads = options.threads or torch.get_num_threads()
    slice_tokens = options.slice_tokens
    if slice_tokens == 0 and place.device.type == "cpu":
        slice_tokens = CPU_SLICE
    elif slice_tokens == 0:
        slice_tokens = next(tokens for weights, tokens in CUDA_SLICES if shape.product_weights <= weights)
    return replace(
        options,
        kind="torch",
        device=str(place.device),
        precision=place.precision,
        context_tokens=min(options.context_tokens or shape.train_context, shape.train_context),
        sequences=options.sequences or 3,
        threads=threads,
        threads_batch=options.threads_batch or threads,
        slice_tokens=slice_tokens,
    )


@dataclass
class Work:
    """What a generation took, and what it noted on its way. ``taken``: tokens that were given out as steps."""

    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    taken: int = 0
    noted: int = 0
    runners_up: list[RunnerUp] = field(default_factory=list)


@dataclass(frozen=True)
class _Evaluated:
    """``scores`` (vocabulary) of what follows the prompt; None if it was not evaluated to its end."""

    reused: int
    evaluated: int
    scores: Tensor | None
