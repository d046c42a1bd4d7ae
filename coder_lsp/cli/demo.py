"""``coder-lsp demo``: the real model completes a small project through the real server, as an editor would have it.

Owns the order of events and what is printed. The project and its places are ``demo.places``, the editor that is played
``demo.editor``; nothing about the results is known beforehand.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.console import console, emit_json
from coder_lsp.errors import ModelNotInstalled
from coder_lsp.interpreter import module_command

if TYPE_CHECKING:
    from rich.console import Console

    from coder_lsp.config import Config
    from coder_lsp.demo.editor import Editor
    from coder_lsp.demo.places import Place
    from coder_lsp.models.store import InstalledModel


@dataclass(frozen=True)
class Shown:
    """One place with what came of it; ``ghost`` is empty where there was no suggestion."""

    title: str
    file: str
    line: int
    column: int
    before: str
    ghost: str
    after: str
    first_ms: float
    keystroke_ms: float | None = None
    """The next request, after the first character of the suggestion was typed."""


@click.command()
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--offline", is_flag=True, help="Forbid any use of the network.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the code.")
@click.option("--no-color", is_flag=True, help="Print no escape codes, on a terminal either.")
def demo(*, model: str | None, offline: bool, as_json: bool, no_color: bool) -> None:
    """Complete several places of a bundled project with the real model.

    Pulls the default model first if it is not on this machine.
    """
    from coder_lsp.app import load_config
    from coder_lsp.demo.connect import editors_folder, how_to_connect

    began = time.perf_counter()
    # Our client knows what it does not handle; pygls would say so on the terminal.
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    out = console(stderr=as_json, color=False if no_color else None)
    config = load_config(model=model, offline=offline or None)
    installed, verified = _model(config, out)
    with tempfile.TemporaryDirectory(prefix="coder-lsp-demo-") as folder:
        engine, shown = asyncio.run(_play(Path(folder), config, out, quiet=as_json))
    total_seconds = time.perf_counter() - began
    if as_json:
        emit_json(_as_dict(shown, installed, engine=engine, verified=verified, total_seconds=total_seconds))
        return
    _print_totals(out, shown, installed, verified=verified, total_seconds=total_seconds)
    out.print()
    out.print(how_to_connect(_own_command(), editors_folder()))


def _model(config: Config, out: Console) -> tuple[InstalledModel, bool | None]:
    """The configured model, pulled first if it is the default one and absent; and whether its digest is right.

    None: nobody states what the digest should be. Other models may be many gigabytes, so they are not pulled unasked.

    :raises ModelNotInstalled: another model than the default one, and it is not here.
    :raises DownloadError: it could not be pulled.
    """
    from coder_lsp.config import DEFAULT_MODEL
    from coder_lsp.doctor.model import digest, expected_digest
    from coder_lsp.models import progress, store
    from coder_lsp.models.pull import pull

    try:
        installed = store.resolve(config.model)
    except ModelNotInstalled:
        if store.canonical(config.model) != DEFAULT_MODEL:
            raise
        began = time.perf_counter()
        bar = progress.for_console(console(stderr=True, color=False if out.no_color else None))
        installed = pull(config.model, offline=config.offline, progress=bar, confirm=click.confirm)
        out.print(f"Pulled {installed.name} in {time.perf_counter() - began:.0f} s.", style="dim")
    expected = expected_digest(installed)
    return installed, None if expected is None else digest(installed.path)[0] == expected


async def _play(folder: Path, config: Config, out: Console, *, quiet: bool) -> tuple[str, list[Shown]]:
    """Open the project in the server and ask at every place; returns the engine's name and the places."""
    from coder_lsp.demo.editor import editor
    from coder_lsp.demo.places import copy_project, load_places

    root = copy_project(folder / "project")
    settings: dict[str, Any] = {"model": config.model, "offline": config.offline}
    command = module_command("coder_lsp", "serve")
    out.print("Starting the language server and loading the model …", style="dim")
    began = time.perf_counter()
    async with editor(command, root, settings, log=folder / "server.log") as session:
        engine = await session.ready()
        out.print(f"Ready after {time.perf_counter() - began:.1f} s (engine {engine}).", style="dim")
        places, shown = load_places(), []
        for number, place in enumerate(places, start=1):
            one = await _complete(session, root, place)
            shown.append(one)
            if not quiet:
                _print_place(out, one, f"{number}/{len(places)}")
    return engine, shown


