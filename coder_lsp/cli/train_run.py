"""``coder-lsp train run``: words and flags; what it does is in ``coder_lsp.train``.

The result goes to stdout; progress and remarks go to stderr, or, with ``--json``, to stdout as events.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.options import AliasedOption
from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.train.run.begin import Request
    from coder_lsp.train.run.loop import Result
    from coder_lsp.train.run.progress import Watcher

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=0)


PRECISION = click.option(
    "--precision",
    type=click.Choice(("auto", "bf16", "fp32")),
    default="auto",
    show_default=True,
    help="auto: what is measured to be quicker here; name one where two runs are to be the same.",
)


@click.command("run")
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--base",
    cls=AliasedOption,
    aliases=("--model",),
    metavar="MODEL",
    default="",
    help="Installed model, GGUF file, or hub folder to start from [default: the one DATA was prepared for].",
)
@click.option(
    "-o",
    "--out",
    "run_folder",
    cls=AliasedOption,
    aliases=("--output",),
    type=_PATH,
    required=True,
    metavar="RUN",
    help="Folder of the run.",
)
@click.option("--method", type=click.Choice(("lora", "qlora", "dora", "full")), default="lora", show_default=True)
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Of the adapter.")
@click.option("--alpha", type=float, help="Scale of the adapter is alpha / rank [default: 2 x rank].")
@click.option("--dropout", type=float, default=0.0, show_default=True, help="In the adapter.")
@click.option("--targets", metavar="NAMES", help="Layers with an adapter, by comma [default: all linear ones].")
@click.option("--bits", type=click.Choice(("4", "8")), help="With qlora: quantise here [default: the file's blocks].")
@PRECISION
@click.option(
    "--checkpointing",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    show_default=True,
    help="Recompute activations: less memory, a third more time.",
)
@click.option("--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto", show_default=True)
@click.option("--learning-rate", type=float, default=0.0, help="Its peak [default: 5e-4; 2e-5 with full].")
@click.option("--schedule", type=click.Choice(("cosine", "linear", "constant")), default="cosine", show_default=True)
@click.option("--warmup", type=float, default=0.05, show_default=True, help="Share of all steps.")
@click.option("--weight-decay", type=float, default=-1.0, help="[default: 0; 0.1 with full]")
@click.option("--epochs", type=float, default=1.0, show_default=True)
@click.option("--steps", type=_COUNT, default=0, help="Instead of epochs.")
@click.option("--minutes", type=float, default=0.0, help="Plan as many steps as take so long.")
@click.option("--batch-tokens", type=_COUNT, default=0, help="Of one step [default: 2048; 32768 on a GPU].")
@click.option("--pass-tokens", type=_COUNT, default=0, help="Of one forward pass [default: 2048; 8192 on a GPU].")
@click.option("--document-tokens", type=_COUNT, default=0, help="Leave out longer documents.")
@click.option("--loss-on", type=click.Choice(("all", "middle")), default="all", show_default=True)
@click.option("--rope-scale", type=float, default=1.0, help="Stretch positions linearly, for a longer context.")
@click.option("--rope-base", type=float, default=0.0, help="Another base of the rotary embedding.")
@click.option("--eval-every", type=_COUNT, default=0, help="Steps between looks at held-out code [default: ten looks].")
@click.option("--eval-tokens", type=_COUNT, default=0, help="Held-out tokens to measure on, of each split.")
@click.option("--patience", type=_COUNT, default=3, show_default=True, help="Looks without gain before it ends.")
@click.option("--save-every", type=_COUNT, default=0, help="Steps between checkpoints, besides those by time.")
@click.option("--save-minutes", type=float, default=5.0, show_default=True, help="Between checkpoints.")
@click.option("--threads", type=_COUNT, default=0, help="[default: physical cores]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--system", metavar="TEXT", help="Of instructions: the line before each.")
@click.option("--skip-invalid", is_flag=True, help="Of instructions: leave out lines that are none.")
@click.option("--json", "as_json", is_flag=True, help="Print events, one JSON object a line; the last is the result.")
def run(
    data: Path,
    *,
    base: str,
    run_folder: Path,
    rank: int,
    alpha: float | None,
    targets: str | None,
    bits: str | None,
    save_every: int,
    save_minutes: float,
    system: str | None,
    skip_invalid: bool,
    as_json: bool,
    **others: Any,
) -> None:
    """Train an adapter (or all weights) on DATA: a folder made by `train prepare`, or a JSONL file of instructions.

    The same command goes on where a run was stopped or killed, exactly. What is best on held-out code is kept in
    RUN/adapter; RUN/loss.html shows how it went. Several processes: start it with torchrun or accelerate launch.
    """
    from coder_lsp.cli.console import emit_json
    from coder_lsp.train.run.begin import Request
    from coder_lsp.train.run.settings import RunSettings

    settings = RunSettings(
        rank=rank,
        alpha=alpha if alpha is not None else 2.0 * rank,
        targets=tuple(name.strip() for name in targets.split(",") if name.strip()) if targets else (),
        bits=int(bits or 0),
        **others,
    )
    request = Request(
        data=data,
        run=run_folder,
        base=base,
        settings=settings,
        save_minutes=save_minutes,
        save_every=save_every,
        skip_invalid=skip_invalid,
        system=system,
    )
    watcher = _watcher(as_json=as_json)
    try:
        result = loop()(request, watcher)
    except CoderLspError as error:
        if as_json:
            emit_json({"event": "error", "kind": type(error).__name__, "message": error.message, "hint": error.hint})
        raise
    if _rank():
        return
    if as_json:
        emit_json({"event": "done"} | asdict(result))
        return
    for line in report(result):
        click.echo(line)


def report(result: Result) -> list[str]:
    """The result for people."""
    took = f"{result.tokens:,} tokens in {result.seconds:.0f} s, {result.tokens_per_s:.0f} tokens/s"
    lines = [f"{result.ended}: {result.steps} steps, {took}"]
    for name, first in result.first.items():
        best = result.best[name]
        change = best / first - 1 if first else 0.0
        lines.append(f"{name:14} {first:.4f} -> {best:.4f}  {change:+.1%}")
    if result.first and not result.best_step:
        lines.append("no step was better than the base: nothing was kept; try a lower --learning-rate or more data")
    elif result.folder.exists():
        lines.append(f"the weights after step {result.best_step}: {result.folder}")
        lines.append(f"make a file for the server of them: coder-lsp train export {result.folder.parent}")
    if result.ended == "interrupted":
        lines.append("the same command goes on with it")
    return lines


def _watcher(*, as_json: bool) -> Watcher:
    from coder_lsp.cli.console import console
    from coder_lsp.train.run import progress

    if _rank():
        return progress.Silent()
    return progress.Events() if as_json else progress.for_console(console(stderr=True))


def _rank() -> int:
    """Which of several processes this is; 0 speaks for all."""
    return int(os.environ.get("RANK", "0"))


def loop() -> Callable[[Request, Watcher], Result]:
    """The loop, which needs libraries that only the extra has.

    :raises CoderLspError: one of them is missing.
    """
    # Threads that wait for each other sleep instead of turning: on a machine that is also worked on a run took a third
    # of the time (SmolLM2 135M, two cores, load of five: 105 tokens/s instead of 28). Read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Products of each new number of rows are kept, with their buffers, and passes are all of different lengths: with
    # the 1,024 that it keeps by itself an hour's run grew from 6 to 13.5 GB. One pass needs some forty.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    missing = next((name for name in ("torch", "transformers", "peft") if find_spec(name) is None), None)
    if missing is not None:
        raise CoderLspError(f"training needs {missing}, which is not installed", hint="pip install 'coder-lsp[train]'")
    from coder_lsp.train.run.loop import run as train

    return train
