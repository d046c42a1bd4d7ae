"""The page of statistics: whole, plotted, and alone in the world."""

from __future__ import annotations

import re
import sys
import time
from xml.etree import ElementTree as ET

from support.histories import AT, row

from coder_lsp.stats.events import Fate
from coder_lsp.stats.page import page
from coder_lsp.stats.summary import summarise

DAY = 86_400


def history():
    return [
        row(1, at=AT - DAY, accepted_characters=30, latency_ms=100),
        row(2, Fate.REJECTED, at=AT - DAY, latency_ms=300),
        row(3, at=AT, language="c&d", accepted_characters=12, latency_ms=250),
    ]


def test_the_page_has_the_figures_and_a_plot_of_each_kind():
    text = page(summarise(history()), None)
    assert "<b>42</b>characters saved" in text
    assert "<b>67%</b>of those read were accepted" in text
    drawn = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(drawn) == 3
    written = [[part.text for part in svg.iter() if part.tag.endswith("text")] for svg in drawn]
    assert {"accepted", "rejected", "typed by hand", "not read"} <= set(written[0])
    assert {"p50", "p95", time.strftime("%m-%d", time.localtime(AT))} <= set(written[2])
    assert "Pygal" not in text
    # Two days, and each bar and point is there with its value.
    assert sum("rect" in part.tag and "reactive" in part.get("class", "") for part in drawn[1].iter()) == 2


def test_nothing_of_the_page_comes_from_elsewhere():
    text = page(summarise(history()), 7)
    assert "last 7 days" in text
    assert "<script" not in text
    assert "@import" not in text
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_what_comes_from_outside_is_escaped():
    text = page(summarise(history()), None)
    assert "c&amp;d" in text
    assert "c&d<" not in text


def test_without_suggestions_it_says_so():
    assert "No suggestion was shown yet" in page(summarise([]), None)


def test_drawing_leaves_the_imports_of_others_alone():
    before = list(sys.meta_path)
    page(summarise(history()), None)
    assert [type(finder).__name__ for finder in sys.meta_path if finder not in before] == []
