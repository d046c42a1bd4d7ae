"""What drafting changes on real code: nothing in the answer, and how much in the time.

Lines are taken out of source files and asked for as if they were being typed: some cursors in each gap, with the
prompts that ship, of which most stays evaluated from one cursor to the next. Each prompt is evaluated first; then its
answer is generated without guessing, with it as shipped, with it wherever anything can be guessed (``eager``), and
without once more, which tells how much times differ by themselves. The order rotates from prompt to prompt. Every way
gets the same hints, the latest answers. An answer ends where the model ends it or at its longest; no policy and no
doubt of the model's cuts it, so answers are longer than suggestions are, and the more there is to compare.

A session learns while it runs what a batch costs, whether it is exact and how often guesses are right. That is part of
what is measured, as every user pays for it: ``passes`` and times contain the passes that examine a size of batch for
the first time, and nothing is warmed up but by the first prompt, answered once without guessing. What eager guessing
learns must not help the shipped way, so it has a session of its own, which gets each evaluated prompt copied.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.gaps import CURSORS, build_questions, choose_gaps
from coder_lsp.bench.goals import Goal, look_up
from coder_lsp.bench.goals import rows as goal_rows
from coder_lsp.config import PromptConfig
from coder_lsp.engine import hardware
from coder_lsp.engine.base import EngineOptions, RunnerUp
from coder_lsp.host.worker import HINTS
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.bench.gaps import Question
    from coder_lsp.engine.llama import LlamaEngine
    from coder_lsp.prompt.builder import Prompt

WAYS = ("off", "automatic", "eager", "off_again")
OFF, AUTOMATIC, EAGER, OFF_AGAIN = WAYS
GOALS = (
    Goal("diverged", 0, "prompts with another answer"),
    Goal("automatic.tokens_per_pass", 1.5, "tokens per forward pass", least=True),
    Goal("automatic.to_off.total", 1.0, "time against no guessing"),
)

_SPARE = 1.25
"""Gaps chosen for one that is needed: some prompts are alike, in copies of a file for instance."""
_SLOWER = 1.1
_SHOWN_PLACES = 5


@dataclass(frozen=True)
class Answer:
    """What one way of generating gave, and what it took."""

    tokens: tuple[int, ...]
    text: str = field(repr=False)
    finish: str
    logprobs: tuple[float, ...]
    runners_up: tuple[RunnerUp, ...] = ()
    passes: int = 0
    guessed: int = 0
    accepted: int = 0
    decode_ms: float = 0.0

    def same(self, other: Answer) -> bool:
        """Whether nothing differs in what is said, down to the last bit of each logprob."""
        return self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        scores = array("d", [*self.logprobs, *(other.logprob for other in self.runners_up)])
        others = [(other.position, other.token) for other in self.runners_up]
        return self.tokens, self.text, self.finish, others, scores.tobytes()


@dataclass(frozen=True)
class Outcome:
    """The answers to one prompt, by way."""

    place: str
    prompt_tokens: int
    answers: Mapping[str, Answer]

    @property
    def diverged(self) -> list[str]:
        """The ways that say something else than no guessing does."""
        return [way for way in WAYS[1:] if not self.answers[way].same(self.answers[OFF])]


def measure_drafting(
    model_path: Path,
    folders: Sequence[Path],
    *,
    template: str | None = None,
    prompts: int = 60,
    seed: int = 1,
    new_tokens: int = 48,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Figures of ``prompts`` distinct prompts under ``folders``; see :func:`figures` and the module.

    Loads the model twice. ``progress`` hears how many prompts are done, and how many of them diverged.

    :raises InputError: there is not enough code under ``folders``.
    :raises ModelError, EngineError: as :meth:`coder_lsp.engine.llama.LlamaEngine.load`.
    """
    from coder_lsp.engine.llama import LlamaEngine

    gaps = choose_gaps(folders, math.ceil(prompts / CURSORS * _SPARE), seed)
    options = EngineOptions(sequences=1)
    load = LlamaEngine.load
    with closing(load(model_path, options)) as engine, closing(load(model_path, options)) as eager:
        bound = bind(engine, template, engine.info.architecture)
        builder = PromptBuilder(engine, bound, PromptConfig(), engine.options.context_tokens)
        outcomes: list[Outcome] = []
        for outcome in _outcomes(engine, eager, build_questions(builder, gaps, prompts, new_tokens), new_tokens):
            outcomes.append(outcome)
            progress(len(outcomes), sum(bool(each.diverged) for each in outcomes))
    head = {"hardware": hardware.detect().line(), "model": engine.info.description, "file": model_path.name}
    return {**head, "seed": seed, "new_tokens": new_tokens, **figures(outcomes)}


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What was said differently, tokens a pass, and times in ms with their ratios to no guessing.

    Only prompts that took a forward pass behind the first token count for passes and times; ``off_again.to_off`` is
    what a ratio is without any reason. A way's ``slower`` is the share of prompts on which it took 1.1 times as long.
    """
    diverged = [outcome for outcome in outcomes if outcome.diverged]
    prompt_tokens = [outcome.prompt_tokens for outcome in outcomes]
    found: dict[str, Any] = {
        "prompts": len(outcomes),
        "tokens": sum(len(outcome.answers[OFF].tokens) for outcome in outcomes),
        "prompt_tokens": {"min": min(prompt_tokens), "median": median(prompt_tokens), "max": max(prompt_tokens)},
        "finish": dict(Counter(outcome.answers[OFF].finish for outcome in outcomes)),
        "diverged": len(diverged),
        "diverged_at": [f"{each.place} {' '.join(each.diverged)}" for each in diverged[:_SHOWN_PLACES]],
    }
    decoded = [outcome.answers for outcome in outcomes if outcome.answers[OFF].passes]
    for way in WAYS if decoded else ():
        found[way] = _of_way([answers[way] for answers in decoded], [answers[OFF] for answers in decoded])
    found["goals"] = [goal.judge(value) for goal in GOALS if (value := look_up(found, goal.figure)) is not None]
    return found


def report(measured: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines: what was measured, each way, the goals."""
    tokens = measured["prompt_tokens"]
    yield measured["hardware"]
    yield f"{measured['model']}, seed {measured['seed']}, at most {measured['new_tokens']} tokens an answer"
    yield (
        f"{measured['prompts']} prompts of {tokens['min']} to {tokens['max']} tokens (median {tokens['median']:g}), "
        f"{measured['tokens']:,} tokens generated, {measured['diverged']} diverged"
    )
    yield "ended by " + ", ".join(f"{reason}: {count}" for reason, count in measured["finish"].items())
    yield from (f"  diverged: {place}" for place in measured["diverged_at"])
    form = "{:<10}{:>8}{:>12}{:>9}{:>10}{:>12}{:>9}{:>7}{:>7}{:>8}"
    yield form.format(
        "", "passes", "tokens/pass", "guessed", "accepted", "decode ms", "to off", "p50", "p95", f"> {_SLOWER:g} ×"
    )
    for way in WAYS:
        if way in measured:
            of_way = measured[way]
            counts = (of_way[name] for name in ("passes", "tokens_per_pass", "guessed", "accepted", "decode_ms"))
            yield form.format(way.replace("_", " "), *counts, *of_way["to_off"].values())
    for title, value, bound, verdict in goal_rows(measured["goals"]):
        yield f"  {title:<30}{value:>10}  goal {bound:<10} {verdict}"


