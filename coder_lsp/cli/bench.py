"""``coder-lsp bench``: speed and memory, measured here and now. The last line of the output is JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.late import LateGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.bench.flame import FlamePlace


LATE = {
    "remote": ("bench_remote", "Measure the remote engine, and how soon this machine stands in for a server."),
    "size": ("bench_size", "Estimate how many people one GPU of a team's server can complete for."),
    "load": ("bench_soak", "Let many editors type on one host: does each get its share?"),
    "soak": ("bench_soak", "Work in several windows for hours, and see whether anything grows or is lost."),
    "torch": ("bench_torch", "Measure the torch engine against what its device allows, and against transformers."),
    "agreement": ("bench_torch", "Count how often torch and llama.cpp say the same, on code under FOLDER."),
}


@click.group(cls=LateGroup, late=LATE)
def bench() -> None:
    """Measure speed and memory."""


@bench.command()
@click.option(
    "--engine",
    "which",
    type=click.Choice(["llama", "torch", "remote"]),
    default="llama",
    show_default=True,
    help="Which engine; `bench torch` and `bench remote` are the same with more options.",
)
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="Rounds of the speed figures."
)
@click.option("--cancels", type=click.IntRange(2, 1000), default=40, show_default=True, help="Generations to cancel.")
@click.option("--front/--no-front", default=True, show_default=True, help="Measure the language server too.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
@click.pass_context
def engine(
    ctx: click.Context, *, which: str, model: str | None, rounds: int, cancels: int, front: bool, as_json: bool
) -> None:
    """Measure the engine against llama.cpp itself and what the machine allows, and what the language server adds.

    Takes some minutes. Close what else is busy: ratios stand a noisy machine, speeds do not.
    """
    from coder_lsp.app import load_config

    if which != "llama":
        wanted = load_config(model=model).model if which == "torch" else model
        ctx.invoke(_other(ctx, which), model=wanted, rounds=rounds, as_json=as_json)
        return
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
    from coder_lsp.bench.retrieval import RetrievalOptions, measure_retrieval
    from coder_lsp.bench.retrieval_report import report
    from coder_lsp.cli.console import console, emit_json

    options = RetrievalOptions(bm25_only=bm25_only, reference=reference, seed=seed)
    if files:
        options = replace(options, files=files)
    with console(stderr=True).status("workspace") as status:
        figures = measure_retrieval(options, folders, status.update)
    if not as_json:
        for line in report(figures):
            click.echo(line)
    emit_json(figures)


@bench.command()
@click.argument(
    "projects",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 600),
    default=3.0,
    show_default=True,
    help="Typing time of each project on each side, if no suggestion helps.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses places, keys, pauses and jumps.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option(
    "--patience",
    type=click.FloatRange(0, 60),
    multiple=True,
    default=(1.5,),
    show_default=True,
    help="Seconds the typist waits for a suggestion at the start of a line; several times for several runs.",
)
@click.option("--speed", type=click.FloatRange(1, 100), default=5.0, show_default=True, help="Characters a second.")
@click.option(
    "--pause",
    type=(click.FloatRange(0, 60), click.FloatRange(0, 60)),
    default=(0.3, 2.0),
    show_default=True,
    help="Shortest and longest rest at the end of a line, in seconds.",
)
@click.option(
    "--peer",
    "peers",
    type=click.Choice(["llama-vim", "llama-vim-ring", "plain", "none"]),
    multiple=True,
    default=("llama-vim",),
    show_default=True,
    help="What to compare with: llama.vim over llama.cpp's server, the same with its ring of recent chunks, "
    "llama-cpp-python as a simple plugin uses it.",
)
@click.option(
    "--peer-python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Interpreter that has xllamacpp, llama.cpp's server as a package [default: this one].",
)
@click.option(
    "--without",
    type=click.Choice(["draft", "ladder", "idle", "reuse", "anchor", "context", "delay", "filter", "focus"]),
    multiple=True,
    help="Measure coder-lsp once more without this; focus: with an editor that does not tell where the cursor goes.",
)
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="Threads of every side [default: all cores].")
@click.option("--json", "json_file", metavar="FILE", help="Write the figures as JSON; - prints nothing else.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them (needs matplotlib).")
def replay(
    *,
    projects: tuple[Path, ...],
    minutes: float,
    seed: int,
    model: str | None,
    patience: tuple[float, ...],
    speed: float,
    pause: tuple[float, float],
    peers: tuple[str, ...],
    peer_python: Path | None,
    without: tuple[str, ...],
    threads: int,
    json_file: str | None,
    plot: Path | None,
) -> None:
    """Let a typist type code of real PROJECTS, with suggestions from coder-lsp and from others.

    Some lines are taken out of a copy of each project and typed back, with pauses and jumps to other places. A
    suggestion is taken when it is what comes next, to the end of the line at least. All sides get the same keys, model
    file and threads, place by place in turns.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench.replay import plot as plots
    from coder_lsp.bench.replay.run import ReplayOptions
    from coder_lsp.bench.replay.run import replay as run_replay
    from coder_lsp.bench.replay.trace import Pace
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.files import write_text
    from coder_lsp.models.store import resolve

    if plot is not None:
        plots.require()
    chosen = resolve(load_config(model=model).model)
    options = ReplayOptions(
        minutes=minutes,
        seed=seed,
        patience_s=tuple(dict.fromkeys(patience)),
        peers=tuple(name for name in dict.fromkeys(peers) if name != "none"),
        without=tuple(dict.fromkeys(without)),
        peer_python=peer_python,
        threads=threads,
        pace=Pace(characters_per_s=speed, line_end_s=(min(pause), max(pause))),
    )
    with console(stderr=True).status("replay") as status:
        measured = asyncio.run(run_replay(projects, chosen.path, options, status.update))
    if plot is not None:
        plots.draw(measured, plot)
    if json_file == "-":
        emit_json(measured)
        return
    _print_replay(measured)
    if json_file is not None:
        write_text(Path(json_file), json.dumps(measured) + "\n")


