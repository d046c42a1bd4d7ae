"""``coder-lsp eval fim`` and ``eval crossfile``: words and flags; what they do is in ``coder_lsp.evaluate``.

Figures go to stdout, progress to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.errors import CoderLspError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.cli.progress import Shown
    from coder_lsp.config import Config
    from coder_lsp.evaluate.crossfile import CrossfileSample, Limits
    from coder_lsp.evaluate.crossfile_tasks import CrossfileTask
    from coder_lsp.evaluate.fim import FimSample, FimTask
    from coder_lsp.evaluate.repo.complete import Subject

_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT = click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add each completion to this file as a line of JSON; those it has already are not made again.",
)


@click.command()
@click.argument("tasks", metavar="TASKS…", nargs=-1, required=True, type=_PATH)
@click.option("--model", metavar="MODEL", help="Installed model or GGUF file [default: from the settings].")
@click.option(
    "--adapter",
    metavar="NAME",
    help="Added adapter or GGUF file, laid over the model; name@0.5 scales it. Shipped only.",
)
@click.option(
    "--through",
    type=click.Choice(("shipped", "plain", "cursor", "both", "all")),
    default="shipped",
    show_default=True,
    help="shipped: as in an editor; plain: the model's bare prompt, as in papers; both: these two; cursor: the bare "
    "prompt split where an editor's cursor stands; all: all three.",
)
@click.option("--language", "languages", multiple=True, metavar="ID", help="Only this language; may be repeated.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many tasks of each set and language.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses them, and the resamples.")
@click.option("--max-tokens", type=click.IntRange(1, 4096), metavar="N", help="Of an answer [default: by the set].")
@click.option("--allow-execution", is_flag=True, help="Run the tests of the tasks on what was written, in a sandbox.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Tests run at once [default: one a core].")
@_OUT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fim(
    tasks: tuple[Path, ...],
    *,
    model: str | None,
    adapter: str | None,
    through: str,
    languages: tuple[str, ...],
    limit: int | None,
    seed: int,
    max_tokens: int | None,
    allow_execution: bool,
    workers: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fill gaps with a known answer: SantaCoder's single lines, and HumanEval-Infilling.

    TASKS are their files of JSON lines, gzipped or not. Published figures are printed beside ours.
    """
    from dataclasses import replace

    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.evaluate import fim as gaps
    from coder_lsp.evaluate import sandbox
    from coder_lsp.evaluate.published import SANTACODER, figures
    from coder_lsp.evaluate.repo.subjects import subjects
    from coder_lsp.evaluate.ways import measuring

    if adapter is not None and through != "shipped":
        raise click.UsageError("an adapter is measured through the shipped path alone; leave --through out")
    loaded = gaps.load(tasks, limit=limit, seed=seed, languages=languages)
    config = measuring(load_config(model=model))
    # Each task is a file without a workspace.
    config = replace(config, prompt=replace(config.prompt, context_tokens=0))
    laid = subjects((config.model,), (adapter,))[-1] if adapter is not None else None
    remarks = console(stderr=True)
    if allow_execution and any(task.test for task in loaded):
        for what in sandbox.unenforced():
            remarks.print(f"not enforced on this system: {what}")
    done = gaps.load_samples(out) if out is not None else []
    ways = {"both": ("shipped", "plain"), "all": ("shipped", "plain", "cursor")}.get(through, (through,))
    with contextlib.closing(Shown(remarks)) as shown:
        samples = asyncio.run(
            _fill(loaded, ways, config, done, laid, max_tokens=max_tokens, on_sample=_keep(out, shown))
        )
        if allow_execution:
            samples = _run_tests(loaded, samples, workers, out, shown)
    if not allow_execution and any(task.test for task in loaded):
        remarks.print("tests of the tasks were not run: they need --allow-execution")
    found = {
        "model": laid.name if laid else config.model,
        "seed": seed,
        "sets": gaps.figures(samples, seed=seed),
        "published": figures(SANTACODER) if any(task.set == gaps.SANTACODER for task in loaded) else [],
    }
    if as_json:
        emit_json(found)
        return
    for line in fim_lines(found):
        click.echo(line)


