"""``coder-lsp eval``: measures on tasks with a known answer.

The group, ``context`` and ``make-tasks``; the other verbs are in modules of their own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.late import LateGroup
from coder_lsp.errors import CoderLspError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.config import Config
    from coder_lsp.evaluate.context import Measured
    from coder_lsp.evaluate.cutter import Cutter
    from coder_lsp.evaluate.exact import Gap, Sample


LATE = {
    "repo": ("evaluate_repo", "On your own repository: what its newest commits added."),
    "fim": ("evaluate_fim", "Gaps with a known answer: SantaCoder's lines, HumanEval-Infilling."),
    "crossfile": ("evaluate_fim", "Places that need other files, by CrossCodeEval's protocol."),
    "codegen": ("evaluate_codegen", "Programs from descriptions, run against their tests."),
    "compare": ("evaluate_compare", "Two files of samples, task by task, with significance."),
    "gate": ("evaluate_compare", "A small fixed set that fails when completions became worse."),
}
"""Verbs in other modules, with what ``--help`` says about them."""


@click.group("eval", cls=LateGroup, late=LATE)
def eval() -> None:  # noqa: A001  # the verb's name
    """Measure on tasks with a known answer."""


@eval.command()
@click.argument("tasks", type=click.Path(path_type=Path))
@click.option(
    "--repos",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that holds the repositories of the tasks [default: repos beside TASKS].",
)
@click.option(
    "--budget", type=click.IntRange(16, 65_536), default=512, show_default=True, help="Tokens of other files."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N tasks only.")
@click.option("--model", metavar="MODEL", help="Whose tokens count, and who completes [default: from the settings].")
@click.option(
    "--reference/--no-reference", default=True, show_default=True, help="Measure CrossCodeEval's recipe beside ours."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--exact-match", is_flag=True, help="Also complete the tasks, without context and with ours.")
@click.option("--reference-too", is_flag=True, help="Also complete them with the reference's context.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Complete so many tasks, chosen at random.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the sample.")
@click.option(
    "--max-tokens", type=click.IntRange(1, 4096), default=64, show_default=True, help="Tokens of a completion."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add each completion to this file as a line of JSON; those it has already are not made again.",
)
def context(
    tasks: Path,
    *,
    repos: Path | None,
    budget: int,
    limit: int | None,
    model: str | None,
    reference: bool,
    as_json: bool,
    exact_match: bool,
    reference_too: bool,
    sample: int | None,
    seed: int,
    max_tokens: int,
    out: Path | None,
) -> None:
    """Count how many of the identifiers that TASKS need out of other files the context brings.

    TASKS is a file of JSON lines, gzipped or not: task_id, repo, path, function, prefix, suffix, ground_truth.
    """
    from dataclasses import replace

    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.evaluate.context import measure, summary
    from coder_lsp.evaluate.exact import compare
    from coder_lsp.evaluate.tasks import load_tasks

    if (sample or out or reference_too) and not exact_match:
        raise InputError("--sample, --out and --reference-too go with --exact-match")
    loaded = load_tasks(tasks, repos=repos, limit=limit)
    config = load_config(model=model)
    config = replace(config, prompt=replace(config.prompt, context_tokens=budget))
    remarks = console(stderr=True)
    cutter = cutter_for(config)
    if not cutter.exact:
        remarks.print(f"{config.model} is not installed: tokens are estimated")
    with remarks.status("context") as status:
        measured = measure(
            loaded,
            cutter,
            budget=budget,
            reference=reference,
            progress=lambda done, total: status.update(f"context: {done} of {total} tasks"),
        )
    figures = summary(measured, cutter, budget=budget)
    if exact_match:
        gaps = _gaps(measured, loaded.roots, sample, seed, reference=reference_too)
        samples = asyncio.run(_complete(config, gaps, max_tokens, out, remarks.print))
        figures["exact_match"] = compare(samples, seed=seed)
    if as_json:
        emit_json(figures)
        return
    for line in report(figures):
        click.echo(line)


@eval.command("make-tasks")
@click.argument("repository", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--functions", type=click.IntRange(min=1), default=100, show_default=True, help="Tasks to make, at most.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the functions.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Task file, .jsonl or .jsonl.gz.",
)
def make_tasks(repository: Path, *, functions: int, seed: int, out: Path) -> None:
    """Make tasks out of REPOSITORY: take the bodies of functions away, to be measured by "eval context"."""
    from coder_lsp.evaluate import gaps
    from coder_lsp.evaluate.tasks import write_tasks

    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise InputError(f"{out} is neither .jsonl nor .jsonl.gz")
    made = gaps.make_tasks(repository.resolve(), functions=functions, seed=seed)
    write_tasks(out, made)
    click.echo(f"{len(made)} tasks from {len({task.path for task in made})} files in {out}")


def cutter_for(config: Config) -> Cutter:
    """By the configured model's tokens, by estimate if it is not installed.

    :raises CoderLspError: its file is there and cannot be used.
    """
    from coder_lsp.errors import ModelNotInstalled
    from coder_lsp.evaluate.cutter import EstimatingCutter, ModelCutter
    from coder_lsp.models.store import resolve

    try:
        return ModelCutter.load(resolve(config.model))
    except ModelNotInstalled:
        return EstimatingCutter()


def report(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of text."""
    yield f"tokens by {figures['tokens_by']}, at most {figures['budget']}; {figures['needed']} identifiers needed"
    yield ""
    recipes = [name for name in ("ours", "reference") if name in figures]
    yield f"{'':<32} {'tasks':>6} {'needed':>7}" + "".join(f"  {name:>20}" for name in recipes)
    rows = [*figures["repositories"].items(), ("total", figures)]
    for name, row in rows:
        shares = "".join(f"  {row[recipe]['found']:>5} {row[recipe]['recall']:>14.3f}" for recipe in recipes)
        yield f"{name:<32} {row['tasks']:>6} {row['needed']:>7}{shares}"
    yield f"{'mean of tasks':<47}" + "".join(f"  {figures[recipe]['recall_per_task']:>20.3f}" for recipe in recipes)
    yield f"{'tokens of a block':<47}" + "".join(f"  {figures[recipe]['tokens']:>20.0f}" for recipe in recipes)
    yield f"{'assembled in':<47}  {'p50 {p50:.1f} ms, p95 {p95:.1f} ms'.format(**figures['ms'])}"
    if "exact_match" in figures:
        yield ""
        yield from _report_exact(figures["exact_match"])