@bench.command()
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER...",
)
@click.option(
    "--prompts", type=click.IntRange(1, 100_000), default=60, show_default=True, help="Different prompts to answer."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the places.")
@click.option("--new-tokens", type=click.IntRange(1, 1024), default=48, show_default=True, help="Longest answer.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def draft(
    folders: tuple[Path, ...], *, prompts: int, seed: int, new_tokens: int, model: str | None, as_json: bool
) -> None:
    """Check that guessing tokens changes no answer, and measure what it saves, on code under FOLDER.

    Some lines are taken out and asked for at several cursors: without guessing, as shipped, wherever anything can be
    guessed, and without once more, which shows how much times differ by themselves. Loads the model twice.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench import drafting
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.store import resolve

    chosen = resolve(load_config(model=model).model)
    with console(stderr=True).status("drafting: loading the model") as status:
        measured = drafting.measure_drafting(
            chosen.path,
            folders,
            template=chosen.template,
            prompts=prompts,
            seed=seed,
            new_tokens=new_tokens,
            progress=lambda done, diverged: status.update(f"drafting: {done} of {prompts}; {diverged} diverged"),
        )
    if not as_json:
        for line in drafting.report(measured):
            click.echo(line)
    emit_json(measured)


@bench.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True))
@click.option("--line", "-l", type=int, help="Line of the cursor, counted from zero.")
@click.option("--column", "-c", type=int, help="Column of the cursor, in Unicode code points.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="Threads of the model [default: all cores].")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw it.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def flame(
    file: Path | None,
    *,
    line: int | None,
    column: int | None,
    model: str | None,
    threads: int,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Show where the milliseconds of one request go, at a place in FILE [default: in the demo's project].

    Three times: for a place the server has never seen, for the full prompt there, and for a key typed.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench import flame as flames
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.files import write_text
    from coder_lsp.models.store import resolve

    if file is not None and (line is None or column is None):
        raise click.UsageError("--line and --column say where in FILE")
    chosen = resolve(load_config(model=model).model)
    place = _flame_place(file, line or 0, column or 0)
    with console(stderr=True).status("flame") as status:
        measured = asyncio.run(flames.measure_flame(place, chosen.path, threads=threads, note=status.update))
    if svg is not None:
        write_text(svg, flames.svg(measured))
    if not as_json:
        click.echo(measured["hardware"])
        for kind, what in flames.KINDS.items():
            click.echo(f"\n{what}" + (f", median of {measured['keys']}" if kind == "key" else ""))
            for row in flames.lines(measured[kind]):
                click.echo(f"  {row}")
    emit_json(measured)


def _flame_place(file: Path | None, line: int, column: int) -> FlamePlace:
    from coder_lsp.bench.flame import DEMO, DEMO_FILE, FlamePlace
    from coder_lsp.cli.complete import request_for

    if file is None:
        text = DEMO_FILE.read_text(encoding="utf-8")
        # Inside the last line that is code.
        text = text.rstrip()[:-4]
        return FlamePlace(DEMO, DEMO_FILE.relative_to(DEMO).as_posix(), text, "\n")
    request = request_for(file, line, column)
    root = Path(request.root or file.parent)
    path = file.relative_to(root).as_posix()
    return FlamePlace(root, path, request.text[: request.cursor], request.text[request.cursor :])


def _other(ctx: click.Context, name: str) -> click.Command:
    """The command of another engine, which is imported when it is run."""
    found = bench.get_command(ctx, name)
    assert found is not None
    return found


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


def _print_replay(measured: dict[str, Any]) -> None:
    from rich.table import Table

    from coder_lsp.bench import goals
    from coder_lsp.bench.replay.report import rows, title
    from coder_lsp.cli.console import console

    out = console()
    out.print(measured["hardware"])
    out.print(f"{measured['model']}, {measured['threads']} threads, seed {measured['seed']}")
    for section in measured["sections"]:
        table = Table("", *section["subjects"], title=title(section), title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows(section):
            table.add_row(*row)
        # A file, a pipe and a narrow terminal get whole lines too: broken figures cannot be read.
        out.width = max(out.width, table.__rich_measure__(out, out.options.update(max_width=1000)).maximum)
        out.print()
        out.print(table)
        if section["goals"]:
            verdicts = Table("goal", "coder-lsp", "limit", "")
            for row in goals.rows(section["goals"]):
                verdicts.add_row(*row)
            out.print(verdicts)
