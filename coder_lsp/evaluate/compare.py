"""``coder-lsp eval compare``: two files of samples, task by task, whichever verb of ``eval`` wrote them.

A row is known by its task (``task_id`` or ``place``) and, where a file has rows of several kinds, by those of
``VARIANTS`` that differ. What does not differ within either file is not looked at, so two models, or none and ours of
one file, can be compared. Of rows that say the same of themselves the last one counts, as it does for a run that goes
on from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.paired import Difference, compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TASKS = ("task_id", "place", "task")
VARIANTS = ("benchmark", "style", "recipe", "way", "subject", "model")
METRICS = (
    *("exact", "passed", "edit_similarity", "similarity", "identifier_f1", "identifiers", "saved"),
    *("prompt_tokens", "context_tokens", "ms"),
)
"""In the order of a report. The last three are reported, and never better or worse."""
LESS = frozenset(METRICS[-3:])

Row = dict[str, Any]
Variant = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Compared:
    """One metric of one variant, and of one group of tasks."""

    variant: str
    group: str
    metric: str
    difference: Difference

    def as_json(self) -> dict[str, Any]:
        return {"variant": self.variant, "group": self.group, "metric": self.metric} | self.difference.as_json()


def select(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """Those rows of which all conditions, ``FIELD=VALUE``, are true.

    :raises InputError: a condition is none, or no row has its field.
    """
    found = list(rows)
    for condition in conditions:
        name, sign, value = condition.partition("=")
        if not sign or not name:
            raise InputError(f"{condition!r} is no condition", hint="such as --where recipe=ours")
        if rows and not any(name in row for row in rows):
            raise InputError(f"no sample has a field {name}", hint=f"fields are {', '.join(sorted(rows[0]))}")
        found = [row for row in found if _said(row.get(name)) == value]
    return found


def compared(
    before: Sequence[Row], after: Sequence[Row], *, metrics: Sequence[str] = (), by: str = "", seed: int = 1
) -> list[Compared]:
    """Every metric that both have, of every variant that both have; with ``by``, of every value of that field too.

    :raises InputError: nothing of them can be compared.
    """
    for name, rows in (("the first", before), ("the second", after)):
        if not rows:
            raise InputError(f"{name} has no samples", hint="look at --where, and at the file")
    task = _task_field(before, after)
    differing = [name for name in VARIANTS if _differs(name, before) or _differs(name, after)]
    one, other = _by_variant(before, differing), _by_variant(after, differing)
    shared = [variant for variant in one if variant in other]
    if not shared:
        raise InputError(
            f"nothing in common: the first has {_names(one)}, the second {_names(other)}",
            hint="choose with --where-a and --where-b, such as --where-a recipe=none --where-b recipe=ours",
        )
    found = []
    for variant in shared:
        first, second = ({str(row[task]): row for row in rows} for rows in (one[variant], other[variant]))
        groups = {"": set(first)}
        if by:
            for name, row in first.items():
                groups.setdefault(_said(row.get(by)), set()).add(name)
        for group, tasks in groups.items():
            for metric in metrics or METRICS:
                values, newer = (_values(rows, metric, tasks) for rows in (first, second))
                if values.keys() & newer.keys():
                    difference = compare(values, newer, seed=seed)
                    found.append(Compared(_name(variant), group, metric, difference))
    if not found:
        raise InputError(
            "the two have no task with a figure in common",
            hint=f"tasks are such as {before[0][task]} and {after[0][task]}; "
            f"figures are {', '.join(metrics or METRICS)}",
        )
    return found


def lines(found: Sequence[Compared]) -> list[str]:
    """For people."""
    said = []
    heading = None
    for one in found:
        if (one.variant, one.group) != heading:
            heading = (one.variant, one.group)
            title = ", ".join(filter(None, heading)) or "all"
            said.append(f"{title}: {one.difference.tasks} tasks")
        said.append("  " + line(one.metric, one.difference))
    return said


def line(metric: str, found: Difference) -> str:
    """A metric's figures on one line; shares in percent, what is counted as it is."""
    factor, unit = (1.0, "") if metric in LESS or metric == "saved" else (100.0, " %")
    low, high = (factor * end for end in found.interval_95)
    change = f"{factor * found.difference:+.1f} (95 %: {low:+.1f} to {high:+.1f}; p = {found.p_value:.3g})"
    moved = (
        f"{found.better} more, {found.worse} less" if metric in LESS else f"{found.better} better, {found.worse} worse"
    )
    mark = " *" if found.significant else ""
    return (
        f"{metric:<16} {factor * found.before:7.1f}{unit} -> {factor * found.after:7.1f}{unit}  {change}; {moved}{mark}"
    )


def _task_field(before: Sequence[Row], after: Sequence[Row]) -> str:
    for name in TASKS:
        if all(name in row for row in (*before, *after)):
            return name
    raise InputError(
        "these are no samples of the same kind: their rows name no task in the same way",
        hint=f"each row has {' or '.join(TASKS)}; compare files of the same verb",
    )


def _differs(name: str, rows: Sequence[Row]) -> bool:
    return len({_said(row.get(name)) for row in rows}) > 1


def _by_variant(rows: Sequence[Row], names: Sequence[str]) -> dict[Variant, list[Row]]:
    found: dict[Variant, list[Row]] = {}
    for row in rows:
        variant = tuple((name, _said(row[name])) for name in names if name in row)
        found.setdefault(variant, []).append(row)
    return found


def _values(rows: Mapping[str, Row], metric: str, tasks: set[str]) -> dict[str, float]:
    return {
        name: float(row[metric])
        for name, row in rows.items()
        if name in tasks and isinstance(row.get(metric), (bool, int, float))
    }


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name(variant: Variant) -> str:
    return ", ".join(f"{name} {value}" for name, value in variant)


def _names(variants: Mapping[Variant, object]) -> str:
    return "; ".join(_name(variant) or "rows of one kind" for variant in variants)
