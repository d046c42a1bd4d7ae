"""Has programs written and runs them: a model writes one while the sandbox runs those before it.

Samples go to the caller in the order of the problems, as they are done. A completion that is known is not written
again; what became of it is taken over as well, unless it is to be run anew.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from coder_lsp.errors import InputError
from coder_lsp.evaluate.codegen import toolchains
from coder_lsp.evaluate.codegen.generator import Generated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from coder_lsp.evaluate.codegen.generator import Generator
    from coder_lsp.evaluate.codegen.problem import Format, Problem
    from coder_lsp.evaluate.sandbox import Limits, Outcome

GOLD = "gold"
_SIGMAS = 1.959964
"""Of a normal distribution, around 95 %."""
_LAST_WORDS = 300
"""Characters kept of what a program complained about."""


class Key(NamedTuple):
    """What makes a completion another one. ``digest`` is of the prompt and how it may end."""

    benchmark: str
    task_id: str
    model: str
    digest: str


@dataclass(frozen=True)
class Sample:
    """One program: what was written, and what became of it. ``complaint`` is the end of what it said."""

    benchmark: str
    task_id: str
    model: str
    digest: str
    language: str
    style: str
    completion: str
    tokens: int
    prompt_tokens: int
    prompt_cut: int
    ms: float
    passed: bool
    status: str
    reason: str
    complaint: str
    seconds: float

    @property
    def key(self) -> Key:
        return Key(self.benchmark, self.task_id, self.model, self.digest)


@dataclass(frozen=True)
class How:
    """``workers`` programs run at a time, Python ones by ``python`` (ours if empty), within ``limits``."""

    limits: Limits
    workers: int = 1
    python: str = ""


def complete(
    form: Format,
    problems: Sequence[Problem],
    generator: Generator | None,
    how: How,
    *,
    model: str,
    done: Iterable[Sample] = (),
    again: bool = False,
    on_sample: Callable[[Sample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[Sample]:
    """A sample of each problem. Without a generator the file's own solutions are run, as the model ``gold``.

    ``again``: run what is known once more, as when limits have changed. ``on_sample`` is told of what is new.

    :raises CoderLspError: nothing can be written, or the sandbox failed.
    """
    known = {sample.key: sample for sample in done}
    samples: list[Sample] = []
    waiting: deque[tuple[Future[Sample], bool]] = deque()

    def take(*, least: int) -> None:
        """Those that are done, in order; wait for the first where more than ``least`` are not."""
        while waiting and (len(waiting) > least or waiting[0][0].done()):
            future, new = waiting.popleft()
            sample = future.result()
            samples.append(sample)
            if new:
                on_sample(sample, len(samples), len(problems))

    pool = ThreadPoolExecutor(how.workers, thread_name_prefix="sandbox")
    try:
        for problem in problems:
            before = known.get(Key(form.name, problem.task_id, model, problem.digest))
            if before is not None and not again:
                ready: Future[Sample] = Future()
                ready.set_result(before)
                waiting.append((ready, False))
            else:
                written = _known(before) if before is not None else _written(problem, generator)
                waiting.append((pool.submit(_judged, form, problem, written, how, model), True))
            take(least=2 * how.workers)
        take(least=0)
    finally:
        # A few programs, which come to their end in seconds: what was written is not lost.
        pool.shutdown()
        for future, new in waiting:
            if new and future.exception() is None:
                on_sample(future.result(), len(samples), len(problems))
    return samples


def _written(problem: Problem, generator: Generator | None) -> Generated:
    if generator is None:
        if problem.gold is None:
            raise InputError(f"{problem.task_id} comes without a solution", hint="leave --gold out")
        return Generated(problem.gold)
    found = generator.generate(problem)
    return replace(found, text=found.text + problem.close)


def _known(sample: Sample) -> Generated:
    return Generated(sample.completion, sample.tokens, sample.prompt_tokens, sample.prompt_cut, sample.ms)


def _judged(form: Format, problem: Problem, written: Generated, how: How, model: str) -> Sample:
    text = form.program(problem, written.text)
    outcome = toolchains.execute(problem.language, text, limits=how.limits, python=how.python)
    passed = form.passed(problem, outcome)
    return Sample(
        benchmark=form.name,
        task_id=problem.task_id,
        model=model,
        digest=problem.digest,
        language=problem.language,
        style=problem.style,
        completion=written.text,
        tokens=written.tokens,
        prompt_tokens=written.prompt_tokens,
        prompt_cut=written.prompt_cut,
        ms=written.ms,
        passed=passed,
        status="passed" if passed else _status(outcome),
        reason=outcome.reason,
        complaint="" if passed else (outcome.stderr.strip() or outcome.stdout.strip())[-_LAST_WORDS:],
        seconds=outcome.seconds,
    )


def _status(outcome: Outcome) -> str:
    """A program that ended well and did not get to its end has failed."""
    return "failed" if outcome.status == "passed" else outcome.status


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """pass@1 with its 95 % interval (Wilson's), in all and by language; what became of the rest; speed."""
    if not samples:
        return {"tasks": 0}
    languages: dict[str, list[Sample]] = {}
    for sample in samples:
        languages.setdefault(sample.language, []).append(sample)
    written = [sample for sample in samples if sample.tokens]
    speed = None
    if written:
        speed = {
            "tokens_a_second": round(1000 * sum(s.tokens for s in written) / max(1.0, sum(s.ms for s in written)), 1),
            "ms_p50": round(statistics.median(sample.ms for sample in written), 1),
        }
    return {
        **_share(samples),
        "benchmark": samples[0].benchmark,
        "style": samples[0].style,
        "model": samples[0].model,
        "outcomes": dict(Counter(sample.status for sample in samples).most_common()),
        "prompts_cut": sum(sample.prompt_cut > 0 for sample in samples),
        "languages": {name: _share(theirs) for name, theirs in sorted(languages.items())},
        "speed": speed,
    }


def _share(samples: Sequence[Sample]) -> dict[str, Any]:
    count, passed = len(samples), sum(sample.passed for sample in samples)
    low, high = wilson(passed, count)
    return {
        "tasks": count,
        "passed": passed,
        "pass_at_1": round(passed / count, 4),
        "interval_95": [round(low, 4), round(high, 4)],
    }


def wilson(passed: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share. Resampling says 0 to 0 where none of five passed; this says 0 to 0.43."""
    share, square = passed / count, _SIGMAS**2 / count
    middle, half = share + square / 2, _SIGMAS * math.sqrt((share * (1 - share) + square / 4) / count)
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def lines(found: Mapping[str, Any]) -> list[str]:
    """The figures for people."""
    said = [f"{found['benchmark']}, {found['style']}, {found['model']}"]
    for name, row in (*found["languages"].items(), ("total", found)):
        if name == "total" and len(found["languages"]) == 1:
            continue
        low, high = (100 * end for end in row["interval_95"])
        said.append(
            f"{name:<12} pass@1  {100 * row['pass_at_1']:.1f} %  {row['passed']} of {row['tasks']}"
            f"  (95 %: {low:.1f} to {high:.1f})"
        )
    others = [f"{count} {status}" for status, count in found["outcomes"].items() if status != "passed"]
    if others:
        said.append(f"not passed: {', '.join(others)}")
    if found["prompts_cut"]:
        said.append(f"{found['prompts_cut']} prompts were too long and lost their beginning")
    if found["speed"]:
        speed = found["speed"]
        said.append(f"{speed['tokens_a_second']} tokens/s, half of the answers within {speed['ms_p50'] / 1000:.1f} s")
    return said
