"""The figures of a replay as a table for people: one column a subject, one row a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.goals import look_up

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Row:
    """A figure by its dotted name; ``form`` writes it."""

    title: str
    figure: str
    form: str = "{:,.0f}"


ROWS = (
    Row("keystroke to shown, p50 (ms)", "keystroke_to_shown_ms.p50"),
    Row("keystroke to shown, p95 (ms)", "keystroke_to_shown_ms.p95"),
    Row("first after a cold jump, p50 (ms)", "cold_jump_ms.p50"),
    Row("first after a cold jump, p95 (ms)", "cold_jump_ms.p95"),
    Row("cold jumps without any", "cold_jump_ms.never"),
    Row("pauses with a suggestion", "pauses.share", "{:.0%}"),
    Row("line starts with a suggestion in time", "line_starts.share", "{:.0%}"),
    Row("line starts", "line_starts.all"),
    Row("characters saved", "characters.share", "{:.1%}"),
    Row("suggestions shown", "suggestions.shown"),
    Row("suggestions accepted", "suggestions.accepted"),
    Row("keystrokes", "keystrokes"),
    Row("requests to the model", "requests"),
    Row("of them cancelled", "cancelled"),
    Row("prompt tokens a request, p50", "prompt_tokens_per_request.p50"),
    Row("prompt tokens a request, mean", "prompt_tokens_per_request.mean", "{:,.1f}"),
    Row("prompt tokens a keystroke, median", "fresh_prompt_tokens_per_key.median"),
    Row("prompt tokens a keystroke, mean", "fresh_prompt_tokens_per_key.mean", "{:,.1f}"),
    Row("tokens decoded a request, mean", "decoded_tokens_per_request.mean", "{:,.1f}"),
    Row("tokens a forward pass", "decoding.tokens_per_pass", "{:.2f}"),
    Row("ahead: prompt tokens", "ahead.prompt_tokens"),
    Row("ahead: tokens decoded", "ahead.decoded_tokens"),
    Row("CPU seconds", "cpu_s", "{:,.1f}"),
    Row("typing time (s)", "typing_s"),
)


def title(section: dict[str, Any]) -> str:
    return (
        f"{section['project']}: {section['visits']} places, {section['characters']:,} characters, "
        f"patience {section['patience_s']:g} s"
    )


def rows(section: dict[str, Any]) -> Iterator[list[str]]:
    """Each figure that any subject has: its title, then one cell a subject, with the ratio to the peer behind it."""
    subjects = section["subjects"]
    for row in ROWS:
        values = [look_up(found, row.figure) for found in subjects.values()]
        if any(value is not None for value in values):
            ratios = [section["ratios"].get(name, {}).get(row.figure) for name in subjects]
            yield [row.title, *(_cell(row, *pair) for pair in zip(values, ratios, strict=True))]


def _cell(row: Row, value: float | None, ratio: float | None) -> str:
    if value is None:
        return "-"
    text = row.form.format(value)
    return text if ratio is None else f"{text}  ({ratio:.2g} ×)"
