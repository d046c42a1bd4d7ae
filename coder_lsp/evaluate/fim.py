"""``coder-lsp eval fim``: gaps with a known answer, filled as shipped and by the model plainly.

Two formats. *SantaCoder* (bigcode/santacoder-fim-task): ``name``, ``language``, ``prompt``, ``suffix``,
``canonical_solution``; one line of Python, Java or JavaScript is missing, and the line ends around it are not in the
texts. *HumanEval-Infilling* (Bavarian et al. 2022, arXiv 2207.14255): ``task_id``, ``entry_point``, ``prompt``,
``suffix``, ``canonical_solution``, ``test``; a line, several or any span of a Python function is missing, and the
function's tests can be run.

The shipped way sees a gap as an editor has it, with the line ends around the cursor; the plain one has the texts as
they stand in the set, as the papers' scripts do, which is also what it is better at. A line counts if it is the first
one of what was written, without the white space around it; of a longer gap all lines must be right. Golds that are a
lone bracket say little about a model and much about whether it writes lone brackets: figures are given with and without
them.
"""

from __future__ import annotations

import random
import re
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from coder_lsp import __version__
from coder_lsp.errors import InputError
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.metrics import edit_similarity, exact, identifier_f1
from coder_lsp.evaluate.ways import SHIPPED, Place, first_line
from coder_lsp.languages import PLAIN, by_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from coder_lsp.evaluate.ways import Way, Written
    from coder_lsp.types import Snippet

SANTACODER = "santacoder"
SINGLE, MULTI, SPAN = "single-line", "multi-line", "random-span"
GATE = "gate"
"""The set that comes with the package (``gate``)."""
_NAMES = {
    "SingleLineInfilling": SINGLE,
    "MultiLineInfilling": MULTI,
    "RandomSpanInfilling": SPAN,
    "RandomSpanInfillingLight": SPAN,
}
MAX_TOKENS = {SANTACODER: 64, SINGLE: 64, MULTI: 256, SPAN: 256, GATE: 24}
"""For one gap: three times what the longest hundredth of the golds of each set has, about. The gate's have 14 at most,
and it is to be done soon."""
_LANGUAGES = {"py": "python", "js": "javascript", "java": "java"}
_BRACKETS = re.compile(r"[\s()\[\]{};,]*")


Key = tuple[str, str, str, int, str]


@dataclass(frozen=True)
class FimTask:
    """``prefix + truth + suffix`` is the file. ``test`` is a program that checks it, empty where there is none."""

    task_id: str
    set: str
    language: str
    prefix: str
    suffix: str
    truth: str
    test: str = ""
    entry_point: str = ""
    path: str = ""
    snippets: tuple[Snippet, ...] = ()
    bare: tuple[str, str] | None = None
    """Prefix and suffix as the set has them, where they are not the file's."""

    @property
    def one_line(self) -> bool:
        return self.set in {SANTACODER, SINGLE, GATE}

    @property
    def lone_bracket(self) -> bool:
        return _BRACKETS.fullmatch(self.truth) is not None

    def place(self) -> Place:
        """The gap as an editor has it: the cursor stands before a line end, not before the line after it."""
        suffix = "\n" + self.suffix if self.truth.endswith("\n") else self.suffix
        return Place(
            name=self.task_id,
            path=self.path or f"solution{by_id(self.language).extensions[0]}",
            language=self.language,
            prefix=self.prefix,
            suffix=suffix,
            snippets=self.snippets,
            one_line=self.one_line,
            bare=self.bare or (self.prefix, self.suffix),
        )

    def program(self, text: str, taken: int) -> str:
        """The file with ``text`` in the gap, and what checks it behind it."""
        return f"{self.prefix}{text}{self.place().suffix[taken:]}\n{self.test}\ncheck({self.entry_point})\n"


@dataclass(frozen=True)
class FimSample:
    """One gap, filled once. ``asked`` is a digest of gap and settings, ``passed`` None where nothing was run."""

    task_id: str
    set: str
    language: str
    way: str
    model: str
    max_tokens: int
    asked: str
    exact: bool
    edit_similarity: float | None
    identifier_f1: float
    lone_bracket: bool
    passed: bool | None
    ran: str
    """How the run of the tests ended, empty where there was none."""
    text: str
    taken: int
    reason: str
    prompt_tokens: int
    ms: float

    @property
    def key(self) -> Key:
        return self.task_id, self.way, self.model, self.max_tokens, self.asked


