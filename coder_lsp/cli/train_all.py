"""``coder-lsp train all``: words and flags; what it does is in ``coder_lsp.train.whole``.

The report goes to stdout, progress to stderr.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli import train_assess, train_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from coder_lsp.cli.progress import Shown as PreparationShown
    from coder_lsp.config import Config
    from coder_lsp.evaluate.exact import Gap, Sample
    from coder_lsp.models.progress import Progress
    from coder_lsp.train.assess import Subject
    from coder_lsp.train.run.progress import Watcher
    from coder_lsp.train.whole.pipeline import Outcome, Plan

_INTERRUPTED = 130
_SEQUENCE_TOKENS = {"cpu": 2048, "cuda": 4096}
_MINUTES = {"cpu": 60.0, "cuda": 0.0}
"""On a processor it would take days to read a large repository once; a GPU reads it in minutes."""


@click.command("all")
@click.argument("repositories", metavar="REPO…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything that is made [default: one in the data folder, by name and commit].",
)
@click.option("--name", metavar="NAME", help="What the adapter is called [default: the name of the first REPO].")
@click.option("--model", metavar="MODEL", help="The base: a model's name or a GGUF file [default: from the settings].")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    help="For training itself; 0: as long as --epochs take [default: 60, without a limit on a GPU].",
)
@click.option("--epochs", type=float, default=1.0, show_default=True, help="Times that the code is read, at most.")
@click.option(
    "--method",
    type=click.Choice(("auto", "lora", "qlora", "dora")),
    default="auto",
    show_default=True,
    help="auto: LoRA, over the quantised base where memory will not do.",
)
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Of the adapter.")
@click.option("--learning-rate", type=float, default=0.0, help="Its peak [default: 5e-4].")
@train_run.PRECISION
@click.option(
    "--tasks",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="Gaps of each held-out part that are completed before and after.",
)
@click.option(
    "--general",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Tasks that show what was forgotten (JSON lines, see docs) [default: gaps in Python's own library].",
)
@click.option(
    "--general-tasks", type=click.IntRange(min=0), default=60, show_default=True, help="How many of them; 0: none."
)
@click.option(
    "--against",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Evaluation files: what shares ten words in a row with them is left out. May be given several times.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files, as in .gitignore. May be repeated.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all that is left to chance.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="[default: physical cores]")
@click.option(
    "--use/--no-use", "use_it", default=None, help="Use the adapter, or do not, without being asked [default: ask]."
)
@click.option("--everywhere", is_flag=True, help="Use it for all files, not for those of REPO alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def all_(
    repositories: tuple[Path, ...],
    *,
    model: str | None,
    use_it: bool | None,
    everywhere: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Fit the model to your repositories: prepare, train, export, measure on held-out code, and use it if you say so.

    An hour and a half on a laptop by default, an hour of it training. Whatever stops it, the same command goes on. What
    it was worth is measured on the newest code, which is kept out of the training, by completing it as an editor would,
    before and after.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.train.whole import pipeline, report

    train = train_run.loop()
    config = load_config(model=model)
    plan = _plan(repositories, config, model or config.model, **choices)
    remarks = console(stderr=True)
    remarks.print(f"working in {plan.folder}", soft_wrap=True)
    shown = _Shown(remarks)
    outcome = pipeline.go(plan, shown, train, partial(_complete, config, shown))
    if outcome.ended == "interrupted":
        remarks.print("interrupted; the same command goes on")
        sys.exit(_INTERRUPTED)
    if not as_json:
        for line in report.lines(outcome.report):
            click.echo(line)
        click.echo(f"\nreport: {outcome.page}")
    used = _use(plan, outcome, use_it, everywhere=everywhere)
    if as_json:
        emit_json(outcome.report | {"adapter": outcome.adapter, "page": outcome.page, "used_for": used})
        return
    if used is not None:
        where = ", ".join("all files" if place is None else f"files in {place}" for place in used)
        click.echo(f"{plan.name} is used for {where}; servers that run use it from their next completion on")
        click.echo(
            "without it again: coder-lsp models use --no-adapter" + ("" if everywhere else " --workspace FOLDER")
        )
    elif outcome.adapter is not None:
        click.echo(f"not used; use it later: coder-lsp train export {plan.folder / pipeline.RUN} --prompts 0 --use")


def _plan(
    repositories: tuple[Path, ...],
    config: Config,
    model: str,
    *,
    out: Path | None,
    name: str | None,
    minutes: float | None,
    tasks: int,
    general: tuple[Path, ...],
    general_tasks: int,
    against: tuple[Path, ...],
    exclude: tuple[str, ...],
    seed: int,
    **run: Any,
) -> Plan:
    from coder_lsp import paths
    from coder_lsp.errors import InputError
    from coder_lsp.models import store
    from coder_lsp.retrieval.pool import usable_cores
    from coder_lsp.train.prepare.pipeline import Order
    from coder_lsp.train.prepare.settings import Settings
    from coder_lsp.train.prepare.sources import open_sources
    from coder_lsp.train.run import arrange
    from coder_lsp.train.run.settings import RunSettings
    from coder_lsp.train.whole.pipeline import Plan

    sources = open_sources(repositories)
    device = arrange.device("auto")
    called = store.slug(name if name is not None else sources[0].name)
    if not called:
        raise InputError("the adapter needs a name", hint="give --name, such as --name my-code")
    mark = Settings().digest(model, *(source.identity for source in sources))[:10]
    settings = Settings(
        seed=seed,
        sequence_tokens=_SEQUENCE_TOKENS[device],
        exclude=(*config.context.exclude, *exclude),
        heldout_tasks=max(tasks, Settings.heldout_tasks),
        prompt=config.prompt,
    )
    folder = (out or paths.data_dir() / "training" / f"{called}-{mark}").expanduser().absolute()
    return Plan(
        folder=folder,
        name=called,
        order=Order(repositories, folder, model, settings, against=against, workers=usable_cores()),
        run=RunSettings(
            device=device,
            alpha=2.0 * run["rank"],
            minutes=_MINUTES[device] if minutes is None else minutes,
            seed=seed,
            **run,
        ),
        tasks=tasks,
        general=general_tasks,
        general_files=general,
        seed=seed,
    )


def _complete(
    config: Config, shown: _Shown, gaps: Sequence[Gap], both: Sequence[Subject], out: Path
) -> dict[str, list[Sample]]:
    def tell(subject: Subject, _sample: Sample, number: int, total: int) -> None:
        shown.preparing(f"completing, {subject.name}", number, total, "tasks")

    try:
        return asyncio.run(train_assess.complete(config, gaps, both, out, tell))
    finally:
        shown.close()


def _use(plan: Plan, outcome: Outcome, wanted: bool | None, *, everywhere: bool) -> list[Path | None] | None:
    """Ask, unless that was said; where the adapter is used from now on, None where it is not."""
    from coder_lsp.train.whole import pipeline

    if outcome.adapter is None:
        return None
    if wanted is None:
        good = bool(outcome.report["verdict"]["use"])
        where = "all files" if everywhere else ", ".join(str(place) for place in plan.order.places)
        wanted = sys.stdin.isatty() and click.confirm(f"Use it for {where}?", default=good, err=True)
    return pipeline.use(plan, outcome.adapter, everywhere=everywhere) if wanted else None


class _Shown:
    """A headline for each stage, and the progress that the stage's own command has."""

    def __init__(self, remarks: Console) -> None:
        self._remarks = remarks
        self._preparing: PreparationShown | None = None

    def stage(self, number: int, name: str) -> None:
        from coder_lsp.train.whole.pipeline import STAGES

        self.close()
        self._remarks.print(f"[{number}/{len(STAGES)}] {name}", markup=False, highlight=False)

    def close(self) -> None:
        """No more of the present stage's bar."""
        if self._preparing is not None:
            self._preparing.close()
            self._preparing = None

    def preparing(self, stage: str, done: int, total: int, unit: str) -> None:
        from coder_lsp.cli.progress import Shown

        if self._preparing is None:
            self._preparing = Shown(self._remarks)
        self._preparing.tell(stage, done, total, unit)

    def running(self) -> Watcher:
        from coder_lsp.train.run import progress

        return progress.for_console(self._remarks)

    def exporting(self) -> Progress:
        from coder_lsp.models import progress

        return progress.for_console(self._remarks)
