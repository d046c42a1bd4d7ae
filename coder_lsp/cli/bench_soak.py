"""``coder-lsp bench soak`` and ``load``: hours of editing, and many editors at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


@click.command()
@click.argument("project", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--minutes", type=click.FloatRange(0.1), default=120.0, show_default=True, help="How long.")
@click.option("--windows", type=click.IntRange(1, 16), default=2, show_default=True, help="Editors at once.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses what is typed and done.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append a line of JSON each minute to this file: a run that is killed leaves what it saw.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def soak(
    *, project: Path, minutes: float, windows: int, seed: int, model: str | None, record: Path | None, as_json: bool
) -> None:
    """Work in several windows on copies of PROJECT for hours, and see whether anything grows, slows down or is lost.

    Typing, suggestions taken, jumps, cancelled and explicit requests, instructions, branches switched, files closed
    and opened, models changed, rests of a minute or two. Exit status 1: a limit was not kept.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench.soak.report import lines
    from coder_lsp.bench.soak.run import SoakOptions
    from coder_lsp.bench.soak.run import soak as run_soak
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.store import resolve

    chosen = resolve(load_config(model=model).model)
    options = SoakOptions(minutes=minutes, windows=windows, seed=seed, record=record)
    with console(stderr=True).status("soak") as status:
        figures = asyncio.run(
            run_soak(project.resolve(), chosen.path, options, lambda text: status.update(f"soak: {text}"))
        )
    if not as_json:
        for line in lines(figures):
            click.echo(line)
    emit_json(figures)
    if not all(goal["met"] for goal in figures["goals"]):
        sys.exit(1)


@click.command()
@click.argument("project", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clients", type=click.IntRange(1, 200), default=20, show_default=True, help="Editors at once.")
@click.option("--seconds", type=click.FloatRange(1), default=120.0, show_default=True, help="How long they type.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses what is typed.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def load(*, project: Path, clients: int, seconds: float, seed: int, model: str | None, as_json: bool) -> None:
    """Let many editors type without a rest on one host: does each get its share, how long does it wait?

    Each works on a copy of PROJECT. Exit status 1: a request was lost or overtaken, or the host was not fair.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench.goals import rows
    from coder_lsp.bench.load import LoadOptions, measure_load, report
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.store import resolve

    chosen = resolve(load_config(model=model).model)
    options = LoadOptions(clients=clients, seconds=seconds, seed=seed)
    with console(stderr=True).status("load") as status:
        figures = asyncio.run(
            measure_load(project.resolve(), chosen.path, options, lambda text: status.update(f"load: {text}"))
        )
    if not as_json:
        for line in report(figures):
            click.echo(line)
        for title, value, bound, said in rows(figures["goals"]):
            click.echo(f"{said:7} {title}: {value} ({bound})")
    emit_json(figures)
    if not all(goal["met"] for goal in figures["goals"]):
        sys.exit(1)
