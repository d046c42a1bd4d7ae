"""``coder-lsp bench size``: how many people a GPU may complete for. Arithmetic; nothing is measured."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from coder_lsp.bench.sizing import GPUS, MODELS, WEIGHT_BYTES, Limits, Typing, estimate

if TYPE_CHECKING:
    from coder_lsp.bench.sizing import Estimate

_TYPING, _LIMITS = Typing(), Limits()
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.option("--model", "models", type=click.Choice(list(MODELS)), multiple=True, help="[default: all]")
@click.option("--gpu", "gpus", type=click.Choice(list(GPUS)), multiple=True, help="[default: all]")
@click.option(
    "--weights", type=click.Choice(list(WEIGHT_BYTES)), default="bf16", show_default=True, help="Format of the weights."
)
@click.option("--developers", type=click.IntRange(1), default=50, show_default=True, help="People in all.")
@click.option(
    "--typing-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.3,
    show_default=True,
    help="Of them, who types at the same moment.",
)
@click.option(
    "--requests",
    type=_POSITIVE,
    default=_TYPING.requests_per_minute,
    show_default=True,
    help="Requests a minute of one who types.",
)
@click.option(
    "--prompt-tokens",
    type=_POSITIVE,
    default=_TYPING.prompt_tokens,
    show_default=True,
    help="Tokens read for a request, beyond those in the server's cache.",
)
@click.option(
    "--context-tokens",
    type=_POSITIVE,
    default=_TYPING.context_tokens,
    show_default=True,
    help="Tokens of a whole prompt.",
)
@click.option(
    "--new-tokens", type=_POSITIVE, default=_TYPING.new_tokens, show_default=True, help="Tokens of one answer."
)
@click.option(
    "--answer-ms",
    type=_POSITIVE,
    default=_LIMITS.answer_ms,
    show_default=True,
    help="How long an answer may take, to its last token.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def size(
    *,
    models: tuple[str, ...],
    gpus: tuple[str, ...],
    weights: str,
    developers: int,
    typing_share: float,
    requests: float,
    prompt_tokens: float,
    context_tokens: float,
    new_tokens: float,
    answer_ms: float,
    as_json: bool,
) -> None:
    """Estimate how many people one GPU of a team's server can complete for.

    Arithmetic on data sheets (docs/team-server.md), to buy by; what a server really does, its metrics say.
    """
    from coder_lsp.cli.console import emit_json

    typing = Typing(requests, prompt_tokens, context_tokens, new_tokens)
    limits = Limits(answer_ms=answer_ms)
    found = [
        (model, gpu, estimate(MODELS[model], GPUS[gpu], typing, limits, weights))
        for model in models or MODELS
        for gpu in gpus or GPUS
    ]
    wanted = developers * typing_share
    if not as_json:
        click.echo(f"estimate, {weights}; {developers} developers, {typing_share:.0%} of them typing at once")
        click.echo(f"{'model':20} {'GPU':5} {'typing at once':>14} {'bound by':>8} {'alone, ms':>10} {'GPUs':>5}")
        for model, gpu, each in found:
            click.echo(f"{model:20} {gpu:5} {_row(each, wanted)}")
    emit_json(
        {
            "typing": asdict(typing),
            "limits": asdict(limits),
            "weights": weights,
            "estimates": [
                {"model": model, "gpu": gpu, "gpus": _gpus(each, wanted), **asdict(each)} for model, gpu, each in found
            ],
        }
    )


def _row(each: Estimate, wanted: float) -> str:
    """Why not more; a model that is too slow or too large for one person says so."""
    bound = "memory" if each.by_memory < each.by_time else "time"
    gpus = _gpus(each, wanted)
    return f"{each.typing:14} {bound:>8} {each.answer_alone_ms:10.0f} {gpus or '-':>5}"


def _gpus(each: Estimate, wanted: float) -> int | None:
    return math.ceil(wanted / each.typing) if each.typing else None