def _report_exact(figures: dict[str, Any]) -> Iterator[str]:
    for name, row in figures["recipes"].items():
        similarity = "" if row["similarity"] is None else f", edit similarity {row['similarity']:.3f}"
        share = 100 * row["exact_share"]
        yield f"first line exact, context {name:<9}  {row['exact']:>4} of {row['tasks']}  {share:.1f} %{similarity}"
    for name, row in figures["difference_to_none"].items():
        low, high = (100 * end for end in row["interval_95"])
        yield (
            f"{name} - none  {100 * row['difference']:+.1f} points (95 %: {low:+.1f} to {high:+.1f}), "
            f"better {row['better']}, worse {row['worse']} of {row['tasks']}"
        )


def _gaps(
    measured: Sequence[Measured], roots: dict[str, Path], count: int | None, seed: int, *, reference: bool
) -> list[Gap]:
    from coder_lsp.evaluate.crosscodeeval import Reference
    from coder_lsp.evaluate.exact import NONE, Gap, as_snippets, chosen
    from coder_lsp.evaluate.identifiers import Repository

    by_task = {one.task.task_id: one for one in measured}
    recipes: dict[str, Reference] = {}
    gaps = []
    for task in chosen([one.task for one in measured], count, seed):
        snippets = {NONE: (), "ours": by_task[task.task_id].assembled}
        if reference:
            if task.repo not in recipes:
                recipes[task.repo] = Reference(Repository.read(roots[task.repo]).texts)
            snippets["reference"] = as_snippets(recipes[task.repo].fragments(task))
        gaps.append(Gap(task, roots[task.repo], snippets))
    return gaps


async def _complete(
    config: Config, gaps: Sequence[Gap], max_tokens: int, out: Path | None, say: Callable[[str], object]
) -> list[Sample]:
    from dataclasses import replace

    from coder_lsp.app import host_settings
    from coder_lsp.evaluate import rows
    from coder_lsp.evaluate.exact import Sample, complete_all
    from coder_lsp.host.supervisor import HostSupervisor

    def on_sample(sample: Sample, number: int, total: int) -> None:
        if out is not None:
            try:
                rows.append(out, sample)
            except OSError as error:
                raise CoderLspError(f"cannot write {out}: {error.strerror}") from error
        mark = "exact" if sample.exact else sample.reason or "other"
        say(f"{number}/{total}  {sample.task_id}  {sample.recipe}  {mark}  {sample.ms / 1000:.1f} s")

    done = rows.load(out, Sample) if out is not None else []
    # A host that works ahead would keep the places of an evaluation on disk, instead of the user's.
    supervisor = HostSupervisor(host_settings(replace(config, idle=replace(config.idle, enabled=False))))
    try:
        return await complete_all(gaps, supervisor, config, max_tokens=max_tokens, done=done, on_sample=on_sample)
    finally:
        await supervisor.stop()
