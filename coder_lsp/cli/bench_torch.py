"""``coder-lsp bench torch`` and ``bench agreement``: the torch engine, how fast it is and whether it says the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

_SHAPES = ("tiny", "small", "deepseek-1.3b", "deepseek-6.7b")


@click.command()
@click.option("--shape", type=click.Choice(_SHAPES), help="Random weights of these sizes [default: deepseek-1.3b].")
@click.option("--model", metavar="MODEL", help="Model name, or path of a GGUF file or a folder, in their place.")
@click.option("--device", default="auto", show_default=True, help="Such as cuda:0 or cpu.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "bf16", "fp16", "f32"]),
    default="auto",
    show_default=True,
    help="The arithmetic.",
)
@click.option(
    "--quantise", type=click.Choice(["none", "int8", "int4"]), default="none", show_default=True, help="Of weights."
)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=7, show_default=True, help="Rounds of the speed figures."
)
@click.option("--peer/--no-peer", default=True, show_default=True, help="Compare with transformers' generate().")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def torch(
    *,
    shape: str | None,
    model: str | None,
    device: str,
    precision: str,
    quantise: str,
    rounds: int,
    peer: bool,
    as_json: bool,
) -> None:
    """Measure the torch engine against what its device allows, and against transformers.

    Needs the extra torch. Takes a few minutes on a CUDA device; on the processor only small shapes are bearable.
    """
    from coder_lsp.bench.torch_engine import TorchBenchOptions, measure_torch, report
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.engine.base import EngineOptions
    from coder_lsp.models.store import resolve

    if shape is not None and model is not None:
        raise click.UsageError("--shape or --model, not both")
    subject = resolve(model).path if model is not None else shape or "deepseek-1.3b"
    wanted = EngineOptions(device=device, precision=precision, quantise=quantise)
    options = replace(TorchBenchOptions(), rounds=rounds, peer=peer and model is None)
    with console(stderr=True).status("torch") as status:
        figures = measure_torch(subject, wanted, options, lambda text: status.update(f"torch: {text}"))
    if not as_json:
        for line in report(figures):
            click.echo(line)
    emit_json(figures)


@click.command()
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER...",
)
@click.option(
    "--prompts", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Different prompts to answer."
)
@click.option("--new-tokens", type=click.IntRange(1, 1024), default=24, show_default=True, help="Longest answer.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the places.")
@click.option("--device", default="cpu", show_default=True, help="Of torch.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def agreement(
    folders: tuple[Path, ...],
    *,
    prompts: int,
    new_tokens: int,
    seed: int,
    device: str,
    model: str | None,
    as_json: bool,
) -> None:
    """Count how often torch and llama.cpp say the same, on code under FOLDER.

    On the file as it is, whose quantised products llama.cpp rounds in its own way, and with its weights written out in
    single precision. Needs the extra torch, four bytes of disk and memory for each weight, and half an hour.
    """
    from coder_lsp.app import load_config
    from coder_lsp.bench.agreement import measure_agreement, report
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.models.store import resolve

    chosen = resolve(load_config(model=model).model)
    with console(stderr=True).status("agreement") as status:
        measured = measure_agreement(
            chosen.path,
            folders,
            template=chosen.template,
            prompts=prompts,
            new_tokens=new_tokens,
            seed=seed,
            device=device,
            note=lambda text: status.update(f"agreement: {text}"),
        )
    if not as_json:
        for line in report(measured):
            click.echo(line)
    emit_json(measured)