def load(
    paths: Sequence[Path], *, limit: int | None = None, seed: int = 1, languages: Sequence[str] = ()
) -> list[FimTask]:
    """The tasks of all files; with a limit so many of each set and language, at random, the same for the same seed.

    :raises InputError: a file cannot be read, a row is no task (with its line), or nothing is left.
    """
    found: dict[str, FimTask] = {}
    for path in paths:
        for number, row in rows.tasks(path):
            where = f"{path}, line {number}"
            task = _santacoder(row, where, number) if "name" in row else _infilling(row, where)
            if found.setdefault(task.task_id, task) is not task:
                raise InputError(f"{where}: task {task.task_id} was there before", hint="give each file once")
    wanted = {_LANGUAGES.get(name, name) for name in languages}
    groups: dict[tuple[str, str], list[FimTask]] = {}
    for task in found.values():
        if not wanted or task.language in wanted:
            groups.setdefault((task.set, task.language), []).append(task)
    if not groups:
        raise InputError(
            f"no tasks in {', '.join(map(str, paths))}" + (f" in {', '.join(sorted(wanted))}" if wanted else ""),
            hint="SantaCoder's rows have name, language, prompt, suffix, canonical_solution; HumanEval-Infilling's "
            "task_id, entry_point, prompt, suffix, canonical_solution, test",
        )
    return [task for group in groups.values() for task in _chosen(group, limit, seed)]


