"""Places completed through the shipped service, with and without context, and how near each came to what was written.

The path is that of an editor that asks by itself: gate, shape, prompt, host, post-processing. Only waiting is switched
off, for keys and for deadlines, and so is reading on in what was generated before: a slow machine writes the same as a
fast one. A line is compared up to its end, a call up to the bracket that closes it, a block as a whole.

Samples go to a file as they are made and are not made again, so a run may be ended and taken up at any time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from coder_lsp import __version__
from coder_lsp.completion.lines import visible
from coder_lsp.completion.service import CompletionService
from coder_lsp.evaluate.exact import NONE, Given
from coder_lsp.evaluate.metrics import edit_similarity, exact, identifier_f1, stripped_lines
from coder_lsp.evaluate.repo.places import BLOCK, CALL, to_bracket
from coder_lsp.languages import by_path
from coder_lsp.types import CompletionRequest, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from coder_lsp.config import Config
    from coder_lsp.evaluate.repo.places import Place
    from coder_lsp.evaluate.repo.workspace import Prepared
    from coder_lsp.types import Adapter, CompletionOutcome, FimBackend, Snippet

OURS = "ours"
RECIPES = (NONE, OURS)


@dataclass(frozen=True)
class Subject:
    """A model with what lies over it. ``label`` is its name with digests: another file of the same name is another."""

    name: str
    model: str
    label: str
    adapters: tuple[Adapter, ...] = ()


class Key(NamedTuple):
    """What makes a completion another measurement. ``asked`` is a digest of all that the host is sent."""

    place: str
    recipe: str
    subject: str
    asked: str


@dataclass(frozen=True)
class Sample:
    """One completion of one place. ``similarity`` and ``identifiers`` are from 0 to 1, the former None without
    rapidfuzz; ``characters`` are the visible ones that were written, ``saved`` those of them in whole lines that the
    suggestion begins with: what accepting it line by line would have spared.
    """

    place: str
    recipe: str
    subject: str
    asked: str
    kind: str
    text: str
    """What of the suggestion is compared."""
    written: str
    exact: bool
    similarity: float | None
    identifiers: float
    characters: int
    saved: int
    reason: str
    """Why there is no suggestion."""
    prompt_tokens: int
    context_tokens: int
    ms: float

    @property
    def key(self) -> Key:
        return Key(self.place, self.recipe, self.subject, self.asked)


async def complete(
    prepared: Sequence[Prepared],
    backend: FimBackend,
    config: Config,
    subject: Subject,
    *,
    done: Iterable[Sample] = (),
    on_sample: Callable[[Sample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[Sample]:
    """Every place without context and with ours; those in ``done`` are taken as they are.

    ``on_sample`` is told of each new one, with its number and how many there will be. The backend's host must have been
    started with the same prompt settings, for it is the host that cuts.

    :raises CoderLspError: the backend cannot serve.
    """
    config = _settled(config)
    given = Given()
    service = CompletionService(backend, config, given, adapters_of=lambda _: lambda _: subject.adapters)
    known = {sample.key: sample for sample in done}
    total = len(prepared) * len(RECIPES)
    samples: list[Sample] = []
    try:
        for one in prepared:
            for recipe in RECIPES:
                snippets = one.snippets if recipe == OURS else ()
                key = Key(one.place.id, recipe, subject.label, _asked(one.place, snippets, config))
                sample = known.get(key)
                if sample is None:
                    given.snippets = snippets
                    began = time.perf_counter()
                    outcome = await service.complete(_request(one.place, recipe))
                    sample = scored(key, one.place, outcome, (time.perf_counter() - began) * 1000)
                    on_sample(sample, len(samples) + 1, total)
                samples.append(sample)
    finally:
        await service.close()
    return samples


def scored(key: Key, place: Place, outcome: CompletionOutcome, ms: float) -> Sample:
    """What came of a place, compared with what was written there."""
    written = place.task.ground_truth
    text = compared(place, outcome.suggestions[0].text if outcome.suggestions else "")
    return Sample(
        **key._asdict(),
        kind=place.kind,
        text=text,
        written=written,
        exact=exact(text, written),
        similarity=edit_similarity(text, written),
        identifiers=identifier_f1(text, written, by_path(place.task.path).id),
        characters=visible(written),
        saved=saved(text, written),
        reason=outcome.reason,
        prompt_tokens=outcome.result.tokens.prompt if outcome.result else 0,
        context_tokens=outcome.result.context_tokens if outcome.result else 0,
        ms=round(ms, 1),
    )


def compared(place: Place, text: str) -> str:
    """As much of a suggestion as is asked for at a place of this kind."""
    text = text.replace("\r\n", "\n")
    if place.kind == BLOCK:
        return text
    if place.kind == CALL:
        end = to_bracket(text, by_path(place.task.path))
        if end >= 0:
            return text[:end]
    if not place.task.prefix.rpartition("\n")[2].strip():
        # Blank lines in front of a new line are no other answer; behind half a line they are.
        text = text.lstrip("\n")
    return text.partition("\n")[0]


def saved(text: str, written: str) -> int:
    r"""Visible characters of the whole lines that both begin with.

    >>> saved("a = 1\nb = 3", "a = 1\nb = 2")
    3
    """
    count = 0
    for one, other in zip(stripped_lines(text), stripped_lines(written), strict=False):
        if one != other:
            break
        count += visible(other)
    return count


def _settled(config: Config) -> Config:
    """Nothing that depends on time or on what came before; what the user excludes is excluded by now."""
    completion = replace(
        config.completion,
        enabled=True,
        disabled_languages=(),
        exclude=(),
        automatic_deadline_ms=0,
        early_ms=0,
        delay="none",
        reuse=False,
    )
    return replace(
        config,
        completion=completion,
        context=replace(config.context, enabled=True),
        idle=replace(config.idle, enabled=False),
    )


def _asked(place: Place, snippets: Sequence[Snippet], config: Config) -> str:
    settings = config.completion
    asked = (
        __version__,
        place.task.path,
        place.task.prefix,
        place.task.suffix,
        place.task.ground_truth,
        repr(config.prompt),
        (settings.multiline, settings.max_tokens_line, settings.max_tokens_block),
        [(snippet.path, snippet.text, snippet.score) for snippet in snippets],
    )
    return blake2b(repr(asked).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _request(place: Place, recipe: str) -> CompletionRequest:
    task = place.task
    return CompletionRequest(
        # The host remembers where it anchored a document: each recipe is a document of its own.
        uri=f"file:///{quote(f'{task.repo}/{task.path}', errors='replace')}?{place.id}&{recipe}",
        text=task.prefix + task.suffix,
        cursor=len(task.prefix),
        language=by_path(task.path).id,
        path=task.path,
        # By the repository's name, which some models are told; a temporary folder's would differ each time.
        root=f"/{task.repo}",
        trigger=Trigger.AUTOMATIC,
        patient=True,
    )
