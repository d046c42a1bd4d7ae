"""``coder-lsp train assess``: words and flags; what it does is in ``coder_lsp.train.assess``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.config import Config
    from coder_lsp.evaluate.exact import Gap, Sample
    from coder_lsp.train.assess import Subject


@click.command("assess")
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--adapter", required=True, metavar="NAME", help="Added adapter, or GGUF file; name@0.5 scales it.")
@click.option("--model", metavar="MODEL", help="Installed model or GGUF file [default: from the settings].")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most gaps of each split.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the gaps.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON lines of every completion; a run that was ended goes on from them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def assess(
    data: Path, *, adapter: str, model: str | None, limit: int, seed: int, out: Path | None, as_json: bool
) -> None:
    """Complete held-out gaps of DATA with and without an adapter, as an editor would, and compare them."""
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import emit_json
    from coder_lsp.models import adapters
    from coder_lsp.train.assess import figures, held_out, lines, subjects
    from coder_lsp.types import Adapter

    config = load_config(model=model)
    name, scale = adapters.split_scale(adapter)
    found = adapters.resolve(name)
    gaps = held_out(data, limit=limit, seed=seed)
    both = subjects(config.model, Adapter(str(found.path), scale, found.sha256))
    samples = asyncio.run(complete(config, gaps, both, out, _line))
    compared = figures(samples, seed=seed)
    if as_json:
        emit_json({"model": config.model, "adapter": adapter, "seed": seed, "held_out": compared})
        return
    for line in lines(compared):
        click.echo(line)


async def complete(
    config: Config,
    gaps: Sequence[Gap],
    both: Sequence[Subject],
    out: Path | None,
    tell: Callable[[Subject, Sample, int, int], object],
) -> dict[str, list[Sample]]:
    """The samples of each subject, by a model host; those that ``out`` has already are taken from there.

    ``tell`` hears of each new one, with its number and how many a subject has.
    """
    from coder_lsp.app import host_settings
    from coder_lsp.evaluate import rows
    from coder_lsp.evaluate.exact import Sample
    from coder_lsp.host.supervisor import HostSupervisor
    from coder_lsp.train.assess import complete

    def on_sample(subject: Subject, sample: Sample, number: int, total: int) -> None:
        if out is not None:
            try:
                rows.append(out, sample)
            except OSError as error:
                raise CoderLspError(f"cannot write {out}: {error.strerror}") from error
        tell(subject, sample, number, total)

    done = rows.load(out, Sample) if out is not None else []
    supervisor: Any = HostSupervisor(host_settings(config))
    try:
        return await complete(gaps, supervisor, config, both, done=done, on_sample=on_sample)
    finally:
        await supervisor.stop()


def _line(subject: Subject, sample: Sample, number: int, total: int) -> None:
    mark = "exact" if sample.exact else sample.reason or "other"
    words = f"{number}/{total}  {subject.name}  {sample.task_id}  {mark}  {sample.ms / 1000:.1f} s"
    print(words, file=sys.stderr, flush=True)
