"""``coder-lsp train``: from your own repositories to an adapter that the running server uses.

The group and ``prepare``; ``run`` and ``export`` are in modules of their own, which need torch, and are imported when
they are run. What preparing does is in ``coder_lsp.train.prepare.pipeline``.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from coder_lsp.cli.late import LateGroup
from coder_lsp.errors import InputError

LATE = {
    "all": ("train_all", "The whole way in one command: prepare, run, export, assess, use."),
    "run": ("train_run", "Train an adapter, or the whole model, on prepared data."),
    "assess": ("train_assess", "Complete held-out gaps with and without an adapter, and compare them."),
    "export": ("train_export", "Write an adapter or a merged model, for the server and for others."),
}
"""Verbs in other modules, with what ``--help`` says about them."""


@click.group(cls=LateGroup, late=LATE)
def train() -> None:
    """Fine-tune a model on your own repositories, on this machine."""


@train.command()
@click.argument("repositories", metavar="REPO…", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o",
    "--out",
    metavar="DATA",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the data. One that is not finished is gone on with.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="The base: a model's name, a GGUF file or a hub folder [default: from the settings].",
)
@click.option("--branch", metavar="REF", default="", help="Read this branch or commit [default: the default branch].")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same data.")
@click.option(
    "--sequence-tokens", type=click.IntRange(256, 16_384), default=4096, show_default=True, help="Length of a sequence."
)
@click.option(
    "--fim-rate",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Part of the files that are learned with a gap.",
)
@click.option(
    "--fim-mode",
    type=click.Choice(["psm", "spm", "both"]),
    default="psm",
    show_default=True,
    help="Order of a gap's parts: prefix or suffix first.",
)
@click.option(
    "--context-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Part of the files with a gap that are shown as at serving, with code of other files.",
)
@click.option(
    "--loss-on",
    type=click.Choice(["all", "middle"]),
    default="all",
    show_default=True,
    help="What of a file with a gap is learned.",
)
@click.option(
    "--near-duplicate",
    type=click.FloatRange(0.3, 1),
    default=0.85,
    show_default=True,
    help="Similarity from which on the later of two files, or repositories, is left out; 1: none is.",
)
@click.option(
    "--prose-share",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Largest part of a repository that may be Markdown or other prose.",
)
@click.option(
    "--heldout-time", type=click.FloatRange(0, 0.5), default=0.05, show_default=True, help="Part held out: the newest."
)
@click.option(
    "--heldout-file", type=click.FloatRange(0, 0.5), default=0.05, show_default=True, help="Part held out: any files."
)
@click.option(
    "--heldout-tasks",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Gaps to measure on, out of each held-out part.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Evaluation files: what shares ten words in a row with them is left out. May be given several times.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out files, as in .gitignore. May be repeated.")
@click.option("--workers", type=click.IntRange(min=0), metavar="N", help="Processes [default: one for each core].")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON object.")
def prepare(
    repositories: tuple[Path, ...],
    *,
    out: Path,
    model: str | None,
    branch: str,
    against: tuple[Path, ...],
    workers: int | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Make training data of repositories: filtered, deduplicated, in dependency order, with gaps, packed.

    Files come from the commit of the default branch. What the workspace's rules leave out, ignored files and secrets
    among it, is left out here, too. Running the same command again goes on where it was. DATA/report.html has a report.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.retrieval.pool import usable_cores
    from coder_lsp.train.prepare import report
    from coder_lsp.train.prepare.pipeline import Order
    from coder_lsp.train.prepare.pipeline import prepare as run
    from coder_lsp.train.prepare.settings import Settings

    config = load_config(model=model)
    exclude = (*config.context.exclude, *choices.pop("exclude"))
    settings = Settings(prompt=config.prompt, exclude=exclude, **choices)
    if out.exists() and not _may_be_written(out):
        raise InputError(f"{out} is not empty and no data folder", hint="name a new folder")
    order = Order(
        places=repositories,
        out=out,
        model=model or config.model,
        settings=settings,
        branch=branch,
        against=against,
        workers=usable_cores() if workers is None else workers,
    )
    with contextlib.closing(Shown(console(stderr=True))) as shown:
        manifest = run(order, shown.tell)
    if as_json:
        emit_json(manifest)
        return
    for line in report.lines(manifest):
        click.echo(line)
    click.echo(f"\nreport: {out / 'report.html'}")


def _may_be_written(folder: Path) -> bool:
    """Empty, or with data in it, finished or not."""
    from coder_lsp.train.dataset import MANIFEST
    from coder_lsp.train.prepare.pipeline import LOCK, WORK

    names = {entry.name for entry in folder.iterdir()} - {LOCK}
    return not names or not names.isdisjoint({MANIFEST, WORK})
