"""The engine that lets a server complete: vLLM, SGLang, TGI, llama.cpp, Ollama, or whatever speaks as they do.

Keeps the contract of every engine with what a server offers. Tokens are pieces of text (``engine.text_vocabulary``),
since the server's own are far away; it counts its own, and those counts are reported where it tells them. The cache is
the server's: what a sequence "holds" is what was sent last and is probably there still. States of sequences are not to
be had, and there is one sequence, so that nothing is read ahead on a machine that others wait for.

A healed token is forced by the server's grammar where it has one; the answer is read as it comes, and if it begins with
something else all the same the question is put again behind the forced bytes. Cancelling closes the connection.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coder_lsp.engine.base import EngineOptions, GenerateRequest, Generation, ModelInfo
from coder_lsp.engine.decoding import Step, read_steps
from coder_lsp.engine.remote_conversation import Conversation
from coder_lsp.engine.remote_dialects import EXTRA, MARKS, MIDDLE, PREFIX, SUFFIX, Asked, Event
from coder_lsp.engine.remote_limits import Breaker, RateLimit
from coder_lsp.engine.remote_server import adapter_names, dialect_for, is_control, look, writes_prompts
from coder_lsp.engine.remote_wire import Address, Wire
from coder_lsp.engine.sequences import Sequences, common
from coder_lsp.engine.text_vocabulary import TextVocabulary, token_of
from coder_lsp.engine.turns import EventCancel, Turns, own_cancel
from coder_lsp.errors import EngineError, ModelNotFound, ModelUnsupported, RemoteError
from coder_lsp.types import FinishReason, TokenCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.config import RemoteConfig
    from coder_lsp.engine.base import CancelToken
    from coder_lsp.engine.decoding import Reading
    from coder_lsp.engine.remote_dialects import Dialect
    from coder_lsp.engine.remote_server import Server
    from coder_lsp.types import Adapter, TextSink

log = logging.getLogger(__name__)

ENDS = ("<|endoftext|>", "<|im_end|>", "<|EOT|>", "<｜end▁of▁sentence｜>", "</s>", "<eos>", "<end_of_turn>")
"""Spellings that end a text in any family; the server ends by its model's own besides."""
_CONTEXT_TOKENS = 4096


@dataclass(frozen=True)
class Formats:
    """What is known of the control tokens that models have: ``of_model`` gives those of a model of that name, empty if
    its format is not known; ``spellings`` are those of all formats. ``fits``: whether the text around a gap can be
    written with these of them.
    """

    of_model: Callable[[str], Sequence[str]]
    spellings: Sequence[str]
    fits: Callable[[Sequence[str]], bool] = bool


