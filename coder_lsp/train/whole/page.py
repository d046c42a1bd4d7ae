"""The report of ``train all`` as an HTML page: before and after in figures and plots, wins and losses as code.

Shows lines of the user's code, and so lies in the folder of the training, which is theirs alone.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from coder_lsp import pages
from coder_lsp.train import assess
from coder_lsp.train.run import plot, record
from coder_lsp.train.whole import report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def page(written: dict[str, Any], run: Path) -> str:
    """The page of a report; ``run`` is the run's folder, for the curve of its losses."""
    footer = (
        f"Made by coder-lsp {html.escape(written['version'])} with seed {written['seed']}. Shows text of your files."
    )
    heading = f"{written['name']}: {written['base']} fitted to your code"
    return pages.page("training", heading, _body(written, run), footer)


def _body(written: dict[str, Any], run: Path) -> Iterator[str]:
    yield pages.cards(_cards(written))
    verdict = written["verdict"]
    yield pages.note(("Worth using: " if verdict["use"] else "Not worth using: ") + "; ".join(verdict["reasons"]))
    for name, path, said in written["data"]["objections"]:
        yield pages.note(f"{name}/{path} may forbid this: “{said}”")
    yield "<h2>Loss on held-out code, nats a token</h2>"
    head = ("", "targets", "before", "after", "change", "95 % of resamples")
    yield pages.table(head, (_loss_row(name, loss) for name, loss in written["loss"].items()))
    rows = list(record.rows(run / record.LOG))
    if any("loss" in row for row in rows):
        yield plot.loss_svg(rows)
    if "held_out" in written:
        yield from _completions(written)
    yield "<h2>How it was made</h2>"
    facts = {key: value for key, value in written["run"].items() if value not in {None, ""}}
    yield pages.table(("", ""), ((key.replace("_", " "), _shown(value)) for key, value in facts.items()))
    yield pages.table(
        ("repository", "branch", "commit", "files", "taken"),
        (
            (one["name"], one["branch"], one["commit"][:12], f"{one['files']:,}", f"{one['kept']:,}")
            for one in written["data"]["repositories"]
        ),
    )


def _cards(written: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, loss in written["loss"].items():
        yield f"loss, {_plain(name)}", f"{loss['change']:+.1%}"
    for title, row in (
        ("exact lines, held out", written.get("held_out", {}).get(assess.ALL)),
        ("exact lines, other code", written.get("general")),
    ):
        if row:
            yield f"{title}, of {row['tasks']}", f"{row['exact'][assess.BASE]} → {row['exact'][assess.ADAPTED]}"
    yield "tokens learned from", f"{written['run']['tokens']:,}"
    yield "minutes", f"{written['run']['seconds'] / 60:.0f}"


def _loss_row(name: str, loss: dict[str, Any]) -> tuple[str, ...]:
    return (
        _plain(name),
        f"{loss['targets']:,}",
        f"{loss['before']:.4f}",
        f"{loss['after']:.4f}",
        f"{loss['change']:+.1%}",
        report.interval_words(loss),
    )


def _completions(written: dict[str, Any]) -> Iterator[str]:
    general = {assess.GENERAL: written["general"]} if written["general"] else {}
    rows = written["held_out"] | general
    yield "<h2>First lines that are exactly what was written</h2>"
    chart = pages.chart("Bar", colors=(pages.GREY, pages.GREEN), value_formatter=lambda value: f"{value:.0f} %")
    chart.x_labels = [_plain(name) for name in rows]
    for subject, title in ((assess.BASE, "before"), (assess.ADAPTED, "after")):
        chart.add(title, [100 * row["exact"][subject] / row["tasks"] for row in rows.values()])
    yield pages.drawn(chart)
    head = ("", "tasks", "before", "after", "better", "worse", "points", "95 % of resamples", "similarity")
    yield pages.table(head, (_exact_row(name, row) for name, row in rows.items()))
    for kind, title in (("better", "Right with it, wrong without"), ("worse", "Wrong with it, right without")):
        if not written["examples"][kind]:
            continue
        yield f"<h2>{title}</h2>"
        for one in written["examples"][kind]:
            yield f"<h3>{html.escape(one['path'])}</h3>"
            yield f"<pre>{html.escape(one['before_cursor'])}▏</pre>"
            yield pages.lines((("written", one["written"]), ("before", one["base"]), ("after", one["adapted"])))


def _exact_row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    low, high = (100 * end for end in row["interval_95"])
    similar = row["similarity"]
    return (
        _plain(name),
        str(row["tasks"]),
        str(row["exact"][assess.BASE]),
        str(row["exact"][assess.ADAPTED]),
        str(row["better"]),
        str(row["worse"]),
        f"{100 * row['difference']:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        f"{similar[assess.BASE]:.3f} → {similar[assess.ADAPTED]:.3f}" if similar else "",
    )


def _plain(name: str) -> str:
    return name.replace("heldout_", "").replace(":", ", ")


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
