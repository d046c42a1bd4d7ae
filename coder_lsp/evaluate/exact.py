"""Exact match: completes tasks through the shipped service, with and without context, and compares them in pairs.

A completion counts if its first line is the first line of what was taken out, both without the white space around
them. Everything is the path of an editor's request (gate, shape, host, post-processing); only the source of its
context is given here, because each task is completed once a recipe: ``none``, ``ours``, ``reference``. Generation is
greedy and has no deadline, so a slow machine writes the same as a fast one.

Rows go to a file as they are made and are not made again, so a run may be ended and taken up at any time.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from coder_lsp.completion.service import CompletionService
from coder_lsp.languages import by_path
from coder_lsp.types import CompletionRequest, Snippet, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.config import Config
    from coder_lsp.evaluate.crosscodeeval import Fragment
    from coder_lsp.evaluate.tasks import Task
    from coder_lsp.types import Adapter, CompletionOutcome, FimBackend

NONE = "none"
ROUNDS = 10_000
"""Resamples of the bootstrap; the interval's ends move by less than a task between two seeds."""


class Key(NamedTuple):
    """What makes a completion another measurement. ``context`` is a digest of the snippets."""

    task_id: str
    recipe: str
    context: str
    model: str
    budget: int
    max_tokens: int


@dataclass(frozen=True)
class Sample:
    """One completion of one task. ``similarity`` (0 to 1) is None where rapidfuzz is not installed."""

    task_id: str
    recipe: str
    context: str
    model: str
    budget: int
    max_tokens: int
    exact: bool
    similarity: float | None
    line: str
    """The first line of the completion."""
    reason: str
    prompt_tokens: int
    context_tokens: int
    ms: float

    @property
    def key(self) -> Key:
        return Key(self.task_id, self.recipe, self.context, self.model, self.budget, self.max_tokens)


@dataclass(frozen=True)
class Gap:
    """A task with the snippets that each recipe shows for it."""

    task: Task
    root: Path
    snippets: Mapping[str, tuple[Snippet, ...]]


class Given:
    """A context source that knows nothing of the workspace and shows the snippets it was given last."""

    def __init__(self) -> None:
        self.snippets: tuple[Snippet, ...] = ()

    def context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:  # noqa: ARG002  # the contract's
        return self.snippets

    def holds(self, snippets: tuple[Snippet, ...]) -> bool:
        """Whether they are of the gap at hand: blocks of the gap before it are not to stay."""
        return snippets == self.snippets

    def scope(self, request: CompletionRequest) -> str:  # noqa: ARG002  # the contract's
        return ""


