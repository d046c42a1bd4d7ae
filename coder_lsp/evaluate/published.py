"""Figures out of papers, to stand beside what is measured here: each with its protocol and source, none of them ours.

They say where a model of a size stands, and no more: another harness (truncation, budget, precision) moves a figure by
several points, as one model in two papers shows (SantaCoder's lines, DeepSeek-Coder 1.3B). All are percentages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SANTACODER, CROSSCODEEVAL = "santacoder", "crosscodeeval"
HUMANEVAL, MBPP, LEETCODE = "humaneval", "mbpp", "leetcode"
_METRICS = dict.fromkeys((SANTACODER, CROSSCODEEVAL), "exact match") | dict.fromkeys(
    (HUMANEVAL, MBPP, LEETCODE), "pass@1"
)

_DEEPSEEK = "DeepSeek-Coder, arXiv 2401.14196"
_QWEN = "Qwen2.5-Coder technical report, arXiv 2409.12186"


@dataclass(frozen=True)
class Published:
    """``setting`` is a language, or a language and what other files were shown."""

    benchmark: str
    model: str
    setting: str
    metric: str
    percent: float
    protocol: str
    source: str


def figures(benchmark: str, settings: Sequence[str] = ()) -> list[Published]:
    """What is known of a benchmark, in the order of the papers' tables; all settings if none is named."""
    return [each for each in _ALL if each.benchmark == benchmark and (not settings or each.setting in settings)]


def lines(benchmark: str, settings: Sequence[str] = ()) -> list[str]:
    """For people: a paragraph a protocol and source, a line a model; no line where nothing is known."""
    found: dict[tuple[str, str, str], dict[str, list[Published]]] = {}
    for each in figures(benchmark, settings):
        models = found.setdefault((each.metric, each.protocol, each.source), {})
        models.setdefault(each.model, []).append(each)
    said = []
    for (metric, protocol, source), models in found.items():
        said.append(f"published ({source}), {metric}; {protocol}:")
        for model, theirs in models.items():
            said.append(f"  {model:<24} " + ", ".join(f"{each.setting} {each.percent:.1f} %" for each in theirs))
    return said


def _table(
    benchmark: str, protocol: str, source: str, settings: Sequence[str], rows: dict[str, Sequence[float]]
) -> Iterator[Published]:
    for model, percents in rows.items():
        for setting, percent in zip(settings, percents, strict=True):
            yield Published(benchmark, model, setting, _METRICS[benchmark], percent, protocol, source)


_ALL: tuple[Published, ...] = (
    *_table(
        SANTACODER,
        "single line, fill in the middle, greedy",
        _DEEPSEEK,
        ("python", "java", "javascript"),
        {
            "CodeLlama 13B": (68.3, 77.6, 80.7),
            "DeepSeek-Coder 1.3B": (57.4, 82.2, 71.7),
            "DeepSeek-Coder 6.7B": (66.6, 88.1, 79.7),
            "DeepSeek-Coder 33B": (65.4, 86.6, 82.5),
        },
    ),
    *_table(
        SANTACODER,
        "single line, fill in the middle, greedy, Qwen's harness",
        _QWEN,
        ("python", "java", "javascript"),
        {
            "Qwen2.5-Coder 0.5B": (70.3, 78.1, 81.2),
            "Qwen2.5-Coder 1.5B": (77.0, 85.6, 85.0),
            "DeepSeek-Coder 1.3B": (72.8, 84.3, 81.7),
        },
    ),
    *_table(
        CROSSCODEEVAL,
        "left to right, sequence 2048, 50 new tokens, no other files",
        _DEEPSEEK,
        ("python none", "java none", "typescript none", "csharp none"),
        {"DeepSeek-Coder 6.7B": (9.53, 10.80, 9.59, 5.26)},
    ),
    *_table(
        CROSSCODEEVAL,
        "left to right, sequence 2048, 50 new tokens, BM25 context 512",
        _DEEPSEEK,
        ("python given", "java given", "typescript given", "csharp given"),
        {"DeepSeek-Coder 6.7B": (16.14, 17.72, 14.03, 16.23)},
    ),
    *_table(
        CROSSCODEEVAL,
        "left to right, sequence 2048, 50 new tokens, no other files and BM25 context 512",
        _DEEPSEEK,
        ("python none", "python given"),
        {"CodeLlama 7B": (7.32, 13.02)},
    ),
    *_table(
        HUMANEVAL,
        "base model, zero-shot, greedy",
        _DEEPSEEK,
        ("python",),
        {"DeepSeek-Coder 1.3B": (34.8,), "DeepSeek-Coder 6.7B": (49.4,), "DeepSeek-Coder 33B": (56.1,)},
    ),
    *_table(
        MBPP,
        "base model, three-shot, greedy",
        _DEEPSEEK,
        ("python",),
        {"DeepSeek-Coder 1.3B": (46.8,), "DeepSeek-Coder 6.7B": (60.6,), "DeepSeek-Coder 33B": (66.0,)},
    ),
    *_table(
        LEETCODE,
        "instruct model, without the outline sentence",
        _DEEPSEEK,
        ("python",),
        {"DeepSeek-Coder 1.3B": (7.2,), "DeepSeek-Coder 6.7B": (19.4,), "DeepSeek-Coder 33B": (27.8,)},
    ),
)
