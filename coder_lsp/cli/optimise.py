"""``coder-lsp models optimise``: words and flags; what it does is in ``coder_lsp.optimise``.

The result goes to stdout; steps and remarks go to stderr, or, with ``--json``, to stdout as events.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.evaluate.tasks import Task
    from coder_lsp.models.progress import Progress
    from coder_lsp.models.store import InstalledModel
    from coder_lsp.optimise.pipeline import Optimised
    from coder_lsp.optimise.tasks import Exact

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--name", "new_name", metavar="NAME", help="Name of the result [default: MODEL-optimised].")
@click.option("--source", type=click.Path(path_type=Path), help="A more exact file of the same model (F16, Q8_0).")
@click.option(
    "--code",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Files or folders of source to measure with [default: those that come with Python].",
)
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), help="Harm allowed, nats a token.")
@click.option(
    "--trim-vocabulary/--keep-vocabulary",
    "trim",
    default=None,
    help="Leave out tokens that code in Latin letters never has [default: with --code].",
)
@click.option("--tasks", multiple=True, type=_FILE, help="Fill-in-the-middle tasks to compare on, JSON lines.")
@click.option("--sample", type=click.IntRange(min=1), default=60, show_default=True, help="Of the tasks.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line; the last is the result.")
def optimise(
    name: str,
    *,
    new_name: str | None,
    source: Path | None,
    code: tuple[Path, ...],
    budget: float | None,
    trim: bool | None,
    tasks: tuple[Path, ...],
    sample: int,
    as_json: bool,
) -> None:
    """Make a faster file of MODEL for this machine's processor: measure, choose, write, compare.

    Each group of matrices gets the format that is fastest here among those whose harm to predictions stays within the
    budget. The result is a model of its own; MODEL stays. Takes some minutes.
    """
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models import progress as shown
    from coder_lsp.models import store
    from coder_lsp.optimise import pipeline
    from coder_lsp.optimise import tasks as fim

    progress = shown.Events() if as_json else shown.for_console(console(stderr=True))
    loaded = fim.load(tasks, sample) if tasks else []
    model = store.resolve(name)
    request = pipeline.Request(
        model=model,
        name=new_name or f"{store.slug(model.name)}-optimised",
        source=source,
        code=code,
        budget=budget or pipeline.BUDGET,
        trim=trim,
    )
    made = pipeline.optimise(request, progress)
    if loaded:
        exact = asyncio.run(_compare(model, made.model, loaded, progress))
        made = pipeline.with_exact(made, exact)
    if as_json:
        emit_json({"event": "done"} | figures(made))
        return
    for line in report(made):
        click.echo(line)


def figures(made: Optimised) -> dict[str, Any]:
    """The result for programs."""
    return {
        "model": made.model.name,
        "path": made.model.path,
        "bytes": made.model.bytes,
        "sha256": made.model.sha256,
        "before": asdict(made.before),
        "after": asdict(made.after),
        "provenance": made.provenance.table(),
        "options": made.options,
    }


def report(made: Optimised) -> list[str]:
    """The result for people: what each group became, what that gains, and what it harms."""
    from coder_lsp.models import files

    provenance = made.provenance
    lines = [f"{'GROUP':<18} {'FORMAT':<10} {'DECODE':>8} {'PROMPT':>8} {'HARM':>8}"]
    for group, chosen in provenance.formats.items():
        options = made.options[group]
        now = next(iter(options.values()))
        then = options[chosen]
        lines.append(
            f"{group:<18} {chosen:<10} {_ratio(now['decode_us'], then['decode_us']):>8} "
            f"{_ratio(now['prefill_us'], then['prefill_us']):>8} {then['harm']:>8.4f}"
        )
    lines += [
        "",
        f"decode  {made.before.decode:.1f} -> {made.after.decode:.1f} tokens/s, {provenance.decode_ratio:.2f} times",
        f"prompt  {made.before.prefill:.1f} -> {made.after.prefill:.1f} tokens/s, {provenance.prefill_ratio:.2f} times",
        f"harm    {provenance.divergence:.4f} nats a token; {provenance.agreement:.1%} of first guesses are the same",
    ]
    if provenance.tokens_kept:
        lines.append(
            f"tokens  {provenance.tokens_kept} kept; the code measured with is {provenance.longer_percent:.2f} % longer"
        )
    if exact := provenance.exact:
        lines.append(
            f"exact   {exact['before']} -> {exact['after']} of {exact['tasks']} tasks "
            f"({exact['better']} better, {exact['worse']} worse)"
        )
    lines += [
        "",
        f"{made.model.name}: {files.human(made.model.bytes)}, {made.model.path}",
        f"use it with: coder-lsp models use {made.model.name}",
    ]
    return lines


async def _compare(before: InstalledModel, after: InstalledModel, loaded: Sequence[Task], progress: Progress) -> Exact:
    from coder_lsp.app import load_config
    from coder_lsp.optimise import tasks as fim

    results = []
    for model in (before, after):
        config = replace(load_config(), model=str(model.path) if model.source == "path" else model.name)

        def tell(number: int, total: int, name: str = model.name) -> None:
            if number % 10 == 0 or number == total:
                progress.note(f"tasks with {name}: {number} of {total}")

        results.append(await fim.complete(loaded, config, tell))
    return fim.compare(*results)


def _ratio(now: float, then: float) -> str:
    return f"{now / then:.2f}x" if then else "-"
