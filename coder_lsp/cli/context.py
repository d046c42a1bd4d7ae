"""``coder-lsp context``: what of other files a model would see at one place of one file, and why."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.console import console, emit_json, harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.config import Config
    from coder_lsp.retrieval.index import Index
    from coder_lsp.types import CompletionRequest, Snippet


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--line", "-l", type=int, required=True, help="Line of the cursor, counted from zero.")
@click.option("--column", "-c", type=int, required=True, help="Column of the cursor, in Unicode code points.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Workspace folder whose files are shown [default: the nearest folder above FILE with a .git].",
)
@click.option(
    "--budget", type=click.IntRange(0, 65_536), help="Most tokens, headers included [default: from the settings, 512]."
)
@click.option("--model", metavar="MODEL", help="Whose tokens and format count [default: from the settings].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def context(
    file: Path, line: int, column: int, *, root: Path | None, budget: int | None, model: str | None, as_json: bool
) -> None:
    """Print what of other files a model would see at a place of FILE.

    The folder is indexed first; what an editor has indexed already is not read again. Without the model's file the
    tokens are estimated.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.complete import request_for

    request = request_for(file, line, column, root=root)
    config = load_config(model=model)
    tokens = config.prompt.context_tokens if budget is None else budget
    folder = Path(request.root) if request.root else (root or file.parent).resolve()
    found = find(request, config, folder, tokens)
    if as_json:
        emit_json(found)
        return
    for row in report(found):
        click.echo(harmless(row))
    if found["tokens_by"] == "estimate":
        click.echo(f"{config.model} is not installed: tokens are estimated", err=True)


def find(request: CompletionRequest, config: Config, folder: Path, budget: int) -> dict[str, Any]:
    """What ``--json`` prints."""
    from coder_lsp.cli.evaluate import cutter_for
    from coder_lsp.cli.index import up_to_date
    from coder_lsp.completion.gate import Gate
    from coder_lsp.types import FimRequest

    cutter = cutter_for(config)
    refused = Gate(config).check(request) or ("" if config.context.enabled else "context.enabled is off")
    snippets: tuple[Snippet, ...] = ()
    files, timings_ms = 0, dict.fromkeys(("index", "assemble", "cut"), 0.0)
    if not refused:
        with up_to_date(folder, config.context, console(stderr=True)) as run:
            timings_ms["index"] = run.seconds * 1000
            files = len(run.index.files())
            snippets, timings_ms["assemble"] = _assemble(run.index, request, budget)
    began = time.perf_counter()
    cut = cutter.snippets(
        FimRequest(
            document=request.uri,
            prefix=request.text[: request.cursor],
            suffix=request.text[request.cursor :],
            language=request.language,
            path=request.path,
            repository=folder.name,
            snippets=snippets,
        ),
        budget,
    )
    timings_ms["cut"] = (time.perf_counter() - began) * 1000
    return {
        "text": cut.text,
        "tokens": cut.tokens,
        "tokens_by": cutter.name or "estimate",
        "budget": budget,
        "snippets": [_told(snippet) for snippet in cut.snippets],
        "reason": refused or ("" if cut.snippets else f"nothing in {files:,} files has to do with this place"),
        "root": str(folder),
        "files": files,
        "timings_ms": {stage: round(ms, 3) for stage, ms in timings_ms.items()},
    }


def report(found: dict[str, Any]) -> Iterator[str]:
    """The same for people; lines are counted from one here, as editors show them."""
    for snippet in found["snippets"]:
        place = f"{snippet['path']}:{snippet['start_line'] + 1}-{snippet['end_line']}"
        yield f"{place}  {snippet['source']}  ({snippet['score']:.4g})"
        yield from (f"    {line}".rstrip() for line in snippet["text"].rstrip("\n").split("\n"))
        yield ""
    if found["reason"]:
        yield f"no context: {found['reason']}"
    snippets, files = len(found["snippets"]), len({snippet["path"] for snippet in found["snippets"]})
    about = "about " if found["tokens_by"] == "estimate" else ""
    took_ms = found["timings_ms"]["assemble"] + found["timings_ms"]["cut"]
    yield (
        f"{about}{found['tokens']} of {found['budget']} tokens, {_count(snippets, 'snippet')} of "
        f"{_count(files, 'file')}, {took_ms:.0f} ms"
    )


def _assemble(index: Index, request: CompletionRequest, budget: int) -> tuple[tuple[Snippet, ...], float]:
    """Twice: the first time loads what a session of an editor has loaded long since."""
    from coder_lsp.retrieval.context import assemble

    root = index.roots[0] if request.root else None
    snippets: tuple[Snippet, ...] = ()
    took_ms = 0.0
    for _ in range(2):
        began = time.perf_counter()
        with index.request():
            snippets = assemble(index, root, request.path, request.text, request.cursor, budget=budget)
        took_ms = (time.perf_counter() - began) * 1000
    return snippets, took_ms


def _told(snippet: Snippet) -> dict[str, Any]:
    """Without what only the cut and the frozen block need; ``source`` says the same to people."""
    return {name: value for name, value in asdict(snippet).items() if name not in {"line_scores", "alike"}}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