async def _fill(
    tasks: Sequence[FimTask],
    ways: Sequence[str],
    config: Config,
    done: Sequence[FimSample],
    laid: Subject | None,
    *,
    max_tokens: int | None,
    on_sample: Callable[[FimSample, str, int, int], None],
) -> list[FimSample]:
    """Way after way: a host and an engine in this process would hold the model twice."""
    from coder_lsp.app import host_settings
    from coder_lsp.evaluate.fim import fill
    from coder_lsp.evaluate.ways import Plain, Shipped
    from coder_lsp.host.supervisor import HostSupervisor
    from coder_lsp.models.store import resolve

    samples: list[FimSample] = []
    for way in ways:

        def tell(sample: FimSample, number: int, total: int, way: str = way) -> None:
            on_sample(sample, f"filling, {way}", number, total)

        model = laid.label if laid else config.model
        options: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "done": done, "on_sample": tell}
        if way == "shipped":
            supervisor = HostSupervisor(host_settings(config))
            shipped = Shipped(supervisor, config, laid.adapters if laid else ())
            try:
                samples += await fill(tasks, shipped, **options)
            finally:
                await shipped.close()
                await supervisor.stop()
        else:
            bare = Plain.load(resolve(config.model), config, at_cursor=way == "cursor")
            with contextlib.closing(bare) as plain:
                samples += await fill(tasks, plain, **options)
    return samples


def _keep(out: Path | None, shown: Shown) -> Callable[[FimSample, str, int, int], None]:
    from coder_lsp.evaluate import rows

    def keep(sample: FimSample, stage: str, number: int, total: int) -> None:
        if out is not None:
            rows.append(out, sample)
        shown.tell(stage, number, total, "tasks")

    return keep


def _run_tests(
    tasks: Sequence[FimTask], samples: Sequence[FimSample], workers: int | None, out: Path | None, shown: Shown
) -> list[FimSample]:
    from coder_lsp.evaluate.codegen import toolchains
    from coder_lsp.evaluate.fim import run_tests
    from coder_lsp.evaluate.sandbox import Limits
    from coder_lsp.retrieval.pool import usable_cores

    def ended(program: str) -> str:
        outcome = toolchains.execute("python", program, limits=Limits())
        if outcome.status == "error":
            raise CoderLspError(f"the sandbox could not run a test: {outcome.stderr.strip() or outcome.reason}")
        if toolchains.reached("python", outcome):
            return "passed"
        # A program that left early has passed nothing.
        return "failed" if outcome.status == "passed" else outcome.status

    keep = _keep(out, shown)
    return run_tests(
        tasks,
        samples,
        ended,
        workers=workers or usable_cores(),
        on_sample=lambda sample, number, total: keep(sample, "running tests", number, total),
    )


def fim_lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    from coder_lsp.evaluate.published import SANTACODER, lines

    yield (
        f"{'':<34} {'tasks':>6} {'exact':>8} {'no brackets':>12} {'similarity':>11} {'identifiers':>12} {'passed':>8} "
        f"{'p50 ms':>7} {'p95 ms':>7}"
    )
    for name, row in found["sets"].items():
        for way, one in row["ways"].items():
            yield (
                f"{name + ', ' + way:<34} {one['tasks']:>6} {_percent(one['exact']):>8} "
                f"{_percent(one['exact_without_lone_brackets']):>12} {_percent(one['edit_similarity']):>11} "
                f"{_percent(one['identifier_f1']):>12} {_percent(one['passed']):>8} "
                f"{one['ms']['p50']:>7.0f} {one['ms']['p95']:>7.0f}"
            )
        for ways, leads in row["leads"].items():
            for metric, lead in leads.items():
                yield f"  {ways}, {metric}: {_lead(lead)}"
    if found["published"]:
        yield ""
        yield from lines(SANTACODER)