async def complete_all(
    gaps: Sequence[Gap],
    backend: FimBackend,
    config: Config,
    *,
    max_tokens: int,
    adapters: tuple[Adapter, ...] = (),
    label: str = "",
    done: Iterable[Sample] = (),
    on_sample: Callable[[Sample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[Sample]:
    """Complete every gap by every recipe that has snippets for it; those in ``done`` are taken as they are.

    ``on_sample`` is told of each new one, with its number and how many there will be. The backend's host must have been
    started with the same budget, for it is the host that cuts. ``adapters`` lie over the model, whatever the settings
    say; samples are known by ``label`` then instead of the model's name.
    """
    given = Given()
    # What the user excludes or has switched off has nothing to do with a task.
    completion = replace(
        config.completion,
        enabled=True,
        disabled_languages=(),
        exclude=(),
        invoked_deadline_ms=0,
        alternatives=1,
        reuse=False,
    )
    config = replace(
        config,
        completion=completion,
        context=replace(config.context, enabled=True),
        idle=replace(config.idle, enabled=False),
    )
    service = CompletionService(backend, config, given, adapters_of=lambda _: lambda _: adapters)
    budget = config.prompt.context_tokens
    known = {sample.key: sample for sample in done}
    total = sum(len(gap.snippets) for gap in gaps)
    samples: list[Sample] = []
    for gap in gaps:
        for recipe, snippets in gap.snippets.items():
            key = Key(gap.task.task_id, recipe, _digest(snippets), label or config.model, budget, max_tokens)
            sample = known.get(key)
            if sample is None:
                given.snippets = snippets
                began = time.perf_counter()
                outcome = await service.complete(_request(gap, recipe, max_tokens))
                took_ms = (time.perf_counter() - began) * 1000
                sample = _sample(key, gap.task, outcome, took_ms)
                on_sample(sample, len(samples) + 1, total)
            elif sample.similarity is None:
                # Made where rapidfuzz was not installed.
                sample = replace(sample, similarity=_similarity(sample.line, first_line(gap.task.ground_truth)))
            samples.append(sample)
    return samples


def _sample(key: Key, task: Task, outcome: CompletionOutcome, took_ms: float) -> Sample:
    text = outcome.suggestions[0].text if outcome.suggestions else ""
    line, expected = first_line(text), first_line(task.ground_truth)
    return Sample(
        **key._asdict(),
        exact=line == expected,
        similarity=_similarity(line, expected),
        line=line,
        reason=outcome.reason,
        prompt_tokens=outcome.result.tokens.prompt if outcome.result else 0,
        context_tokens=outcome.result.context_tokens if outcome.result else 0,
        ms=round(took_ms, 1),
    )


def _digest(snippets: Sequence[Snippet]) -> str:
    if not snippets:
        return ""
    whole = "\0".join(f"{snippet.path}\0{snippet.text}\0{snippet.score}" for snippet in snippets)
    return blake2b(whole.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _request(gap: Gap, recipe: str, max_tokens: int) -> CompletionRequest:
    task = gap.task
    return CompletionRequest(
        # The host remembers where it anchored a document: each recipe is a document of its own.
        uri=f"{(gap.root / task.path).as_uri()}?{task.task_id}&{recipe}",
        text=task.prefix + task.suffix,
        cursor=len(task.prefix),
        language=by_path(task.path).id,
        path=task.path,
        root=str(gap.root),
        trigger=Trigger.INVOKED,
        patient=True,
        max_tokens=max_tokens,
    )


def first_line(text: str) -> str:
    """The first line that says something, without the white space around it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def as_snippets(fragments: Sequence[Fragment]) -> tuple[Snippet, ...]:
    """The reference's choice in the model's own format for other files, so that only the choice differs."""
    return tuple(
        Snippet(
            path=fragment.path,
            text="\n".join(fragment.lines) + "\n",
            start_line=fragment.start_line,
            end_line=fragment.end_line,
            source="reference",
            score=float(len(fragments) - number),
        )
        for number, fragment in enumerate(fragments)
    )


def chosen(tasks: Sequence[Task], count: int | None, seed: int) -> list[Task]:
    """A random sample in the order of the file; the same seed takes the same tasks."""
    if count is None or count >= len(tasks):
        return list(tasks)
    numbers = random.Random(seed).sample(range(len(tasks)), count)  # noqa: S311  # a sample, not a secret
    return [tasks[number] for number in sorted(numbers)]


def compare(samples: Sequence[Sample], *, seed: int) -> dict[str, Any]:
    """Exact matches of each recipe, and each one's lead over ``none`` with a 95 % interval (paired bootstrap)."""
    recipes = list(dict.fromkeys(sample.recipe for sample in samples))
    by_recipe = {recipe: {s.task_id: s for s in samples if s.recipe == recipe} for recipe in recipes}
    figures: dict[str, Any] = {}
    for recipe, theirs in by_recipe.items():
        figures[recipe] = {
            "tasks": len(theirs),
            "exact": sum(sample.exact for sample in theirs.values()),
            "exact_share": round(sum(sample.exact for sample in theirs.values()) / len(theirs), 4),
            "similarity": _mean([sample.similarity for sample in theirs.values()]),
        }
    differences = {}
    plain = by_recipe.get(NONE, {})
    for recipe, theirs in by_recipe.items():
        both = sorted(plain.keys() & theirs.keys())
        if recipe == NONE or not both:
            continue
        pairs = [int(theirs[task].exact) - int(plain[task].exact) for task in both]
        low, high = interval(pairs, seed=seed)
        differences[recipe] = {
            "tasks": len(pairs),
            "better": pairs.count(1),
            "worse": pairs.count(-1),
            "difference": round(sum(pairs) / len(pairs), 4),
            "interval_95": [round(low, 4), round(high, 4)],
        }
    return {"recipes": figures, "difference_to_none": differences}


def interval(values: Sequence[float], *, seed: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """The middle 95 % of the means of resamples."""
    chance = random.Random(seed)  # noqa: S311  # see above
    means = sorted(sum(chance.choices(values, k=len(values))) / len(values) for _ in range(rounds))
    return means[round(0.025 * (rounds - 1))], means[round(0.975 * (rounds - 1))]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _similarity(line: str, expected: str) -> float | None:
    try:
        from rapidfuzz.fuzz import ratio
    except ImportError:
        return None
    return round(float(ratio(line, expected)) / 100, 4)
