"""``bench.flame``: one log line and one stopwatch become nested spans that add up."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from coder_lsp.bench.flame import KINDS, Span, lines, request_span, svg
from coder_lsp.errors import HostUnavailable

LINE = (
    "2026-01-01 00:00:00,000 INFO coder_lsp.server.handlers: inline id=3 suggestions=1 reason=- source=model ms=98.0 "
    "front=5.0 context=2.0 host=92.0 queue=1.0 prompt=4.0 prefill=30.0 decode=50.0 total=90.0 "
    "finish=stop_token tokens=767/766/1/5"
)


def find(span: Span, name: str) -> Span:
    found = [each for each in walk(span) if each.name == name]
    if not found:
        raise KeyError(name)
    return found[0]


def walk(span: Span) -> list[Span]:
    return [span, *(inner for part in span.parts for inner in walk(part))]


def test_parts_add_up_to_what_was_waited():
    whole = request_span(100.0, LINE)

    for span in walk(whole):
        assert not span.parts or sum(part.ms for part in span.parts) == pytest.approx(span.ms)
    assert whole.ms == 100.0
    assert find(whole, "pipes and JSON-RPC, both ends").ms == pytest.approx(2.0)
    assert find(whole, "socket, both ends").ms == pytest.approx(2.0)
    assert find(whole, "hand-over between threads").ms == pytest.approx(5.0)
    assert find(whole, "gate, shape, post-processing").ms == pytest.approx(3.0)
    assert find(whole, "positions, answer").ms == pytest.approx(1.0)


def test_tokens_are_told_beside_the_time_they_took():
    whole = request_span(100.0, LINE)
    assert find(whole, "reading the prompt").note == "1 tokens evaluated, 766 of 767 reused"
    assert find(whole, "writing the answer").note == "5 tokens, 10.0 ms each"


def test_a_stage_that_the_log_tells_one_day_is_shown_by_its_name():
    whole = request_span(100.0, LINE.replace("context=2.0", "context=2.0 filter=1.0"))
    assert find(whole, "filter").ms == 1.0
    assert find(whole, "gate, shape, post-processing").ms == pytest.approx(2.0)


def test_waiting_is_told_beside_the_work_of_the_front():
    whole = request_span(100.0, LINE.replace("context=2.0", "context=2.0 delay=1.0"))
    assert find(whole, "waiting for the keys to rest").ms == 1.0
    assert find(whole, "gate, shape, post-processing").ms == pytest.approx(3.0)


def test_clocks_that_differ_make_nothing_negative():
    assert min(part.ms for part in request_span(97.0, LINE).parts) == 0.0


def test_a_request_without_a_host_ends_in_the_front():
    whole = request_span(3.0, "inline id=4 suggestions=1 reason=- ms=1.0 front=0.5")
    with pytest.raises(KeyError):
        find(whole, "host")


def test_another_line_is_refused():
    with pytest.raises(HostUnavailable):
        request_span(1.0, "settings applied")


def test_bars_are_as_long_as_their_share():
    text = list(lines(request_span(100.0, LINE).as_dict()))
    bars = {row.strip().split("   ")[0]: row.count("█") for row in text}
    assert bars["request"] == 40
    assert bars["writing the answer"] == 20


def test_the_picture_is_well_formed():
    span = request_span(100.0, LINE).as_dict()
    root = ET.fromstring(svg(dict.fromkeys(KINDS, span)))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(KINDS) * len(list(lines(span)))
