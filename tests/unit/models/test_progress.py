from __future__ import annotations

import io
import json

from coder_lsp.cli.console import console
from coder_lsp.models import progress


def test_lines_say_what_how_much_and_what_is_here_already():
    stream = io.StringIO()
    lines = progress.Lines(stream, seconds=0)
    lines.note("a remark")
    lines.begin("pulling tiny", 250_000_000, 1_000_000_000)
    lines.update(500_000_000)
    lines.end()
    lines.update(600_000_000)
    remark, begin, update = stream.getvalue().splitlines()
    assert remark == "a remark"
    assert begin == "pulling tiny (1.00 GB), 250.0 MB are here already"
    assert update.startswith("pulling tiny: 500.0 MB of 1.00 GB (50 %), ")
    assert update.endswith(" left")


def test_lines_are_rare():
    stream = io.StringIO()
    lines = progress.Lines(stream, seconds=3600)
    lines.begin("pulling tiny", 0, None)
    for done in range(1000):
        lines.update(done)
    assert stream.getvalue() == "pulling tiny\n"


def test_a_meter_counts_only_what_came_since_it_began(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = progress.Meter(100_000_000, 400_000_000)
    now[0] = 10.0
    assert meter.words(200_000_000) == "200.0 MB of 400.0 MB (50 %), 10.0 MB/s, 0:20 left"
    assert progress.Meter(0, None).words(5) == "5 B, 0 B/s"


def test_events_are_json_lines():
    stream = io.StringIO()
    events = progress.Events(stream)
    events.note("a remark")
    events.begin("pulling tiny", 0, 10)
    events.update(5)
    events.update(6)  # too soon after the one before
    events.end()
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "note", "text": "a remark"},
        {"event": "begin", "activity": "pulling tiny", "done": 0, "total": 10},
        {"event": "progress", "done": 5, "total": 10},
    ]


def test_a_bar_shows_bytes_on_a_terminal_and_survives_being_ended_twice():
    from rich.console import Console

    stream = io.StringIO()
    bar = progress.for_console(Console(file=stream, force_terminal=True, width=100))
    assert isinstance(bar, progress.Bar)
    bar.begin("pulling [tiny]", 0, 1_000_000)
    bar.update(500_000)
    bar.note("a [remark]")
    bar.end()
    bar.end()
    assert "pulling [tiny]" in stream.getvalue()
    assert "a [remark]" in stream.getvalue()


def test_where_there_is_no_terminal_there_are_lines():
    assert isinstance(progress.for_console(console(color=False)), progress.Lines)