class RemoteEngine:
    """One model on one server. Make it with :meth:`connect`."""

    name = "remote"

    def __init__(
        self, wire: Wire, config: RemoteConfig, server: Server, dialect: Dialect, controls: Sequence[str]
    ) -> None:
        self.server = server
        self.dialect = dialect
        self.controls = tuple(controls)
        """Spellings of the control tokens that a prompt may have."""
        self._wire = wire
        self._vocabulary = TextVocabulary(controls, [spelling for spelling in ENDS if spelling in controls])
        self._breaker = Breaker()
        self._rate = RateLimit(config.per_minute)
        self._timeout_ms = config.timeout_ms
        self._turns = Turns()
        room = server.context_tokens or _CONTEXT_TOKENS
        self.options = EngineOptions(
            context_tokens=room, sequences=1, kind="remote", threads=1, threads_batch=1, slice_tokens=room, draft=False
        )
        self._sequences = Sequences(1, room)
        self._model = server.model
        self._loras = self._own_loras()
        self.reason = f"{server.describe()} at {wire.address.origin}, asked as {dialect.name}"
        self.info = ModelInfo(
            path=wire.address.origin,
            description=server.describe(),
            architecture="",
            parameters=0,
            size_bytes=0,
            vocab_size=0,
            train_context=room,
        )

    @classmethod
    def connect(cls, config: RemoteConfig, key: str, formats: Formats) -> RemoteEngine:
        """Find out what is at the configured address, and how to ask it.

        :raises RemoteError: it cannot be reached, or does not let us in.
        :raises ConfigError: the address is none.
        """
        wire = Wire(Address(config.url.rstrip("/").removesuffix("/v1"), key), config)
        try:
            server = look(wire, config)
            named = formats.of_model(server.model)
            asked = {spelling: is_control(wire, server, spelling) for spelling in named or formats.spellings}
            # Those that nobody can be asked about are believed where the format is known, and there alone.
            found = [spelling for spelling, there in asked.items() if there or (there is None and named)]
            known = formats.fits(found) or not writes_prompts(wire, server)
            dialect = dialect_for(server, config.protocol, known_format=known)
        except BaseException:
            wire.close()
            raise
        engine = cls(wire, config, server, dialect, MARKS if dialect.writes_prompt else found)
        log.info("engine=remote: %s", engine.reason)
        return engine

    # Vocabulary

    def tokenize(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text)

    def special(self, text: str) -> int | None:
        return self._vocabulary.special(text)

    def token_bytes(self, token: int) -> bytes:
        return self._vocabulary.token_bytes(token)

    @property
    def bos(self) -> int | None:
        return None

    @property
    def end_tokens(self) -> frozenset[int]:
        return self._vocabulary.end_tokens

    # Engine

    @property
    def unreachable(self) -> RemoteError | None:
        """Why nobody is asked at the moment; None while all is well."""
        return self._breaker.last

    def new_cancel_token(self) -> EventCancel:
        return EventCancel()

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        """See :class:`~coder_lsp.engine.base.Engine`. ``token_ids`` are pieces as they came, one logprob each.

        :raises RemoteError: the server cannot, or broke off; text that came before was streamed.
        """
        started = time.monotonic()
        with self._turns.taken():
            own = own_cancel(cancel)
            tokens = self._checked(request)
            asked = self._asked(request, tokens)
            self._rate.enter()
            self._breaker.enter()
            conversation = Conversation(self._wire, self.dialect, own, self._timeout_ms)
            try:
                with own.calling(conversation.hang_up), conversation:
                    steps = self._steps(asked, conversation)
                    room = self.options.context_tokens - len(tokens)
                    if request.max_tokens <= 0:
                        # It is to be read, not gone on with: the answer tells that it was.
                        _exhaust(steps)
                    reading = read_steps(request, steps, room=room, on_text=on_text, cancel=own)
            except RemoteError as error:
                self._breaker.failed(error)
                raise
            except BaseException:
                self._breaker.left()
                raise
            if conversation.first_at is None and own.cancelled:
                # Overtaken by the next key, or by who stands in: that is no fault, and no sign of life.
                self._breaker.left()
            else:
                self._breaker.succeeded()
            return self._generation(reading, tokens, conversation, started)

    def prefill(self, tokens: Sequence[int], sequence: int | None = None, cancel: CancelToken | None = None) -> int:
        """Have the server read ``tokens``; how many were new as far as is known here."""
        self._turns.check_open()
        self._sequences.check_room(len(tokens))
        new = len(tokens) - common(self._sequences.held(sequence or 0), tokens)
        if new:
            self.generate(GenerateRequest(tokens, max_tokens=0, sequence=sequence), None, cancel)
        return new

    def adapt(self, adapters: Sequence[Adapter]) -> None:
        """Ask for these from now on. On a server an adapter is found by the name of its file, or of its folder.

        :raises ModelNotFound: the server has none of that name.
        :raises ModelUnsupported: it takes no adapters a request, or not these together.
        """
        with self._turns.taken():
            wanted = [each for each in adapters if each.scale]
            if self.server.loras:
                self._loras = self._numbered(wanted) if adapters else self._own_loras()
            else:
                self._model = self._served_as(wanted)
            self._sequences.adapters = tuple(adapters)

    def history(self, sequence: int) -> tuple[int, ...]:
        """What was sent last; the server probably still holds it."""
        self._turns.check_open()
        return tuple(self._sequences.held(sequence))

    def clear(self, sequence: int) -> None:
        self._turns.check_open()
        self._sequences.at(sequence).clear()

    def reusable(self, tokens: Sequence[int]) -> int:
        self._turns.check_open()
        return self._sequences.reusable(tokens)

    def sequence_state(self, sequence: int) -> bytes:
        """Nothing: the cache is the server's."""
        self.history(sequence)
        return b""

    def restore_sequence(self, sequence: int, tokens: Sequence[int], state: bytes) -> bool:
        del tokens, state
        self.history(sequence)
        return False

    def close(self) -> None:
        self._turns.close()
        self._wire.close()

    def _checked(self, request: GenerateRequest) -> list[int]:
        tokens = list(request.tokens)
        if not tokens:
            raise EngineError("a prompt needs at least one token")
        self._sequences.check_room(len(tokens), more=1)
        for token in [*tokens, *(token for hint in request.hints for token in hint)]:
            self._vocabulary.token_bytes(token)
        self._sequences.at(request.sequence or 0)
        return tokens

    def _asked(self, request: GenerateRequest, tokens: Sequence[int]) -> Asked:
        """The request in the form that the dialect takes."""
        vocabulary = self._vocabulary
        stops = sorted(filter(None, map(vocabulary.spelling, request.stop_tokens | vocabulary.end_tokens)))
        asked = Asked(request, model=self._model, loras=self._loras)
        if not self.dialect.writes_prompt:
            return replace(asked, prompt=vocabulary.prompt(tokens), stops=tuple(stops))
        files: list[tuple[str, str]] = []
        texts = {PREFIX: "", SUFFIX: "", MIDDLE: ""}
        mark = PREFIX
        for piece in vocabulary.pieces(tokens):
            if isinstance(piece, int):
                mark = vocabulary.spelling(piece) or PREFIX
            elif mark == EXTRA:
                path, _, text = piece.partition("\n")
                files.append((path, text))
            else:
                texts[mark] += piece
        return replace(asked, files=tuple(files), prefix=texts[PREFIX], suffix=texts[SUFFIX], middle=texts[MIDDLE])

    def _steps(self, asked: Asked, conversation: Conversation) -> Iterator[Step]:
        forced = asked.request.forced
        ends = asked.request.stop_tokens | self.end_tokens
        events = self._beginning_with(forced, asked, conversation) if forced else conversation.ask(asked)
        for event in events:
            data, is_end = self._vocabulary.before_control(event.data)
            if data:
                token = token_of(data)
                yield Step(token, data, event.logprob, token in ends)
            if is_end:
                return

    def _beginning_with(self, forced: bytes, asked: Asked, conversation: Conversation) -> Iterator[Event]:
        """An answer that begins with ``forced``: the server's own if it does, else one asked for behind these bytes.

        Looked at in either case: versions of a server that do not know a constraint ignore it without a word.
        """
        text = _as_text(forced)
        events = conversation.ask(replace(asked, forced=text) if self.dialect.forces else asked)
        said = b""
        for event in events:
            said += event.data
            if said.startswith(forced):
                yield replace(event, data=said)
                yield from events
                return
            if not forced.startswith(said):
                break
        conversation.hang_up()
        if asked.request.max_tokens <= 0 or conversation.cancelled:
            return
        yield Event(forced)
        if self.dialect.writes_prompt:
            again = replace(asked, middle=asked.middle + text)
        else:
            again = replace(asked, prompt=self._vocabulary.prompt([*asked.request.tokens, token_of(forced)]))
        yield from conversation.ask(again)

    def _generation(
        self, reading: Reading, tokens: list[int], conversation: Conversation, started: float
    ) -> Generation:
        ended = time.monotonic()
        first = conversation.first_at or ended
        finish = reading.finish
        if finish is FinishReason.STOP_TOKEN and conversation.too_long:
            finish = FinishReason.LENGTH
        history = self._sequences.at(0)
        believed = common(self._sequences.held(0), tokens)
        self._sequences.choose(tokens, 0)
        history[:] = [*tokens, *reading.token_ids]
        prompt = conversation.prompt if conversation.prompt is not None else len(tokens)
        reused = conversation.cached if conversation.cached is not None else min(believed, prompt)
        generated = len(reading.token_ids)
        return Generation(
            text=reading.text,
            finish_reason=finish,
            token_ids=tuple(reading.token_ids),
            logprobs=tuple(reading.logprobs),
            tokens=TokenCounts(
                prompt=prompt,
                reused=reused,
                evaluated=prompt - reused if conversation.first_at else 0,
                generated=generated,
                passes=max(0, generated - (finish is not FinishReason.STOP_TOKEN)),
            ),
            timings_ms={
                "prompt": 0.0,
                "prefill": (first - started) * 1e3,
                "decode": (ended - first) * 1e3,
                "total": (ended - started) * 1e3,
            },
            sequence=0,
        )

    def _numbered(self, adapters: Sequence[Adapter]) -> tuple[tuple[int, float], ...]:
        """A server's own numbers of adapters with their scales; those not wanted count nothing."""
        scales = {lora.number: 0.0 for lora in self.server.loras}
        for adapter in adapters:
            names = adapter_names(adapter.path)
            found = next((lora for lora in self.server.loras if lora.stem in names), None)
            if found is None:
                raise _no_adapter(names[0], [lora.stem for lora in self.server.loras])
            scales[found.number] += adapter.scale
        return tuple(scales.items())

    def _own_loras(self) -> tuple[tuple[int, float], ...]:
        """As the server has them by itself. Said each time: left out, those of the request before may still count."""
        return tuple((lora.number, lora.scale) for lora in self.server.loras)

    def _served_as(self, adapters: Sequence[Adapter]) -> str:
        """The name of a model that is the server's with this adapter over it."""
        if not adapters:
            return self.server.model
        served = [each.name for each in self.server.models if each.parent]
        names = adapter_names(adapters[0].path)
        found = next((name for name in served if name in names), None)
        if found is None:
            raise _no_adapter(names[0], served)
        if len(adapters) > 1 or adapters[0].scale != 1.0:
            raise ModelUnsupported(
                f"{self.server.kind} lays one adapter over a model, as strong as it is",
                hint="merge them into one (coder-lsp train export --merge), or leave out the scale",
            )
        return found


def _exhaust(steps: Iterator[Step]) -> None:
    for _ in steps:
        pass


def _as_text(forced: bytes) -> str:
    """:raises EngineError: part of a character, which text cannot carry."""
    try:
        return forced.decode("utf-8")
    except UnicodeDecodeError:
        raise EngineError("part of a character cannot be forced on a server") from None


def _no_adapter(name: str, served: Sequence[str]) -> ModelNotFound:
    shown = ", ".join(served[:8]) or "none"
    return ModelNotFound(
        f"the server has no adapter {name!r}", hint=f"it has {shown}; start it with yours, or leave engine.loras empty"
    )
