"""``coder-lsp bench``: speed and memory, measured here and now. The last line of the output is JSON."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group()
def bench() -> None:
    """Measure speed and memory."""


@bench.command()
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="Rounds of the speed figures."
)
@click.option("--cancels", type=click.IntRange(2, 1000), default=40, show_default=True, help="Generations to cancel.")
@click.option("--front/--no-front", default=True, show_default=True, help="Measure the language server too.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def engine(*, model: str | None, rounds: int, cancels: int, front: bool, as_json: bool) -> None:
    """Measure the engine against llama.cpp itself, and what the language server adds.

    Takes some minutes. Close what else is busy: ratios stand a noisy machine, speeds do not.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench.engine import BenchOptions, measure_engine
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.store import resolve

    chosen = resolve(load_config(model=model).model)
    remarks = console(stderr=True)
    sections: dict[str, Any] = {}
    with remarks.status("engine") as status:
        options = BenchOptions(rounds=rounds, cancels=cancels)
        sections["engine"] = measure_engine(chosen.path, options, lambda text: status.update(f"engine: {text}"))
        if front:
            from coder_lsp.bench.front import measure_front

            status.update("front")
            sections["front"] = asyncio.run(measure_front(model))
    if not as_json:
        for line in report(sections):
            click.echo(line)
    emit_json(sections)


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--places", type=click.IntRange(1, 10_000), default=48, show_default=True, help="Lines to complete.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the places.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def prompt(folder: Path, *, model: str | None, places: int, seed: int, as_json: bool) -> None:
    """Count exact completions of lines under FOLDER by how the prompt is built."""
    from coder_lsp.app import host_settings, load_config
    from coder_lsp.bench.prompt import measure_prompts
    from coder_lsp.cli.console import console, emit_json

    settings = host_settings(load_config(model=model))
    with console(stderr=True).status("prompts") as status:

        def progress(number: int, exact: dict[str, int]) -> None:
            status.update(f"prompts: {number} of {places}; exact so far: {', '.join(map(str, exact.values()))}")

        figures = measure_prompts(settings, folder, count=places, seed=seed, progress=progress)
    if not as_json:
        for name, exact in figures["exact"].items():
            click.echo(f"{exact:4} of {figures['places']}  {name}")
    emit_json(figures)


@bench.command()
@click.option(
    "--files",
    type=click.IntRange(1, 1_000_000),
    multiple=True,
    help="Files of a workspace; several times for several workspaces [default: 1000 and 10000].",
)
@click.option(
    "--folder",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="Where the source comes from [default: Python's standard library and the installed packages].",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses files, places and queries.")
@click.option("--bm25-only", is_flag=True, help="Measure the search index alone.")
@click.option("--reference/--no-reference", default=True, show_default=True, help="Compare with rank_bm25.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def retrieval(
    *, files: tuple[int, ...], folders: tuple[Path, ...], seed: int, bm25_only: bool, reference: bool, as_json: bool
) -> None:
    """Measure indexing and context on synthetic workspaces of real source.

    Needs no model. Takes some minutes, and all cores and 3 GB of memory for 10,000 files.
    """
    from coder_lsp.bench.goals import report as report_goals
    from coder_lsp.bench.retrieval import RetrievalOptions, measure_retrieval
    from coder_lsp.cli.console import console, emit_json

    options = RetrievalOptions(bm25_only=bm25_only, reference=reference, seed=seed)
    if files:
        options = replace(options, files=files)
    with console(stderr=True).status("workspace") as status:
        figures = measure_retrieval(options, folders, status.update)
    if not as_json:
        for line in report_goals(figures):
            click.echo(line)
    emit_json(figures)


def report(sections: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of text: the machine first, then one ``name  value`` a line, nested names joined."""
    figures = sections.get("engine", {})
    if "hardware" in figures:
        yield figures["hardware"]
    for section, content in sections.items():
        yield ""
        yield section
        rows = list(_rows(content))
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            if name != "hardware":
                yield f"  {name:<{width}}  {value}"


def _rows(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict) and all(not isinstance(inner, dict) for inner in value.values()):
            yield name, "  ".join(f"{key} {inner}" for key, inner in value.items())
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", text) for inner, text in _rows(value))
        else:
            yield name, str(value)
