"""The figures of a soak for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.bench.goals import rows

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """What was done, what grew, and each goal with its verdict."""
    requests, shown, host = figures["requests"], figures["shown"], figures["host"]
    yield f"{figures['minutes']} min, {figures['windows']} windows, parts of {figures['part_minutes']} min"
    yield "done: " + ", ".join(f"{count:,} {what}" for what, count in figures["done"].items())
    yield (
        f"requests: {requests['asked']:,} asked, {requests['answered']:,} answered, of these "
        f"{requests['cancelled']:,} cancelled"
    )
    yield from (f"late: {what}" for what in figures.get("late", ()))
    memory = [f"window {number + 1} {each['memory_mb']} MB" for number, each in enumerate(figures["fronts"]) if each]
    yield "memory at the end: " + ", ".join([*memory, f"host {host['memory_mb']} MB" if "memory_mb" in host else ""])
    if shown["count"]:
        yield f"keystroke to shown, {shown['count']:,} times:"
    for part in shown["parts"]:
        if part["count"]:
            yield (
                f"  to minute {part['until_min']:g}: p50 {part['p50']} ms, p95 {part['p95']} ms "
                f"(certainly {part['p95_least']} to {part['p95_most']}), {part['count']} times"
            )
    for name, part in figures["processor"].items():
        if part:
            yield (
                f"processor, {name} part: host {part['host_ms']} ms and windows {part['fronts_ms']} ms an answer; "
                f"other processes kept {part['elsewhere_cores']} cores busy"
            )
    for title, value, bound, said in rows(figures["goals"]):
        yield f"{said:7} {title}: {value} ({bound})"
