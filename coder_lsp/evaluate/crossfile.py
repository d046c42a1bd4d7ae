"""``coder-lsp eval crossfile``: CrossCodeEval's protocol and RepoEval's tasks, from left to right, with other files.

CrossCodeEval (Ding et al. 2023, arXiv 2310.11248, and its scripts): a sequence of 2048 tokens, of which 512 may show
other files and 50 are written; greedy; the model continues the text before the cursor and sees nothing behind it; the
first statement of what it wrote is compared, without comments. The recipes differ in the other files alone: ``none``,
``given`` (the fragments that a CrossCodeEval file brings), ``reference`` (the same recipe over the repository, see
``crosscodeeval``) and ``ours`` (the shipped index, which sees nothing behind the cursor either). Fragments of all are
written in the script's format and counted in the model's own tokens.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.crosscodeeval import INTRODUCTION, Reference
from coder_lsp.evaluate.identifiers import Repository
from coder_lsp.evaluate.indexed import fim_request, indexed
from coder_lsp.evaluate.metrics import edit_similarity, exact, first_statement, identifier_f1
from coder_lsp.evaluate.tasks import Task
from coder_lsp.languages import by_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from coder_lsp.evaluate.crossfile_tasks import Chunk, CrossfileTask
    from coder_lsp.evaluate.cutter import Cutter
    from coder_lsp.evaluate.ways import Plain, Written

NONE, GIVEN, REFERENCE, OURS = "none", "given", "reference", "ours"
RECIPES = (NONE, GIVEN, REFERENCE, OURS)
SEQUENCE_TOKENS, CONTEXT_TOKENS, NEW_TOKENS = 2048, 512, 50
_FOUND_IN = "the below code fragment is found in"
_COMMENTS = re.compile(r"#.*|//.*")
"""Cut off before the comparison, as the script does: also where ``//`` is an operator, in both texts alike."""
_LEAST_SHARE = 0.4
"""Of the context budget: what is chosen for less, once headers and comment signs are counted, is cut at the end."""


@dataclass(frozen=True)
class Shown:
    """A task with what each recipe shows of other files, as the model reads it."""

    task: CrossfileTask
    contexts: Mapping[str, str]


@dataclass(frozen=True)
class CrossfileSample:
    """One task, continued once. ``context`` is a digest of the other files shown, ``statement`` what was compared."""

    task_id: str
    repo: str
    language: str
    recipe: str
    context: str
    model: str
    sequence_tokens: int
    context_budget: int
    new_tokens: int
    exact: bool
    edit_similarity: float | None
    identifier_f1: float
    statement: str
    text: str
    prompt_tokens: int
    context_tokens: int
    ms: float

    @property
    def key(self) -> tuple[str | int, ...]:
        return (
            *(self.task_id, self.recipe, self.context, self.model),
            *(self.sequence_tokens, self.context_budget, self.new_tokens),
        )


@dataclass(frozen=True)
class Limits:
    """The protocol's tokens."""

    sequence: int = SEQUENCE_TOKENS
    context: int = CONTEXT_TOKENS
    new: int = NEW_TOKENS


def contexts(
    tasks: Sequence[CrossfileTask],
    recipes: Sequence[str],
    cutter: Cutter,
    count: Callable[[str], int],
    *,
    budget: int = CONTEXT_TOKENS,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Shown]:
    """What each recipe shows for each task; ``count`` counts tokens.

    :raises InputError: a recipe needs what is not there.
    """
    shown: list[Shown] = []
    by_repository: dict[str, list[CrossfileTask]] = {}
    for task in tasks:
        by_repository.setdefault(task.task.repo, []).append(task)
    for theirs in by_repository.values():
        chunks: dict[str, dict[str, list[Chunk]]] = {task.task.task_id: {} for task in theirs}
        if REFERENCE in recipes:
            reference = Reference(Repository.read(_root(theirs[0].task)).texts)
            for task in theirs:
                fragments = reference.fragments(task.task)
                chunks[task.task.task_id][REFERENCE] = [(each.path, "\n".join(each.lines)) for each in fragments]
        texts = _ours(_root(theirs[0].task), theirs, cutter, count, budget) if OURS in recipes else {}
        for task in theirs:
            found = {NONE: ""} if NONE in recipes else {}
            if GIVEN in recipes:
                if task.given is None:
                    raise InputError(f"task {task.task.task_id} brings no fragments", hint="leave --context given out")
                found[GIVEN] = written(task.given, _comment(task), count, budget)
            if REFERENCE in recipes:
                found[REFERENCE] = written(chunks[task.task.task_id][REFERENCE], _comment(task), count, budget)
            if OURS in recipes:
                found[OURS] = texts[task.task.task_id]
            shown.append(Shown(task, found))
            progress(len(shown), len(tasks))
    return shown


def written(chunks: Iterable[Chunk], comment: str, count: Callable[[str], int], budget: int) -> str:
    """Fragments as the script writes them: whole ones, the best first, until one does not fit.

    >>> print(written([("a.py", "x = 1")], "#", len, 512), end="")
    # Here are some relevant code fragments from other files of the repo:
    <BLANKLINE>
    # the below code fragment is found in a.py
    # x = 1
    <BLANKLINE>
    """
    introduction = f"{comment} {INTRODUCTION}\n\n"
    used = count(introduction)
    parts: list[str] = []
    for path, text in chunks:
        lines = "\n".join(f"{comment} {line}" for line in text.split("\n") if line)
        part = f"{comment} {_FOUND_IN} {path}\n{lines}\n\n"
        used += count(part)
        if used > budget:
            break
        parts.append(part)
    return introduction + "".join(parts) if parts else ""