def _outcomes(
    engine: LlamaEngine, eager: LlamaEngine, questions: Sequence[Question], new_tokens: int
) -> Iterator[Outcome]:
    hints: list[tuple[int, ...]] = []
    for number, question in enumerate(questions):
        evaluated = question.prompt.tokens[:-1]
        engine.prefill(evaluated)
        eager.restore_sequence(0, engine.history(0), engine.sequence_state(0))
        eager.prefill(evaluated)
        if number == 0:
            _answer(engine, question.prompt, OFF, hints, new_tokens)
            _answer(eager, question.prompt, OFF, hints, new_tokens)
        turn = number % len(WAYS)
        answers = {
            way: _answer(eager if way == EAGER else engine, question.prompt, way, hints, new_tokens)
            for way in (*WAYS[turn:], *WAYS[:turn])
        }
        yield Outcome(question.place, len(question.prompt.tokens), answers)
        if answers[OFF].tokens:
            hints = [*hints, answers[OFF].tokens][-HINTS:]


def _answer(engine: LlamaEngine, prompt: Prompt, way: str, hints: Sequence[tuple[int, ...]], new_tokens: int) -> Answer:
    from coder_lsp.engine import _native
    from coder_lsp.engine.llama import runners_up

    request = _native.Request()
    request.tokens, request.forced, request.max_tokens = prompt.tokens, prompt.forced, new_tokens
    request.stop_tokens = list(prompt.stop_tokens)
    request.draft, request.draft_eagerly = way in (AUTOMATIC, EAGER), way == EAGER
    request.hints = hints
    request.branching = new_tokens
    said = engine.session.generate(request)
    return Answer(
        tokens=tuple(said.token_ids),
        text=said.text,
        finish=said.finish.name,
        logprobs=tuple(said.logprobs),
        runners_up=runners_up(said),
        passes=said.passes,
        guessed=said.drafted,
        accepted=said.accepted,
        decode_ms=said.decode_ms,
    )


def _of_way(answers: Sequence[Answer], off: Sequence[Answer]) -> dict[str, Any]:
    passes = sum(answer.passes for answer in answers)
    total_ms, off_ms = (sum(answer.decode_ms for answer in each) for each in (answers, off))
    ratios = [answer.decode_ms / plain.decode_ms for answer, plain in zip(answers, off, strict=True)]
    return {
        "passes": passes,
        "tokens_per_pass": round(sum(len(answer.tokens) for answer in answers) / max(1, passes), 3),
        "guessed": sum(answer.guessed for answer in answers),
        "accepted": sum(answer.accepted for answer in answers),
        "decode_ms": round(total_ms, 1),
        "to_off": {
            "total": round(total_ms / off_ms, 3),
            **quantiles(ratios),
            "slower": round(sum(ratio > _SLOWER for ratio in ratios) / len(ratios), 3),
        },
    }
