"""``coder-lsp eval repo``: words and flags; what it does is in ``coder_lsp.evaluate.repo``.

The report goes to stdout, progress to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.config import Config
    from coder_lsp.evaluate.repo.complete import Sample, Subject
    from coder_lsp.evaluate.repo.workspace import Prepared


@click.command("repo")
@click.argument("repository", metavar="REPO", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Installed model or GGUF file; several are compared with the first [default: from the settings].",
)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME",
    help="Added adapter or GGUF file, laid over the first model and compared with it; name@0.5 scales it. May be "
    "repeated.",
)
@click.option("--branch", metavar="REF", default="", help="Of this branch or commit [default: the default branch].")
@click.option("--commits", type=click.IntRange(min=1), default=50, show_default=True, help="Newest commits to look at.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=120,
    show_default=True,
    metavar="N",
    help="Places to complete, at most; lines, blocks and calls alike.",
)
@click.option(
    "--budget",
    type=click.IntRange(16, 65_536),
    help="Tokens of other files [default: from the settings].",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the places.")
@click.option(
    "-o",
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for samples and report [default: one in the data folder, by name of the repository].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def repo(
    repository: Path,
    *,
    models: tuple[str, ...],
    adapters: tuple[str, ...],
    budget: int | None,
    out: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Measure how well the code of REPO is completed, on what its newest commits added.

    Lines, blocks and calls out of the history are asked for as an editor would have, in the file and the workspace of
    that moment, with and without other files. The work tree is not touched, and nothing leaves this machine. Whatever
    stops it, the same command goes on.
    """
    from dataclasses import replace

    from coder_lsp import paths
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.evaluate.repo import pipeline, report
    from coder_lsp.evaluate.repo.subjects import subjects

    config = load_config()
    # Places of the user's own files, which are on disk, are not to be replaced by these.
    config = replace(config, idle=replace(config.idle, enabled=False))
    if budget is not None:
        config = replace(config, prompt=replace(config.prompt, context_tokens=budget))
    compared = subjects(models or (config.model,), adapters)
    plan = pipeline.Plan(
        repository=repository,
        folder=(out or paths.data_dir() / "evaluations" / pipeline.name_of(repository)).expanduser().absolute(),
        budget=config.prompt.context_tokens,
        exclude=(*config.context.exclude, *config.completion.exclude),
        exclude_context=config.context.exclude,
        **choices,
    )
    with contextlib.closing(Shown(console(stderr=True))) as shown:

        def complete(
            prepared: Sequence[Prepared],
            subject: Subject,
            done: Sequence[Sample],
            tell: Callable[[Sample, int, int], None],
        ) -> list[Sample]:
            return asyncio.run(_complete(replace(config, model=subject.model), prepared, subject, done, tell))

        table = pipeline.measure(plan, compared, complete, shown.tell)
    if as_json:
        emit_json(table | {"folder": plan.folder})
        return
    for line in report.lines(table):
        click.echo(line)
    click.echo(f"\nreport: {plan.folder / pipeline.PAGE}")


async def _complete(
    config: Config,
    prepared: Sequence[Prepared],
    subject: Subject,
    done: Sequence[Sample],
    tell: Callable[[Sample, int, int], None],
) -> list[Sample]:
    """By a model host, which starts when the first place is asked for that is not known yet."""
    from coder_lsp.app import host_settings
    from coder_lsp.evaluate.repo.complete import complete
    from coder_lsp.host.supervisor import HostSupervisor

    supervisor = HostSupervisor(host_settings(config))
    try:
        return await complete(prepared, supervisor, config, subject, done=done, on_sample=tell)
    finally:
        await supervisor.stop()
