"""``coder-lsp eval codegen``: words and flags; what it does is in ``coder_lsp.evaluate.codegen``.

The figures go to stdout, progress to stderr.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.config import Config
    from coder_lsp.evaluate.codegen.generator import ApartGenerator
    from coder_lsp.evaluate.codegen.problem import Problem
    from coder_lsp.evaluate.codegen.run import Sample


@click.command("codegen")
@click.argument("tasks", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", metavar="MODEL", help="Installed model or GGUF file [default: from the settings].")
@click.option("--adapter", metavar="NAME", help="Added adapter, or GGUF file, over the model; name@0.5 scales it.")
@click.option("--gold", is_flag=True, help="Run the file's own solutions instead: all must pass.")
@click.option(
    "--style",
    type=click.Choice(("plain", "chat", "outline")),
    help="Continue a text, follow an instruction, or write an outline first [default: the benchmark's own].",
)
@click.option(
    "--shots", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Text of worked examples, for maths."
)
@click.option("--max-tokens", type=click.IntRange(1, 8192), help="Tokens of an answer [default: the benchmark's own].")
@click.option(
    "--context-tokens",
    type=click.IntRange(256, 65_536),
    default=4096,
    show_default=True,
    help="Of prompt and answer together.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take N tasks, by chance.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses them.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Time of a program [default: the benchmark's own].")
@click.option("--workers", type=click.IntRange(min=1), help="Programs run at a time [default: one a core].")
@click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Interpreter for Python programs, with the libraries they need [default: this one].",
)
@click.option("--threads", type=click.IntRange(min=0), default=0, help="[default: from the settings]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add each program to this file as a line of JSON; those it has already are not written again.",
)
@click.option("--run-again", is_flag=True, help="Run programs that --out has already once more.")
@click.option("--allow-execution", is_flag=True, help="Run what the model writes, in a sandbox.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def codegen(
    tasks: Path,
    *,
    model: str | None,
    adapter: str | None,
    gold: bool,
    style: str | None,
    shots: Path | None,
    max_tokens: int | None,
    context_tokens: int,
    limit: int | None,
    seed: int,
    seconds: float | None,
    workers: int | None,
    python: Path | None,
    threads: int,
    out: Path | None,
    run_again: bool,
    allow_execution: bool,
    as_json: bool,
) -> None:
    """Have the programs of TASKS written and run: HumanEval, HumanEval-X, MultiPL-E, MBPP, LeetCode, DS-1000, maths.

    TASKS is a benchmark's own file of JSON lines, gzipped or not; which one it is, is seen from its first line.
    """
    from dataclasses import replace

    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.evaluate import published, rows, sandbox
    from coder_lsp.evaluate.codegen import formats, run
    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.retrieval.pool import usable_cores

    sandbox.require_permission(allow_execution)
    worked = shots.read_text(encoding="utf-8") if shots else ""
    form, problems = formats.read(tasks, Choice(style or "", max_tokens or 0, worked))
    problems = formats.sample(problems, limit, seed)
    remarks = console(stderr=True)
    problems, skipped = _runnable(problems, str(python or ""))
    for what in (*skipped, *(f"not enforced on this system: {what}" for what in sandbox.unenforced())):
        remarks.print(what)
    config = load_config(model=model)
    limits = replace(form.limits, seconds=seconds) if seconds else form.limits
    how = run.How(limits, workers or usable_cores(), str(python.absolute()) if python else "")
    called = run.GOLD if gold else config.model + (f" + {adapter}" if adapter else "")

    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(contextlib.closing(Shown(remarks)))

        def on_sample(sample: Sample, number: int, total: int) -> None:
            if out is not None:
                rows.append(out, sample)
            shown.tell(f"{form.name}, {called}", number, total, "tasks")

        samples = run.complete(
            form,
            problems,
            None if gold else stack.enter_context(_generator(config, adapter, threads, context_tokens)),
            how,
            model=called,
            done=rows.load(out, run.Sample) if out is not None else (),
            again=run_again,
            on_sample=on_sample,
        )
    found = run.figures(samples)
    # Beside a model's figure they say something, beside that of the solutions nothing.
    beside = [] if gold else published.figures(form.name)
    if as_json:
        emit_json(found | {"skipped": skipped, "unenforced": sandbox.unenforced(), "published": beside})
        return
    for line in (*run.lines(found), *(published.lines(form.name) if beside else ())):
        click.echo(line)


def _runnable(problems: Sequence[Problem], python: str) -> tuple[list[Problem], list[str]]:
    """Those whose tools are here, and a line for each language whose are not."""
    from coder_lsp.evaluate.codegen import toolchains

    lacking = {name: toolchains.missing(name, python) for name in {problem.language for problem in problems}}
    said = [
        f"left out: {sum(problem.language == name for problem in problems)} tasks in {name}, without {', '.join(tools)}"
        for name, tools in sorted(lacking.items())
        if tools
    ]
    kept = [problem for problem in problems if not lacking[problem.language]]
    if not kept:
        raise InputError("none of the tasks can be run here", hint="\n".join(said))
    return kept, said


def _generator(config: Config, adapter: str | None, threads: int, context_tokens: int) -> ApartGenerator:
    from coder_lsp.evaluate.codegen.generator import ApartGenerator, Job
    from coder_lsp.models import adapters, store
    from coder_lsp.types import Adapter

    found = store.resolve(config.model)
    laid: tuple[Adapter, ...] = ()
    if adapter:
        name, scale = adapters.split_scale(adapter)
        over = adapters.resolve(name)
        laid = (Adapter(str(over.path), scale, over.sha256),)
    return ApartGenerator(
        Job(
            path=str(found.path),
            template=found.template,
            adapters=laid,
            threads=threads or config.engine.threads,
            context_tokens=context_tokens,
            kv_type=config.engine.kv_type,
        )
    )
