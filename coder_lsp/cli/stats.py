"""``coder-lsp stats``: what became of suggestions on this machine, and the show filter that learns from it.

Words and flags only; what they do is in ``coder_lsp.stats``.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coder_lsp.errors import CoderLspError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.stats.store import History
    from coder_lsp.stats.summary import Summary
    from coder_lsp.stats.train import Policy, Training


@click.group(invoke_without_command=True)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Only the last so many days [default: all].")
@click.option("--forget", is_flag=True, help="Delete the history, and the show filter trained on it.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with plots.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def stats(context: click.Context, *, days: float | None, forget: bool, html: Path | None, as_json: bool) -> None:
    """Show what became of suggestions: how many were accepted, what they saved, how quick they were.

    The history is kept on this machine alone and holds numbers, never text or names of files. `stats.enabled = false`
    keeps none.
    """
    if context.invoked_subcommand is not None:
        if days is not None or forget or html is not None:
            raise InputError(f"--days, --html and --forget do not go with {context.invoked_subcommand}")
        if as_json:
            raise InputError(f"give --json behind {context.invoked_subcommand}")
        return
    if forget:
        if days is not None or html is not None:
            raise InputError("--forget deletes the whole history and takes neither --days nor --html")
        _forget(as_json=as_json)
        return
    _report(days, html, as_json=as_json)


@stats.command("train-filter")
@click.option("--dry-run", is_flag=True, help="Say what would come of it and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def train_filter(*, dry_run: bool, as_json: bool) -> None:
    """Learn from your own history which suggestions are worth showing.

    The filter is a logistic regression over numbers: how sure the model was, how you type, what kind of place it is. It
    holds back what you would most likely ignore, so that about 95 of 100 suggestions you would accept are still shown.
    It is kept only if it beats the fixed rule on your latest suggestions. Running editors take it up when they restart.
    """
    from coder_lsp.cli.console import emit_json
    from coder_lsp.completion.show_filter import load_weights, weights_path
    from coder_lsp.models.files import write_text
    from coder_lsp.stats.train import train

    with _history() as history:
        training = train(history.read())
    path = weights_path()
    written = training.weights is not None and not dry_run
    if training.weights is not None and not dry_run:
        try:
            write_text(path, training.weights.to_json() + "\n")
        except OSError as error:
            raise CoderLspError(f"cannot write {path}: {error.strerror}") from error
    in_use = "trained" if load_weights(path) is not None else "rule"
    if as_json:
        emit_json({"training": training, "written": written, "in_use": in_use, "path": path})
        return
    for line in _training_lines(training):
        click.echo(line)
    if written:
        click.echo(f"written to {path}")
    elif training.weights is not None:
        click.echo("a dry run: nothing was written")
    else:
        click.echo("in use: " + ("the filter trained before" if in_use == "trained" else "the fixed rule"))


@contextlib.contextmanager
def _history() -> Iterator[History]:
    from coder_lsp.stats.store import History

    with contextlib.closing(History(on_notice=lambda text: click.echo(text, err=True))) as history:
        yield history


def _report(days: float | None, html: Path | None, *, as_json: bool) -> None:
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import emit_json
    from coder_lsp.stats.page import page
    from coder_lsp.stats.summary import summarise

    with _history() as history:
        summary = summarise(history.read(days=days))
    if not load_config().stats.enabled:
        click.echo("stats.enabled is off: nothing new is kept", err=True)
    if html is not None:
        _write_page(html, page(summary, days))
    if as_json:
        emit_json({"last_days": days, "overall": summary.overall, "languages": summary.languages, "days": summary.days})
        return
    if not summary.overall.shown:
        click.echo("no suggestion was shown " + ("yet" if days is None else f"in the last {days:g} days"))
        return
    for line in _table(summary):
        click.echo(line)


def _write_page(path: Path, text: str) -> None:
    from coder_lsp.models.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise CoderLspError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"written to {path}", err=True)


def _table(summary: Summary) -> Iterator[str]:
    from coder_lsp.stats.summary import COLUMNS, cells

    rows = [tuple(name.upper() for name in COLUMNS)]
    rows += [cells(language, of_it) for language, of_it in summary.languages.items()]
    rows.append(cells("all", summary.overall))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        numbers = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *numbers])
    overall = summary.overall
    yield (
        f"{overall.rejected:,} rejected, {overall.typed:,} typed by hand, "
        f"{overall.ignored:,} gone unread; {overall.saved_characters:,} characters saved"
    )


def _training_lines(training: Training) -> Iterator[str]:
    fates = f"{training.accepted:,} accepted, {training.rejected:,} rejected"
    yield f"{training.usable:,} suggestions to learn from: {fates}"
    if training.trained is not None and training.rule is not None:
        yield f"on the latest {training.held_out:,}, which it had not seen:"
        yield (
            f"  discrimination (AUC) {training.auc:.2f}, 0.5 is chance; "
            f"probabilities are off by {training.calibration_error:.2f} on average"
        )
        for name, policy in (("trained", training.trained), ("fixed rule", training.rule)):
            yield f"  {name:10}  {_policy(policy)}"
        strongest = ", ".join(f"{name} {effect:+.2f}" for name, effect in training.strongest.items())
        yield f"  what counts most: {strongest}"
    yield training.reason


def _policy(policy: Policy) -> str:
    return (
        f"shows {policy.shown:.0%}: {policy.accepted_kept:.0%} of what was accepted; "
        f"holds back {policy.rejected_held_back:.0%} of what was rejected"
    )


def _forget(*, as_json: bool) -> None:
    from coder_lsp.cli.console import emit_json
    from coder_lsp.completion.show_filter import weights_path

    with _history() as history:
        count = history.forget()
    try:
        filter_deleted = weights_path().exists()
        weights_path().unlink(missing_ok=True)
    except OSError as error:
        raise CoderLspError(f"cannot delete {weights_path()}: {error.strerror}") from error
    if as_json:
        emit_json({"forgotten": count, "filter_deleted": filter_deleted})
    else:
        click.echo(f"forgot {count:,} suggestions" + " and the filter trained on such" * filter_deleted)
