"""The report of ``eval repo`` as an HTML page: figures, plots, and what was won and lost, as code.

Shows text of the user's files, so it lies in the evaluation's folder, which is theirs alone.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from coder_lsp import pages
from coder_lsp.evaluate.exact import NONE
from coder_lsp.evaluate.repo import report
from coder_lsp.evaluate.repo.complete import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ONE = (pages.GREY, pages.GREEN)
_SEVERAL = (
    *("#a3cfb5", pages.GREEN),
    *("#b4cdeb", pages.BLUE),
    *("#e8bfa9", pages.ORANGE),
    *("#cbb9e3", "#8a62bf"),
)
"""A hue for each subject, pale without context; they come round again with the fifth."""
_LEAST_AXIS = 5.0
"""Of an axis of shares: below it, labels of whole numbers would repeat."""
_BAR = 26


def page(table: dict[str, Any]) -> str:
    """The page of a report."""
    version = html.escape(table["version"])
    footer = f"Made by coder-lsp {version} with seed {table['seed']}. Shows text of your files."
    return pages.page("evaluation", f"How well {table['name']} is completed", _body(table), footer)


def _body(table: dict[str, Any]) -> Iterator[str]:
    subjects = table["subjects"]
    yield pages.cards(_cards(table))
    for remark in report.remarks(table):
        yield pages.note(remark)
    yield (
        f"<p>Places out of the newest {report.commits_words(table)} of {html.escape(table['branch'])} at "
        f"<code>{html.escape(table['commit'][:12])}</code>: the file as it was being written, the workspace of the "
        f"commit before it, at most {table['budget']} tokens of other files. A line counts as exact up to its end, a "
        "call up to its closing bracket, a block as a whole.</p>"
    )
    for title, value in (
        ("Exactly what was written, of 100 places", lambda row: 100 * row["exact_share"]),
        ("Characters in right lines, of 100 written", lambda row: 100 * row["saved_share"]),
    ):
        yield f"<h2>{title}</h2>"
        yield _bars(subjects, value)
    for subject in subjects:
        yield f"<h2>{html.escape(subject['name'])}</h2>"
        yield pages.table(_HEAD, _rows(subject))
    yield "<h2>Differences, in points of 100</h2>"
    yield pages.table(
        ("", "places", "of", "points", "95 % of resamples", "p", "better", "worse"), _difference_rows(subjects)
    )
    yield "<h2>From the request to the answer, ms</h2>"
    yield (
        "<p>Little of what was evaluated for one place serves the next. In an editor, where most of a prompt was there "
        "at the key before, it takes less.</p>"
    )
    yield _latencies(subjects)
    yield from _examples(table)
    if table["left_out"]:
        yield "<h2>Passed over</h2>"
        yield pages.bars(dict(sorted(table["left_out"].items(), key=lambda pair: -pair[1])))


def _cards(table: dict[str, Any]) -> Iterator[tuple[str, str]]:
    first = table["subjects"][0]
    none, ours = (first["recipes"][recipe][report.ALL] for recipe in (NONE, OURS))
    yield "places", f"{ours['places']:,}"
    yield "exact, without → with context", f"{none['exact_share']:.0%} → {ours['exact_share']:.0%}"
    low, high = (100 * end for end in first["context"][report.ALL]["exact"]["interval_95"])
    yield "points by context, 95 % of resamples", f"{low:+.1f} to {high:+.1f}"
    yield "of what was written is in right lines", f"{ours['saved_share']:.0%}"
    yield "median answer", f"{ours['ms']['p50']:.0f} ms"


_HEAD = (
    "",
    "places",
    "suggested",
    "exact",
    "similarity",
    "identifiers",
    "characters saved",
    "prompt tokens (of other files)",
    "p50 ms",
    "p95 ms",
)


def _rows(subject: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for recipe, title in ((NONE, "without context"), (OURS, "with context")):
        for name, row in subject["recipes"][recipe].items():
            cells = (
                f"{title}, {name}",
                f"{row['places']:,}",
                f"{row['suggested']:,}",
                f"{row['exact']:,} ({row['exact_share']:.1%})",
                "" if row["similarity"] is None else f"{row['similarity']:.3f}",
                f"{row['identifiers']:.3f}",
                f"{row['saved_share']:.0%} of {row['characters']:,}",
                f"{row['prompt_tokens']:.0f} ({row['context_tokens']:.0f})",
                f"{row['ms']['p50']:.0f}",
                f"{row['ms']['p95']:.0f}",
            )
            # Figures are not to be broken, heads and titles may be.
            yield cells[0], *(cell.replace(" ", "\u00a0") for cell in cells[1:])


def _difference_rows(subjects: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for subject in subjects:
        for key, title in (("context", "by context"), ("against_first", f"against {subjects[0]['name']}")):
            for name, measures in subject.get(key, {}).items():
                for measure, found in measures.items():
                    low, high = (100 * end for end in found["interval_95"])
                    yield (
                        f"{subject['name']} {title}, {name}",
                        f"{found['tasks']:,}",
                        measure,
                        f"{100 * found['difference']:+.1f}",
                        f"{low:+.1f} to {high:+.1f}",
                        f"{found['p_value']:.3f}",
                        f"{found['better']:,}",
                        f"{found['worse']:,}",
                    )


def _bars(subjects: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> str:
    """A group of bars for each kind of place, a bar for each subject with and without context."""
    groups = list(subjects[0]["recipes"][OURS])
    series = {name: [value(rows[group]) for group in groups] for name, rows in _series(subjects)}
    chart = pages.chart(
        "Bar",
        colors=_ONE if len(subjects) == 1 else _SEVERAL * -(-len(series) // len(_SEVERAL)),
        value_formatter=lambda share: f"{share:.0f}",
        range=(0, max(_LEAST_AXIS, *map(max, series.values()))),
    )
    # Two fit side by side, whatever they are called.
    chart.legend_at_bottom_columns = 2
    chart.x_labels = groups
    for name, values in series.items():
        chart.add(name, values)
    return pages.drawn(chart)


def _latencies(subjects: list[dict[str, Any]]) -> str:
    rows = [(name, rows[report.ALL]["ms"]) for name, rows in _series(subjects)]
    chart = pages.chart(
        "HorizontalBar",
        colors=(pages.ORANGE, pages.BLUE),
        height=110 + 2 * _BAR * len(rows),
        value_formatter=lambda ms: f"{ms:,.0f}",
    )
    # It draws the first one at the bottom.
    chart.x_labels = [name for name, _ in reversed(rows)]
    for percentile in ("p95", "p50"):
        chart.add(percentile, [ms[percentile] for _, ms in reversed(rows)])
    return pages.drawn(chart)


def _series(subjects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each subject without and with context, with a name for a plot."""
    for subject in subjects:
        for recipe, title in ((NONE, "without context"), (OURS, "with context")):
            yield title if len(subjects) == 1 else f"{subject['name']}, {title}", subject["recipes"][recipe]


def _examples(table: dict[str, Any]) -> Iterator[str]:
    for pair in table["examples"]:
        for kind, title in (("won", "Better {after} than {before}"), ("lost", "Worse {after} than {before}")):
            if not pair[kind]:
                continue
            yield f"<h2>{html.escape(title.format(before=pair['before'], after=pair['after']))}</h2>"
            for one in pair[kind]:
                yield f"<h3>{html.escape(one['where'])}: {html.escape(one['change'])}</h3>"
                yield f"<pre>{html.escape(one['before_cursor'])}▏</pre>"
                yield pages.lines(
                    (("written", one["written"]), (pair["before"], one["before"]), (pair["after"], one["after"]))
                )