async def fill(
    tasks: Sequence[FimTask],
    way: Way,
    *,
    model: str,
    max_tokens: int | None = None,
    done: Iterable[FimSample] = (),
    on_sample: Callable[[FimSample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[FimSample]:
    """Fill every gap; those in ``done`` are taken as they are. ``on_sample`` is told of each new one."""
    known = {sample.key: sample for sample in done}
    samples: list[FimSample] = []
    for task in tasks:
        tokens = max_tokens or MAX_TOKENS[task.set]
        asked = _digest(task, way)
        sample = known.get((task.task_id, way.name, model, tokens, asked))
        if sample is None:
            written = await way.fill(task.place(), tokens)
            sample = judged(task, written, way.name, model, tokens, asked=asked)
            on_sample(sample, len(samples) + 1, len(tasks))
        samples.append(sample)
    return samples


def judged(task: FimTask, written: Written, way: str, model: str, max_tokens: int, *, asked: str = "") -> FimSample:
    """A sample of what was written, not run yet."""
    text = first_line(written.text) if task.one_line else written.text
    # What stood behind the cursor and is replaced belongs to what should be there.
    truth = task.truth.removesuffix("\n") + task.place().suffix[: written.taken] if written.taken else task.truth
    return FimSample(
        task_id=task.task_id,
        set=task.set,
        language=task.language,
        way=way,
        model=model,
        max_tokens=max_tokens,
        asked=asked,
        exact=exact(text, truth),
        edit_similarity=edit_similarity(text, truth),
        identifier_f1=identifier_f1(text, truth, task.language),
        lone_bracket=task.lone_bracket,
        passed=None,
        ran="",
        text=text,
        taken=written.taken,
        reason=written.reason,
        prompt_tokens=written.prompt_tokens,
        ms=round(written.ms, 1),
    )


def run_tests(
    tasks: Sequence[FimTask],
    samples: Sequence[FimSample],
    run: Callable[[str], str],
    *,
    workers: int = 1,
    on_sample: Callable[[FimSample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[FimSample]:
    """The samples, each with its program run where it has tests and was not run yet.

    ``run`` executes a program and says how it ended: ``passed``, or anything else. It is called from so many threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    by_id_ = {task.task_id: task for task in tasks}
    waiting = [number for number, sample in enumerate(samples) if sample.passed is None and by_id_[sample.task_id].test]
    checked = list(samples)

    def one(number: int) -> str:
        sample = samples[number]
        return run(by_id_[sample.task_id].program(sample.text, sample.taken))

    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="sandbox")
    try:
        for count, (number, ended) in enumerate(zip(waiting, pool.map(one, waiting), strict=True), start=1):
            checked[number] = replace(samples[number], passed=ended == "passed", ran=ended)
            on_sample(checked[number], count, len(waiting))
    finally:
        # Who interrupts does not wait for thousands of programs.
        pool.shutdown(cancel_futures=True)
    return checked


def load_samples(path: Path) -> list[FimSample]:
    """What a run before this one made; of rows for the same gap the last one counts.

    :raises InputError: the file holds something else.
    """
    return list({sample.key: sample for sample in rows.load(path, FimSample)}.values())


def figures(samples: Sequence[FimSample], *, seed: int) -> dict[str, Any]:
    """By set and language: the figures of each way, and what the shipped one is ahead of the others, in pairs."""
    groups: dict[tuple[str, str], list[FimSample]] = {}
    for sample in samples:
        groups.setdefault((sample.set, sample.language), []).append(sample)
    return {f"{kind} {language}": _figures(group, seed) for (kind, language), group in groups.items()}


def _figures(samples: Sequence[FimSample], seed: int) -> dict[str, Any]:
    from coder_lsp.evaluate.paired import compare

    ways: dict[str, dict[str, FimSample]] = {}
    for sample in samples:
        ways.setdefault(sample.way, {})[sample.task_id] = sample
    found: dict[str, Any] = {"ways": {way: _summed(list(theirs.values())) for way, theirs in ways.items()}}
    leads: dict[str, Any] = {}
    found["leads"] = leads
    for way in ways if SHIPPED in ways else ():
        for metric in ("exact", "passed") if way != SHIPPED else ():
            before, after = (_values(ways[each], metric) for each in (way, SHIPPED))
            if before.keys() & after.keys():
                leads.setdefault(f"{SHIPPED} - {way}", {})[metric] = compare(before, after, seed=seed).as_json()
    return found


def _digest(task: FimTask, way: Way) -> str:
    whole = repr((__version__, way.settings, astuple(task.place()), task.truth))
    return blake2b(whole.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _values(samples: dict[str, FimSample], metric: str) -> dict[str, float]:
    values = {task: getattr(sample, metric) for task, sample in samples.items()}
    return {task: float(value) for task, value in values.items() if value is not None}


def _summed(samples: Sequence[FimSample]) -> dict[str, Any]:
    solid = [sample for sample in samples if not sample.lone_bracket]
    times = sorted(sample.ms for sample in samples)
    return {
        "tasks": len(samples),
        "exact": _mean([sample.exact for sample in samples]),
        "exact_without_lone_brackets": _mean([sample.exact for sample in solid]),
        "lone_brackets": len(samples) - len(solid),
        "edit_similarity": _mean([sample.edit_similarity for sample in samples]),
        "identifier_f1": _mean([sample.identifier_f1 for sample in samples]),
        "passed": _mean([sample.passed for sample in samples]),
        "nothing": sum(not sample.text.strip() for sample in samples),
        "ms": {"p50": times[len(times) // 2], "p95": times[min(len(times) - 1, len(times) * 95 // 100)]},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _chosen(tasks: Sequence[FimTask], limit: int | None, seed: int) -> list[FimTask]:
    if limit is None or limit >= len(tasks):
        return list(tasks)
    order = list(range(len(tasks)))
    # Shuffled, not sampled: a larger limit adds to the tasks of a smaller one.
    random.Random(seed).shuffle(order)  # noqa: S311  # a sample, not a secret
    return [tasks[number] for number in sorted(order[:limit])]


def _santacoder(row: dict[str, Any], where: str, number: int) -> FimTask:
    name, language, prompt, suffix, truth = (
        rows.text_of(row, field, where) for field in ("name", "language", "prompt", "suffix", "canonical_solution")
    )
    known = by_id(_LANGUAGES.get(language, language))
    if known is PLAIN or not known.extensions:
        raise InputError(f"{where}: the language {language!r} is not known")
    return FimTask(
        # Names are not unique: one is given for each line of a function, and lines repeat.
        task_id=f"{SANTACODER}/{known.id}/{number}/{name}",
        set=SANTACODER,
        language=known.id,
        prefix=prompt + "\n" if prompt else "",
        suffix="\n" + suffix if suffix else "",
        truth=truth,
        bare=(prompt, suffix),
    )


def _infilling(row: dict[str, Any], where: str) -> FimTask:
    task_id, entry_point, prompt, suffix, truth, test = (
        rows.text_of(row, field, where)
        for field in ("task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
    )
    kind = _NAMES.get(task_id.partition("/")[0])
    if kind is None:
        raise InputError(
            f"{where}: the task {task_id!r} is of no set that is known", hint=f"sets are {', '.join(_NAMES)}"
        )
    return FimTask(task_id, kind, "python", prompt, suffix, truth, test, entry_point)
