"""An engine without a model: it says what a script tells it. For tests, here and in packages that build on this one.

Keeps the whole contract of :class:`~coder_lsp.engine.base.Engine` (reuse, forced bytes, stop strings, deadlines,
cancellation, streaming) at any speed one likes, and can be made to fail. Its vocabulary is the 256 bytes and the
special tokens of Qwen2.5-Coder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from coder_lsp.engine.base import CancelToken, EngineOptions, GenerateRequest, Generation, ModelInfo
from coder_lsp.engine.decoding import Reading, Step, read_steps
from coder_lsp.engine.sequences import Sequences, check_tokens, common
from coder_lsp.engine.text_stream import TextStream
from coder_lsp.engine.turns import EventCancel, Turns, own_cancel
from coder_lsp.errors import EngineError
from coder_lsp.types import FinishReason, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coder_lsp.engine.base import RunnerUp
    from coder_lsp.types import Adapter, TextSink

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
END_TOKENS = ("<|endoftext|>", "<|im_end|>")

Reply = str | bytes | Callable[[GenerateRequest], str | bytes]
"""What comes after the forced bytes: fixed, or made from the request. Bytes need not be UTF-8."""


class ScriptedEngine:
    """Says ``reply``, one byte a token, then its end token.

    ``requests`` collects what was asked. ``fail_with`` is raised by each generation, after ``fail_after`` tokens.
    The seconds make it slow: for each token decoded, and for each prompt token evaluated. ``logprob`` is that of each
    token, and ``runners_up`` those of each generation. It knows its text, so it never drafts.
    """

    name = "scripted"
    reason = "a script, no model"

    def __init__(
        self,
        reply: Reply = "",
        *,
        decode_seconds: float = 0.0,
        prefill_seconds: float = 0.0,
        fail_with: Exception | None = None,
        fail_after: int = 0,
        logprob: float = 0.0,
        runners_up: Sequence[RunnerUp] = (),
        options: EngineOptions | None = None,
        special_tokens: Sequence[str] = SPECIAL_TOKENS,
        bos: str | None = None,
    ) -> None:
        self.reply = reply
        self.decode_seconds = decode_seconds
        self.prefill_seconds = prefill_seconds
        self.fail_with = fail_with
        self.fail_after = fail_after
        self.logprob = logprob
        self.runners_up = tuple(runners_up)
        self.requests: list[GenerateRequest] = []
        self.options = replace(options or EngineOptions(), threads=1, threads_batch=1, slice_tokens=1)
        self._special = {text: 256 + i for i, text in enumerate(special_tokens)}
        self._bos = self._special[bos] if bos is not None else None
        self._sequences = Sequences(self.options.sequences, self.options.context_tokens)
        self._turns = Turns()
        self.info = ModelInfo(
            path="",
            description="scripted",
            architecture="scripted",
            parameters=0,
            size_bytes=0,
            vocab_size=256 + len(self._special),
            train_context=self.options.context_tokens,
        )

    # Vocabulary

    def tokenize(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def special(self, text: str) -> int | None:
        return self._special.get(text)

    def token_bytes(self, token: int) -> bytes:
        check_tokens([token], self.info.vocab_size)
        return bytes([token]) if token < 256 else b""

    @property
    def bos(self) -> int | None:
        return self._bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return frozenset(self._special[text] for text in END_TOKENS if text in self._special)

    # Engine

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """What lies over the model now."""
        return self._sequences.adapters

    def new_cancel_token(self) -> EventCancel:
        return EventCancel()

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        started = time.monotonic()
        with self._turns.taken():
            self.requests.append(request)
            return self._generate(request, on_text, own_cancel(cancel), started)

    def prefill(self, tokens: Sequence[int], sequence: int | None = None, cancel: CancelToken | None = None) -> int:
        with self._turns.taken():
            self._sequences.check_room(len(tokens))
            check_tokens(tokens, self.info.vocab_size)
            chosen = self._sequences.choose(tokens, sequence)
            if common(self._sequences.at(chosen), tokens) == len(tokens):
                return 0
            return self._evaluate(chosen, tokens, own_cancel(cancel))[1]

    def adapt(self, adapters: Sequence[Adapter]) -> None:
        with self._turns.taken():
            self._sequences.adapters = tuple(adapters)

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
        held = self.history(sequence)
        return _state(held, self.adapters) if held else b""

    def restore_sequence(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        self._turns.check_open()
        history = self._sequences.at(sequence)
        if not tokens or len(tokens) > self.options.context_tokens or state != _state(tokens, self.adapters):
            return False
        history[:] = tokens
        self._sequences.take(sequence)
        return True

    def close(self) -> None:
        self._turns.close()

    def _generate(
        self, request: GenerateRequest, on_text: TextSink | None, cancel: EventCancel, started: float
    ) -> Generation:
        tokens = list(request.tokens)
        if not tokens:
            raise EngineError("a prompt needs at least one token")
        self._sequences.check_room(len(tokens), more=1)
        check_tokens(tokens, self.info.vocab_size)
        for hint in request.hints:
            check_tokens(hint, self.info.vocab_size)
        chosen = self._sequences.choose(tokens, request.sequence)
        reused, evaluated = self._evaluate(chosen, tokens, cancel, leave=1)
        evaluated_at = time.monotonic()
        reading = Reading(TextStream(request))
        if reused + evaluated == len(tokens):
            room = self.options.context_tokens - len(tokens)
            reading = read_steps(request, self._steps(request, cancel), room=room, on_text=on_text, cancel=cancel)
            # The last token is chosen, but not evaluated: nothing asked for what follows it.
            self._sequences.at(chosen).extend(reading.token_ids[:-1])
        now = time.monotonic()
        generated = len(reading.token_ids)
        return Generation(
            text=reading.text,
            finish_reason=reading.finish,
            token_ids=tuple(reading.token_ids),
            logprobs=tuple(reading.logprobs),
            tokens=TokenCounts(
                prompt=len(tokens),
                reused=reused,
                evaluated=evaluated,
                generated=generated,
                # The first token is the prompt's; the last one is evaluated only where the next one turned out to end.
                passes=max(0, generated - (reading.finish is not FinishReason.STOP_TOKEN)),
            ),
            timings_ms={
                "prompt": 0.0,
                "prefill": (evaluated_at - started) * 1e3,
                "decode": (now - evaluated_at) * 1e3,
                "total": (now - started) * 1e3,
            },
            sequence=chosen,
            runners_up=self.runners_up if request.branching and reading.paid and generated else (),
        )

    def _steps(self, request: GenerateRequest, cancel: EventCancel) -> Iterator[Step]:
        ends = request.stop_tokens | self.end_tokens
        for count, token in enumerate(self._script(request)):
            if self.decode_seconds:
                cancel.wait(self.decode_seconds)
            if self.fail_with is not None and count >= self.fail_after and not cancel.cancelled:
                raise self.fail_with
            yield Step(token, self.token_bytes(token), self.logprob, token in ends)

    def _script(self, request: GenerateRequest) -> Iterator[int]:
        reply = self.reply(request) if callable(self.reply) else self.reply
        yield from request.forced
        yield from reply.encode() if isinstance(reply, str) else reply
        while True:
            yield min(self.end_tokens, default=0)

    def _evaluate(self, sequence: int, tokens: Sequence[int], cancel: EventCancel, leave: int = 0) -> tuple[int, int]:
        """Roll back to what is shared, evaluate the rest; how many were reused and evaluated."""
        history = self._sequences.at(sequence)
        reused = min(common(history, tokens), len(tokens) - leave)
        del history[reused:]
        for token in tokens[reused:]:
            if cancel.cancelled:
                break
            if self.prefill_seconds:
                cancel.wait(self.prefill_seconds)
            history.append(token)
        return reused, len(history) - reused


def _state(tokens: Sequence[int], adapters: tuple[Adapter, ...]) -> bytes:
    return b"scripted %s " % repr(adapters).encode() + b",".join(b"%d" % token for token in tokens)
