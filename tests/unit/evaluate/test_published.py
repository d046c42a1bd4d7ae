"""Figures of papers: each says whose it is, how it was got and where it stands."""

from __future__ import annotations

from coder_lsp.evaluate.published import CROSSCODEEVAL, HUMANEVAL, LEETCODE, MBPP, SANTACODER, figures, lines


def test_every_figure_has_protocol_and_source():
    for benchmark in (SANTACODER, CROSSCODEEVAL, HUMANEVAL, MBPP, LEETCODE):
        found = figures(benchmark)
        assert found, benchmark
        for one in found:
            assert 0 < one.percent < 100
            assert "arXiv" in one.source
            assert one.protocol
        known = {(one.model, one.setting, one.protocol) for one in found}
        assert len(known) == len(found), "one figure for one thing"


def test_settings_are_chosen():
    assert {one.setting for one in figures(SANTACODER, ["java"])} == {"java"}
    assert [one.percent for one in figures(HUMANEVAL)] == [34.8, 49.4, 56.1]


def test_lines_say_that_they_are_published():
    said = lines(SANTACODER)
    heads = [line for line in said if not line.startswith(" ")]
    assert len(heads) == 2
    assert all(line.startswith("published (") and "arXiv" in line for line in heads)
    ours = next(number for number, line in enumerate(said) if "Qwen2.5-Coder 0.5B" in line)
    assert "python 70.3 %, java 78.1 %, javascript 81.2 %" in said[ours]
    head = max(number for number in range(ours) if said[number] in heads)
    assert "2409.12186" in said[head]
    assert "exact match" in said[head]
    assert lines("something else") == []