def go_on(
    shown: Sequence[Shown],
    plain: Plain,
    *,
    model: str,
    limits: Limits = Limits(),
    done: Iterable[CrossfileSample] = (),
    on_sample: Callable[[CrossfileSample, int, int], None] = lambda _sample, _number, _total: None,
) -> list[CrossfileSample]:
    """Continue every task under every recipe; those in ``done`` are taken as they are."""
    known = {sample.key: sample for sample in done}
    total = sum(len(one.contexts) for one in shown)
    samples: list[CrossfileSample] = []
    for one in shown:
        for recipe, context in one.contexts.items():
            digest = blake2b(context.encode("utf-8", "replace"), digest_size=8).hexdigest() if context else ""
            key = (
                *(one.task.task.task_id, recipe, digest, model),
                *(limits.sequence, limits.context, limits.new),
            )
            sample = known.get(key)
            if sample is None:
                answer = plain.go_on(
                    context,
                    one.task.task.prefix,
                    sequence_tokens=limits.sequence,
                    context_tokens=limits.context,
                    max_tokens=limits.new,
                )
                sample = judged(one.task, answer, recipe, digest, model=model, limits=limits)
                on_sample(sample, len(samples) + 1, total)
            samples.append(sample)
    return samples


def judged(
    task: CrossfileTask, answer: Written, recipe: str, context: str, *, model: str, limits: Limits
) -> CrossfileSample:
    """A sample of what was written. A truth of several statements is cut as the answer is."""
    statement = compared(answer.text, task)
    truth = compared(task.task.ground_truth, task)
    return CrossfileSample(
        task_id=task.task.task_id,
        repo=task.task.repo,
        language=task.language,
        recipe=recipe,
        context=context,
        model=model,
        sequence_tokens=limits.sequence,
        context_budget=limits.context,
        new_tokens=limits.new,
        exact=exact(statement, truth),
        edit_similarity=edit_similarity(statement, truth),
        identifier_f1=identifier_f1(statement, truth, task.language),
        statement=statement,
        text=answer.text,
        prompt_tokens=answer.prompt_tokens,
        context_tokens=answer.context_tokens,
        ms=round(answer.ms, 1),
    )


def compared(text: str, task: CrossfileTask) -> str:
    """The part of a text that counts: its first statement, without comments."""
    return _COMMENTS.sub("", first_statement(text, task.task.prefix, task.language))


def figures(samples: Sequence[CrossfileSample], *, seed: int) -> dict[str, Any]:
    """By language: each recipe's figures, and its lead over every one before it, in pairs."""
    from coder_lsp.evaluate.paired import compare

    found: dict[str, Any] = {}
    for language in dict.fromkeys(sample.language for sample in samples):
        theirs = [sample for sample in samples if sample.language == language]
        recipes = [recipe for recipe in RECIPES if any(sample.recipe == recipe for sample in theirs)]
        groups = {recipe: [sample for sample in theirs if sample.recipe == recipe] for recipe in recipes}
        row: dict[str, Any] = {"recipes": {recipe: _summed(group) for recipe, group in groups.items()}, "leads": {}}
        for number, recipe in enumerate(recipes):
            for other in recipes[:number]:
                before, after = (
                    {sample.task_id: float(sample.exact) for sample in groups[each]} for each in (other, recipe)
                )
                row["leads"][f"{recipe} - {other}"] = compare(before, after, seed=seed).as_json()
        found[language] = row
    return found


def _summed(samples: Sequence[CrossfileSample]) -> dict[str, Any]:
    count = len(samples)
    similar = [sample.edit_similarity for sample in samples if sample.edit_similarity is not None]
    times = sorted(sample.ms for sample in samples)
    return {
        "tasks": count,
        "exact": round(sum(sample.exact for sample in samples) / count, 4),
        "edit_similarity": round(sum(similar) / len(similar), 4) if similar else None,
        "identifier_f1": round(sum(sample.identifier_f1 for sample in samples) / count, 4),
        "context_tokens": round(sum(sample.context_tokens for sample in samples) / count, 1),
        "ms": {"p50": times[count // 2], "p95": times[min(count - 1, count * 95 // 100)]},
    }


def _ours(
    root: Path, tasks: Sequence[CrossfileTask], cutter: Cutter, count: Callable[[str], int], budget: int
) -> dict[str, str]:
    found = {}
    with indexed(root) as index:
        for task in tasks:
            # From left to right: the index must not be asked with what stands behind the cursor.
            before = Task(**{**asdict(task.task), "suffix": ""})
            snippets, _ = index.snippets(before, budget)
            share = budget
            while True:
                cut = cutter.snippets(fim_request(before, snippets), share).snippets
                chunks = [
                    (path, "\n".join(snippet.text.rstrip("\n") for snippet in group))
                    for path, group in groupby(cut, key=lambda snippet: snippet.path)
                ]
                text = written(chunks, _comment(task), count, budget)
                whole = written(chunks, _comment(task), count, budget * 8)
                # Comment signs cost tokens that the cut did not count: less is chosen until all of it fits.
                if text == whole or share < budget * _LEAST_SHARE:
                    break
                share -= max(8, budget // 16)
            found[task.task.task_id] = text
    return found


def _root(task: Task) -> Path:
    root = Path(task.root)
    if not root.is_dir():
        raise InputError(
            f"the repository {task.repo} is not there: {root} is no folder",
            hint="--repos names the folder that holds the repositories of the tasks; --context none needs none",
        )
    return root


def _comment(task: CrossfileTask) -> str:
    return next(iter(by_path(task.task.path).line_comments), "#")