@click.command()
@click.argument("tasks", metavar="TASKS", type=_PATH)
@click.option(
    "--repos",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that holds the repositories of the tasks [default: repos beside TASKS].",
)
@click.option("--model", metavar="MODEL", help="Installed model or GGUF file [default: from the settings].")
@click.option(
    "--context",
    "recipes",
    multiple=True,
    type=click.Choice(("none", "given", "reference", "ours")),
    help="Other files to show; may be repeated. given: the fragments in TASKS; reference: CrossCodeEval's recipe over "
    "the repository; ours: the shipped index [default: all but given, or none and given where TASKS has them].",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many tasks.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses them, and the resamples.")
@click.option("--sequence", type=click.IntRange(128, 65_536), default=2048, show_default=True, help="Tokens in all.")
@click.option("--budget", type=click.IntRange(16, 32_768), default=512, show_default=True, help="Of other files.")
@click.option("--new", type=click.IntRange(1, 4096), default=50, show_default=True, help="Tokens written.")
@_OUT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def crossfile(
    tasks: Path,
    *,
    repos: Path | None,
    model: str | None,
    recipes: tuple[str, ...],
    limit: int | None,
    seed: int,
    sequence: int,
    budget: int,
    new: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Continue places that need other files, from left to right, by CrossCodeEval's protocol.

    TASKS is a file of CrossCodeEval, of RepoEval or of "eval context", JSON lines, gzipped or not.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.evaluate import crossfile as protocol
    from coder_lsp.evaluate.crossfile_tasks import load
    from coder_lsp.evaluate.published import CROSSCODEEVAL, figures

    if sequence <= budget + new:
        raise InputError(f"a sequence of {sequence} tokens has no room beside {budget} and {new}", hint="--sequence")
    loaded = load(tasks, repos=repos, limit=limit, seed=seed)
    limits = protocol.Limits(sequence, budget, new)
    config = load_config(model=model)
    with contextlib.closing(Shown(console(stderr=True))) as shown:
        samples = _go_on(loaded, recipes or _usual(loaded), config, limits, out=out, shown=shown)
    brought = all(task.given is not None for task in loaded)
    found = {
        "model": config.model,
        "seed": seed,
        "protocol": {"sequence": sequence, "context": budget, "new": new, "direction": "left to right"},
        "languages": protocol.figures(samples, seed=seed),
        "published": figures(CROSSCODEEVAL) if brought else [],
    }
    if as_json:
        emit_json(found)
        return
    for line in crossfile_lines(found):
        click.echo(line)


def _usual(tasks: Sequence[CrossfileTask]) -> tuple[str, ...]:
    return ("none", "given") if all(task.given is not None for task in tasks) else ("none", "reference", "ours")


def _go_on(
    tasks: Sequence[CrossfileTask],
    recipes: Sequence[str],
    config: Config,
    limits: Limits,
    *,
    out: Path | None,
    shown: Shown,
) -> list[CrossfileSample]:
    from coder_lsp.evaluate import crossfile as protocol
    from coder_lsp.evaluate import rows
    from coder_lsp.evaluate.cutter import ModelCutter
    from coder_lsp.evaluate.ways import Plain
    from coder_lsp.models.store import resolve

    def keep(sample: protocol.CrossfileSample, number: int, total: int) -> None:
        if out is not None:
            rows.append(out, sample)
        shown.tell("completing", number, total, "places")

    done = rows.load(out, protocol.CrossfileSample) if out is not None else []
    model = resolve(config.model)
    cutter = ModelCutter.load(model)
    with contextlib.closing(Plain.load(model, config, context_tokens=limits.sequence)) as plain:
        places = protocol.contexts(
            tasks,
            recipes,
            cutter,
            plain.count,
            budget=limits.context,
            progress=lambda done, total: shown.tell("looking at other files", done, total, "places"),
        )
        return protocol.go_on(places, plain, model=config.model, limits=limits, done=done, on_sample=keep)


def crossfile_lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    from coder_lsp.evaluate.published import CROSSCODEEVAL, lines

    limits = found["protocol"]
    yield f"left to right, {limits['sequence']} tokens, {limits['context']} of other files, {limits['new']} written"
    yield (
        f"{'':<26} {'tasks':>6} {'exact':>8} {'similarity':>11} {'identifiers':>12} {'tokens':>7} "
        f"{'p50 ms':>7} {'p95 ms':>7}"
    )
    for language, row in found["languages"].items():
        for recipe, one in row["recipes"].items():
            yield (
                f"{language + ', ' + recipe:<26} {one['tasks']:>6} {_percent(one['exact']):>8} "
                f"{_percent(one['edit_similarity']):>11} {_percent(one['identifier_f1']):>12} "
                f"{one['context_tokens']:>7.0f} {one['ms']['p50']:>7.0f} {one['ms']['p95']:>7.0f}"
            )
        for name, lead in row["leads"].items():
            yield f"  {name}, exact: {_lead(lead)}"
    if found["published"]:
        yield ""
        yield from lines(CROSSCODEEVAL)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _lead(lead: dict[str, Any]) -> str:
    low, high = (100 * end for end in lead["interval_95"])
    return (
        f"{100 * lead['difference']:+.1f} points (95 %: {low:+.1f} to {high:+.1f}; p = {lead['p_value']:.3g}), "
        f"better {lead['better']}, worse {lead['worse']} of {lead['tasks']}"
    )
