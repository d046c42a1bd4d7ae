"""HTML pages with plots that need nothing else to be looked at: no script, no font, nothing from the network.

Light or dark as the reader's system is, in a browser or in an editor's view. What stands on a page is its module's;
here is what all have in common. pygal loads when the first plot is made.
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GREEN, BLUE, ORANGE, GREY = "#2e9e5b", "#4f8fd6", "#d0713f", "#999999"
"""Hues that can be read on white and on black."""
_LINES = "#888888"
_BAR = 26

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>coder-lsp: {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: var(--vscode-font-family, system-ui, sans-serif); margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; color: var(--vscode-foreground, CanvasText); background: var(--vscode-editor-background, Canvas); }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
h3 {{ font-size: .95rem; margin: 1.5rem 0 .3rem; }}
.cards {{ display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }}
.cards li {{ border: 1px solid #8886; border-radius: 6px; padding: .6rem 1rem; }}
.cards b {{ display: block; font-size: 1.5rem; }}
.note {{ border-left: 4px solid #d0713f; padding: .2rem .8rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: right; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; min-width: 9rem; }}
svg {{ width: 100%; height: auto; }}
pre {{ border: 1px solid #8884; border-radius: 6px; padding: .6rem; overflow: auto; max-height: 26rem;
  font-size: .8rem; }}
pre i {{ font-style: normal; opacity: .45; }}
.lines td {{ text-align: left; }} .lines td:first-child {{ width: 9rem; }}
.lines code {{ font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
footer {{ margin: 2rem 0; opacity: .75; }}
</style>
</head>
<body>
<h1>{heading}</h1>
{body}
{footer}
</body>
</html>
"""


def page(title: str, heading: str, body: Iterable[str], footer: str = "") -> str:
    """A whole page. ``title`` and ``heading`` are text; ``body`` and ``footer`` are HTML."""
    return _PAGE.format(
        title=html.escape(title),
        heading=html.escape(heading),
        body="\n".join(body),
        footer=f"<footer>{footer}</footer>" if footer else "",
    )


def cards(facts: Iterable[tuple[str, str]]) -> str:
    """(title, value) pairs as a row of boxes."""
    rows = "\n".join(f"<li><b>{html.escape(value)}</b>{html.escape(title)}</li>" for title, value in facts)
    return f'<ul class="cards">\n{rows}\n</ul>'


def note(text: str) -> str:
    """A remark that is not to be passed over."""
    return f'<p class="note">{html.escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are text. The first column is read from the left, the others from the right."""
    first = "<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"
    rest = ("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{first}{''.join(rest)}</table>"


def lines(rows: Iterable[tuple[str, str]]) -> str:
    """(title, code) pairs below each other, so that lines of code can be compared."""
    shown = (f"<tr><td>{html.escape(title)}</td><td><code>{html.escape(code)}</code></td></tr>" for title, code in rows)
    return f'<table class="lines">{"".join(shown)}</table>'


def chart(kind: str, *, colors: Sequence[str] = (GREEN, BLUE, ORANGE, GREY), height: int = 260, **options: Any) -> Any:
    """An empty plot of pygal's, in the style of these pages; ``kind`` is the name of its class."""
    import pygal
    from pygal.style import Style

    # It hooks into all imports, for maps that nobody draws here, in a way that Python 3.10 and 3.11 warn of.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=_LINES,
        foreground_strong=_LINES,
        foreground_subtle=f"{_LINES}66",
        guide_stroke_color=f"{_LINES}66",
        major_guide_stroke_color=f"{_LINES}66",
        colors=tuple(colors),
        font_family="system-ui, sans-serif",
        label_font_size=11,
        major_label_font_size=11,
        legend_font_size=12,
    )
    return getattr(pygal, kind)(
        width=900,
        height=height,
        style=style,
        # Its scripts, for tooltips, would come from the network.
        js=(),
        disable_xml_declaration=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        truncate_label=-1,
        truncate_legend=-1,
        **options,
    )


def bars(values: Mapping[str, float], *, upright: bool = False) -> str:
    """A bar for each value, in their order; empty where there are none."""
    shown = list(values.items())
    if not shown:
        return ""
    drawn_as = chart(
        "Bar" if upright else "HorizontalBar",
        colors=(BLUE,),
        height=260 if upright else 60 + _BAR * len(shown),
        show_legend=False,
        value_formatter=lambda value: f"{value:,.0f}",
    )
    if not upright:
        # It draws the first one at the bottom.
        shown.reverse()
    drawn_as.x_labels = [name for name, _ in shown]
    drawn_as.add("", [value for _, value in shown])
    return drawn(drawn_as)


def drawn(plot: Any) -> str:
    """A plot as SVG, for a page."""
    from pygal.etree import etree

    tree = plot.render_tree()
    for parent in tree.iter():
        for child in list(parent):
            # The script that is left configures those that are not there; comments have dates and addresses; the title
            # of all, which a pointer would show, says "Pygal".
            if not isinstance(child.tag, str) or child.tag.endswith("script") or child.text == "Pygal":
                parent.remove(child)
    return str(etree.tostring(tree, encoding="unicode"))