async def _complete(session: Editor, root: Path, place: Place) -> Shown:
    """Ask at a place, then type the first character of the answer and ask again."""
    from coder_lsp.demo.places import cut

    gap = cut((root / place.file).read_text(encoding="utf-8"), place)
    session.show(place.file, place.language, gap.before + gap.after)
    began = time.perf_counter()
    ghost = await session.ghost(place.file, gap.before)
    one = Shown(
        place.title,
        place.file,
        place.line,
        place.column,
        before=gap.before,
        ghost=ghost.text if ghost else "",
        after=gap.after[ghost.replaced if ghost else 0 :],
        first_ms=round((time.perf_counter() - began) * 1000, 1),
    )
    if ghost is None or not ghost.text:
        return one
    session.type_text(place.file, gap.before, ghost.text[0])
    began = time.perf_counter()
    await session.ghost(place.file, gap.before + ghost.text[0])
    return replace(one, keystroke_ms=round((time.perf_counter() - began) * 1000, 1))


def _print_place(out: Console, one: Shown, number: str) -> None:
    from coder_lsp.demo import view

    out.print()
    out.print(f"{number}  {one.title}", style="bold", end="")
    out.print(f"  {one.file}:{one.line}", style="dim")
    rows = view.rows(one.before, one.ghost, one.after)
    width = len(str(rows[-1].number)) + 2
    colored = out.is_terminal and not out.no_color
    for row in rows:
        if not colored:
            out.print(view.plain(row, width))
            continue
        out.print(f"{row.number:>{width}} | ", style="dim", end="")
        for run in row.runs:
            out.print(run.text, style="italic bright_cyan" if run.kind == view.GHOST else None, end="")
        out.print()
    if not one.ghost:
        out.print(f"{'':{width}}   no suggestion after {one.first_ms:.0f} ms", style="yellow")
        return
    keystroke = "" if one.keystroke_ms is None else f"; after one more keystroke {one.keystroke_ms:.0f} ms"
    out.print(f"{'':{width}}   suggestion after {one.first_ms:.0f} ms{keystroke}", style="dim")


def _print_totals(
    out: Console, shown: list[Shown], installed: InstalledModel, *, verified: bool | None, total_seconds: float
) -> None:
    answered = [one for one in shown if one.ghost]
    out.print()
    out.print(f"Suggestions at {len(answered)} of {len(shown)} places", style="bold", end="")
    if answered:
        keystrokes = [one.keystroke_ms for one in answered if one.keystroke_ms is not None]
        out.print(
            f"; median {statistics.median(one.first_ms for one in answered):.0f} ms, "
            f"{statistics.median(keystrokes):.0f} ms after one more keystroke",
            end="",
        )
    out.print()
    digest = {True: "verified", False: "WRONG, see coder-lsp doctor", None: "unverified, nobody states it"}[verified]
    out.print(f"model   {installed.name}, digest {digest}")
    out.print(f"total   {total_seconds:.1f} s")


def _as_dict(
    shown: list[Shown], installed: InstalledModel, *, engine: str, verified: bool | None, total_seconds: float
) -> dict[str, Any]:
    """What ``--json`` prints: of the code around a place only the cursor's own line."""
    answered = [one.first_ms for one in shown if one.ghost]
    return {
        "model": installed.name,
        "engine": engine,
        "verified": verified,
        "places": [
            {**asdict(one), "before": one.before.rsplit("\n", 1)[-1], "after": one.after.split("\n", 1)[0]}
            for one in shown
        ],
        "median_first_ms": round(statistics.median(answered), 1) if answered else None,
        "total_seconds": round(total_seconds, 3),
    }


def _own_command() -> str:
    """How this user starts coder-lsp: by name if it is on the PATH and the same one, else by its full path."""
    here = Path(sys.executable).parent / "coder-lsp"
    found = shutil.which("coder-lsp")
    return "coder-lsp" if found and Path(found).resolve() == here.resolve() else str(here)
