"""``coder-lsp eval compare`` and ``eval gate``: words and flags; what they do is in ``coder_lsp.evaluate``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coder_lsp.cli.progress import Shown
    from coder_lsp.config import Config
    from coder_lsp.evaluate.fim import FimSample, FimTask
    from coder_lsp.evaluate.gate import Verdict

_FELL = 1
_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("first", metavar="A", type=_PATH)
@click.argument("second", metavar="B", type=_PATH)
@click.option("--where", "both", multiple=True, metavar="FIELD=VALUE", help="Only such samples; may be repeated.")
@click.option("--where-a", "only_first", multiple=True, metavar="FIELD=VALUE", help="The same, of A alone.")
@click.option("--where-b", "only_second", multiple=True, metavar="FIELD=VALUE", help="The same, of B alone.")
@click.option("--by", default="", metavar="FIELD", help="Also for each value of a field, such as language or kind.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="FIELD", help="Compare this one [default: all that are known]."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the resamples.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(
    first: Path,
    second: Path,
    *,
    both: tuple[str, ...],
    only_first: tuple[str, ...],
    only_second: tuple[str, ...],
    by: str,
    metrics: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Compare two files of samples, task by task: what B is better and worse at, and whether that is chance.

    A and B were written by the same verb of "eval" (-o or --out). They may be one file, with --where-a and --where-b
    taking other samples out of it. A star marks what chance does less than once in twenty times.
    """
    from coder_lsp.cli.console import emit_json
    from coder_lsp.evaluate import compare as pairs
    from coder_lsp.evaluate import rows

    before = pairs.select(rows.samples(first), (*both, *only_first))
    after = pairs.select(rows.samples(second), (*both, *only_second))
    found = pairs.compared(before, after, metrics=metrics, by=by, seed=seed)
    if as_json:
        emit_json({"a": first, "b": second, "seed": seed, "compared": [one.as_json() for one in found]})
        return
    for line in pairs.lines(found):
        click.echo(line)


@click.command()
@click.option("--model", metavar="MODEL", help="Installed model or GGUF file [default: that of the baseline].")
@click.option("--baseline", type=_PATH, metavar="FILE", help="Compare with this [default: the one of the package].")
@click.option(
    "--write-baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what is measured now as a baseline, and judge nothing.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only so many of its gaps, for a quick look.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write each completion to this file, which must be new, as a line of JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def gate(
    *,
    model: str | None,
    baseline: Path | None,
    write_baseline: Path | None,
    limit: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fill a small fixed set of gaps, and fail if that is worse than it was, beyond what chance does.

    Takes a minute or a few, with default settings whatever yours are. Exit status 1 if it is worse.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.progress import Shown
    from coder_lsp.evaluate import gate as fixed
    from coder_lsp.evaluate import rows
    from coder_lsp.models.store import resolve

    if out is not None and out.exists():
        # What was made by another version of the code would pass for what this one makes.
        raise InputError(f"{out} is there already", hint="name a new file, or remove it")
    if write_baseline is not None and (limit is not None or baseline is not None):
        raise InputError("a baseline is of the whole set, and is compared with nothing", hint="--write-baseline alone")
    stored = None if write_baseline else fixed.Baseline.read(baseline or fixed.BASELINE)
    config = fixed.settings(load_config(model=model or (stored.model if stored else None)))
    name = resolve(config.model).name
    if stored is not None:
        fixed.check(stored, name)
    with contextlib.closing(Shown(console(stderr=True))) as shown:
        samples = asyncio.run(_fill(fixed.load(limit=limit), config, shown))
    for sample in samples if out is not None else ():
        assert out is not None
        rows.append(out, sample)
    if stored is None:
        assert write_baseline is not None
        measured = fixed.Baseline.of(name, samples)
        measured.write(write_baseline)
        click.echo(f"{sum(measured.exact.values())} of {len(samples)} gaps exact; baseline in {write_baseline}")
        return
    verdict = fixed.judge(stored, samples)
    if as_json:
        emit_json(gate_json(name, verdict))
    else:
        for line in gate_lines(verdict):
            click.echo(line)
    if not verdict.passed:
        sys.exit(_FELL)


async def _fill(tasks: Sequence[FimTask], config: Config, shown: Shown) -> list[FimSample]:
    from coder_lsp.app import host_settings
    from coder_lsp.evaluate.fim import fill
    from coder_lsp.evaluate.ways import Shipped
    from coder_lsp.host.supervisor import HostSupervisor

    supervisor = HostSupervisor(host_settings(config))
    shipped = Shipped(supervisor, config)
    try:
        return await fill(
            tasks,
            shipped,
            model=config.model,
            on_sample=lambda _sample, number, total: shown.tell("filling", number, total, "gaps"),
        )
    finally:
        await shipped.close()
        await supervisor.stop()


def gate_json(model: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "model": model,
        "passed": verdict.passed,
        "reasons": verdict.reasons,
        "exact": verdict.exact.as_json(),
        "similarity": verdict.similarity.as_json() if verdict.similarity else None,
        "chance": round(verdict.chance, 5),
        "lost": verdict.lost,
    }


def gate_lines(verdict: Verdict) -> Iterator[str]:
    """The verdict for people."""
    from coder_lsp.evaluate.compare import line

    yield line("exact", verdict.exact)
    if verdict.similarity is not None:
        yield line("edit_similarity", verdict.similarity)
    else:
        yield "similarity is not compared: pip install 'coder-lsp[eval]'"
    for name in verdict.lost:
        yield f"  was right: {name}"
    if verdict.passed:
        yield "passed: not worse than the baseline, as far as chance can tell"
    else:
        yield "failed:"
        yield from (f"  {reason}" for reason in verdict.reasons)
