"""The history of suggestions as one HTML page with plots: what was accepted, what it saved, how quick it was.

Needs nothing else to be looked at: no script, no font, nothing from the network. In an editor's view and in a browser,
light or dark. Figures alone; there is no text of the user's that could be in it.
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from coder_lsp.stats.summary import COLUMNS, cells, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pygal

    from coder_lsp.stats.summary import Day, Figures, Summary

_MOST_DAYS = 60
"""Bars that can still be told apart; older days are in the table of languages and the sums."""
_LABELS = 10

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>coder-lsp: suggestions</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: var(--vscode-font-family, system-ui, sans-serif); margin: 2rem auto; max-width: 58rem;
  padding: 0 1rem; color: var(--vscode-foreground, CanvasText); background: var(--vscode-editor-background, Canvas); }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
.cards {{ display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }}
.cards li {{ border: 1px solid #8886; border-radius: 6px; padding: .6rem 1rem; }}
.cards b {{ display: block; font-size: 1.5rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ width: 100%; height: auto; }}
footer {{ margin: 2rem 0; opacity: .75; }}
</style>
</head>
<body>
<h1>Suggestions, {period}</h1>
{body}
<footer>From the history on this machine: counts, lengths and times, never text.
<code>coder-lsp stats --forget</code> deletes it,
<code>stats.enabled = false</code> in the settings keeps nothing more.</footer>
</body>
</html>
"""


def page(summary: Summary, days: float | None) -> str:
    """The page for a summary of the last ``days`` (None: of all)."""
    period = "all that is kept" if days is None else f"last {days:g} days"
    return _PAGE.format(period=period, body="\n".join(_body(summary)))


def _body(summary: Summary) -> Iterator[str]:
    overall = summary.overall
    if not overall.shown:
        yield "<p>No suggestion was shown yet. Come back when you have typed for a while.</p>"
        return
    yield '<ul class="cards">'
    for title, value in _cards(overall):
        yield f"<li><b>{html.escape(value)}</b>{html.escape(title)}</li>"
    yield "</ul>"
    recent = summary.days[-_MOST_DAYS:]
    yield "<h2>What became of suggestions, by day</h2>"
    yield _fates(recent)
    yield "<h2>Characters saved, by day</h2>"
    yield _bars(recent, "saved", [day.figures.saved_characters for day in recent])
    yield "<h2>From the request to the answer, by day (ms)</h2>"
    yield _latencies(recent)
    yield "<h2>Languages</h2>"
    yield _table(summary)


def _cards(overall: Figures) -> Iterator[tuple[str, str]]:
    yield "shown", f"{overall.shown:,}"
    yield "accepted", f"{overall.accepted:,}"
    if overall.acceptance is not None:
        yield "of those read were accepted", f"{overall.acceptance:.0%}"
    yield "characters saved", f"{overall.saved_characters:,}"
    yield "median answer", milliseconds(overall.latency_p50_ms)


def _table(summary: Summary) -> str:
    rows = ["<tr>" + "".join(f"<th>{name}</th>" for name in COLUMNS) + "</tr>"]
    for language, figures in [*summary.languages.items(), ("all", summary.overall)]:
        row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(language, figures))
        rows.append(f"<tr>{row}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _fates(days: Sequence[Day]) -> str:
    chart = _chart("StackedBar", days)
    chart.add("accepted", [day.figures.accepted for day in days])
    chart.add("typed by hand", [day.figures.typed for day in days])
    chart.add("rejected", [day.figures.rejected for day in days])
    chart.add("not read", [day.figures.ignored for day in days])
    return _drawn(chart)


def _bars(days: Sequence[Day], title: str, values: Sequence[int]) -> str:
    chart = _chart("Bar", days, show_legend=False)
    chart.add(title, list(values))
    return _drawn(chart)


def _latencies(days: Sequence[Day]) -> str:
    chart = _chart("Line", days)
    chart.add("p50", [day.figures.latency_p50_ms for day in days])
    chart.add("p95", [day.figures.latency_p95_ms for day in days])
    return _drawn(chart)


def _chart(kind: str, days: Sequence[Day], **options: Any) -> pygal.graph.graph.Graph:
    import pygal
    from pygal.style import Style

    # It hooks into all imports, for maps that nobody draws here, in a way that Python 3.10 and 3.11 warn of.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    # Greys and hues that can be read on white and on black.
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="#888888",
        foreground_strong="#888888",
        foreground_subtle="#88888866",
        guide_stroke_color="#88888866",
        major_guide_stroke_color="#88888866",
        colors=("#2e9e5b", "#4f8fd6", "#d0713f", "#999999"),
        font_family="system-ui, sans-serif",
        label_font_size=11,
        major_label_font_size=11,
        legend_font_size=12,
    )
    chart = getattr(pygal, kind)(
        width=900,
        height=260,
        style=style,
        # Its scripts, for tooltips, would come from the network.
        js=(),
        disable_xml_declaration=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        show_minor_x_labels=False,
        truncate_label=-1,
        **options,
    )
    chart.x_labels = [day.date[5:] for day in days]
    chart.x_labels_major_every = max(1, len(days) // _LABELS)
    return chart


def _drawn(chart: pygal.graph.graph.Graph) -> str:
    from pygal.etree import etree

    tree = chart.render_tree()
    for parent in tree.iter():
        for child in list(parent):
            # The script that is left configures those that are not there; comments have dates and addresses; the title
            # of all, which a pointer would show, says "Pygal".
            if not isinstance(child.tag, str) or child.tag.endswith("script") or child.text == "Pygal":
                parent.remove(child)
    return str(etree.tostring(tree, encoding="unicode"))
