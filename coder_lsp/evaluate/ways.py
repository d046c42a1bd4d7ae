"""Two ways to have a gap filled: as shipped, and by the model called plainly, as the papers' scripts call theirs.

*Shipped* is the path of an editor's request: gate, shape, the host's prompt with its anchor, post-processing. *Plain*
is the template's bare prompt and what comes until the model ends it; :meth:`Plain.go_on` leaves the template out and
continues from left to right. Both are greedy and have no deadline, so a slow machine writes the
same as a fast one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from coder_lsp.completion.service import CompletionService
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.evaluate.exact import Given
from coder_lsp.prompt.templates import BoundTemplate, Control, Slot, Text, bind
from coder_lsp.types import CompletionRequest, Trigger

if TYPE_CHECKING:
    from coder_lsp.config import Config
    from coder_lsp.engine.base import Engine
    from coder_lsp.models.store import InstalledModel
    from coder_lsp.types import Adapter, FimBackend, Snippet

SHIPPED, PLAIN, CURSOR = "shipped", "plain", "cursor"


@dataclass(frozen=True)
class Place:
    """A gap between two texts of a file. ``one_line``: what comes behind the first line is not wanted.

    ``bare``: both texts as the set's own script shows them to a model, where that is something else. It matters: with
    the line ends around the gap and without them, the default model fills 16 and 19 of 28 of SantaCoder's lines.
    """

    name: str
    path: str
    language: str
    prefix: str = field(repr=False)
    suffix: str = field(repr=False)
    snippets: tuple[Snippet, ...] = field(default=(), repr=False)
    one_line: bool = False
    bare: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Written:
    """What was put into a gap. ``taken``: so many characters after the cursor it replaces. ``reason``: why nothing."""

    text: str
    taken: int = 0
    reason: str = ""
    prompt_tokens: int = 0
    context_tokens: int = 0
    ms: float = 0.0


class Way(Protocol):
    """``name`` tells the samples of one way from those of another, ``settings`` those made under other settings."""

    name: str
    settings: str

    async def fill(self, place: Place, max_tokens: int) -> Written: ...


class Shipped:
    """Through :class:`CompletionService`, with the snippets of the place for its context and nothing of the user's
    own wishes: what they exclude or have switched off has nothing to do with a task.
    """

    name = SHIPPED

    def __init__(self, backend: FimBackend, config: Config, adapters: tuple[Adapter, ...] = ()) -> None:
        config = measuring(config)
        self.settings = repr((config.prompt, config.completion, config.engine.kv_type, adapters))
        self._given = Given()
        self._service = CompletionService(backend, config, self._given, adapters_of=lambda _: lambda _: adapters)

    async def close(self) -> None:
        """End what still runs; the backend is left alone."""
        await self._service.close()

    async def fill(self, place: Place, max_tokens: int) -> Written:
        self._given.snippets = place.snippets
        request = CompletionRequest(
            # The host remembers where it anchored a document: each place is one of its own.
            uri=f"file:///evaluation/{place.name}/{place.path}",
            text=place.prefix + place.suffix,
            cursor=len(place.prefix),
            language=place.language,
            path=place.path,
            trigger=Trigger.INVOKED,
            patient=True,
            max_tokens=max_tokens,
        )
        began = time.perf_counter()
        outcome = await self._service.complete(request)
        ms = (time.perf_counter() - began) * 1000
        result = outcome.result
        text, taken = "", 0
        if outcome.suggestions:
            suggestion = outcome.suggestions[0]
            # What it repeats from before the cursor is no part of the gap.
            text = suggestion.text[max(0, request.cursor - suggestion.start) :]
            taken = max(0, suggestion.end - request.cursor)
        return Written(
            text=text,
            taken=taken,
            reason=outcome.reason,
            prompt_tokens=result.tokens.prompt if result else 0,
            context_tokens=result.context_tokens if result else 0,
            ms=ms,
        )


def measuring(config: Config) -> Config:
    """Settings for measuring: everything on, one answer, no deadline, nothing remembered, nothing done ahead.

    For the host as well: one that works ahead would keep the places of an evaluation on disk, instead of the user's.
    """
    return replace(
        config,
        completion=replace(
            config.completion,
            enabled=True,
            disabled_languages=(),
            exclude=(),
            invoked_deadline_ms=0,
            automatic_deadline_ms=0,
            early_ms=0,
            delay="none",
            alternatives=1,
            reuse=False,
        ),
        context=replace(config.context, enabled=True),
        idle=replace(config.idle, enabled=False),
    )


class Plain:
    """One engine, called with bare prompts. ``prefix_tokens`` and ``suffix_tokens`` bound what is shown of a file.

    ``at_cursor``: with the file's texts before and after the cursor, not with those of the set's own script.
    """

    def __init__(
        self,
        engine: Engine,
        template: BoundTemplate,
        *,
        prefix_tokens: int = 1024,
        suffix_tokens: int = 512,
        at_cursor: bool = False,
    ) -> None:
        self.name = CURSOR if at_cursor else PLAIN
        self._engine = engine
        self._template = template
        self._prefix_tokens = prefix_tokens
        self._suffix_tokens = suffix_tokens
        self.settings = f"{template.template.name} {prefix_tokens} {suffix_tokens}"

    @classmethod
    def load(cls, model: InstalledModel, config: Config, *, context_tokens: int = 0, at_cursor: bool = False) -> Plain:
        """Load a model into this process; :meth:`close` gives its memory back.

        :raises CoderLspError: its file cannot be used.
        """
        from coder_lsp.engine.llama import LlamaEngine

        options = EngineOptions(
            context_tokens=context_tokens or config.engine.context_tokens,
            sequences=1,
            threads=config.engine.threads,
            kv_type=config.engine.kv_type,
        )
        engine = LlamaEngine.load(Path(model.path), options)
        return cls(engine, bind(engine, model.template, engine.info.architecture), at_cursor=at_cursor)

    def close(self) -> None:
        self._engine.close()

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._engine.tokenize(text))

    async def fill(self, place: Place, max_tokens: int) -> Written:
        """The template's prompt, without the snippets: bare prompts have no place for them."""
        # An interrupt is noticed where a task waits, and nothing below does.
        await asyncio.sleep(0)
        prefix, suffix = place.prefix, place.suffix
        if self.name == PLAIN and place.bare is not None:
            prefix, suffix = place.bare
        tokens: list[int] = []
        for piece in self._template.template.layout:
            if piece is Slot.BOS:
                tokens += self._beginning()
            elif piece is Slot.PREFIX:
                tokens += self._engine.tokenize(prefix)[-self._prefix_tokens :]
            elif piece is Slot.SUFFIX:
                tokens += self._engine.tokenize(suffix)[: self._suffix_tokens]
            elif isinstance(piece, Control):
                tokens.append(self._template.ids[piece])
            elif isinstance(piece, Text):
                tokens += self._engine.tokenize(piece.form)
        return self._written(tokens, max_tokens, one_line=place.one_line)

    def go_on(
        self, context: str, prefix: str, *, sequence_tokens: int, context_tokens: int, max_tokens: int
    ) -> Written:
        """Continue ``context`` and ``prefix`` from left to right, within a sequence of so many tokens.

        The context keeps its first ``context_tokens``; the prefix keeps its last, as many as the rest leaves.
        """
        shown = self._engine.tokenize(context)[:context_tokens] if context else []
        beginning = self._beginning()
        left = sequence_tokens - max_tokens - len(shown) - len(beginning)
        tokens = [*beginning, *shown, *self._engine.tokenize(prefix)[-left:]]
        return replace(self._written(tokens, max_tokens), context_tokens=len(shown))

    def _beginning(self) -> list[int]:
        bos = self._engine.bos
        return [] if bos is None else [bos]

    def _written(self, tokens: list[int], max_tokens: int, *, one_line: bool = False) -> Written:
        said: list[str] = []

        def wants_more(delta: str) -> bool:
            said.append(delta)
            return not (one_line and "\n" in "".join(said).lstrip())

        began = time.perf_counter()
        request = GenerateRequest(
            # A model that is given nothing at all has nothing to continue.
            tokens=tokens or self._engine.tokenize("\n"),
            max_tokens=max_tokens,
            stop_tokens=self._template.stop_tokens,
        )
        answer = self._engine.generate(request, wants_more)
        ms = (time.perf_counter() - began) * 1000
        return Written(
            text=answer.text,
            reason="" if answer.text.strip() else "empty",
            prompt_tokens=len(tokens),
            ms=ms,
        )


def first_line(text: str) -> str:
    """The first line that says something, with its indentation; the lines of nothing before it go."""
    return next((line.rstrip() for line in text.splitlines() if line.strip()), "")
