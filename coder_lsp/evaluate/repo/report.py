"""What came of it as one JSON-able table: each subject with and without context, in all and by kind of place.

Everything is compared in pairs, over the same places: context with none, and each further subject with the first one,
both with context. Intervals are of 95 %, by bootstrap over places (``paired``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from coder_lsp import __version__
from coder_lsp.evaluate.exact import NONE
from coder_lsp.evaluate.paired import compare
from coder_lsp.evaluate.repo.complete import OURS, RECIPES
from coder_lsp.evaluate.repo.places import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from coder_lsp.evaluate.repo.complete import Sample, Subject
    from coder_lsp.evaluate.repo.places import Place

ALL = "all"
EXAMPLES = 6
"""Of each kind."""
_LINES_BEFORE = 8
_MUCH = 0.25
"""Of similarity, for an example."""
FEWEST = 20
"""Places below which the report says that they are few."""

MEASURES: dict[str, Callable[[Sample], float | None]] = {
    "exact": lambda sample: float(sample.exact),
    "similarity": lambda sample: sample.similarity,
    "identifiers": lambda sample: sample.identifiers,
    "saved": lambda sample: sample.saved / sample.characters if sample.characters else 0.0,
}


@dataclass(frozen=True)
class Facts:
    """What was measured: the repository, what was asked for, and what was passed over.

    ``commits`` were looked at, made from ``first_day`` to ``last_day`` (UTC, as ISO has them): what is older than a
    model, it may have learned.
    """

    name: str
    branch: str
    commit: str
    commits: int
    left_out: dict[str, int]
    seed: int
    budget: int
    shallow: bool = False
    first_day: str = ""
    last_day: str = ""


def written(
    facts: Facts, places: Sequence[Place], subjects: Sequence[Subject], samples: Mapping[str, Sequence[Sample]]
) -> dict[str, Any]:
    """The whole table. ``samples`` are by a subject's label."""
    rows = []
    for number, subject in enumerate(subjects):
        theirs = _by_recipe(samples[subject.label])
        row: dict[str, Any] = {
            "name": subject.name,
            "model": subject.model,
            "adapters": [asdict(adapter) for adapter in subject.adapters],
            "recipes": {recipe: _figures(theirs[recipe]) for recipe in RECIPES},
            "context": _differences(theirs[NONE], theirs[OURS], facts.seed),
        }
        if number:
            first = _by_recipe(samples[subjects[0].label])
            row["against_first"] = _differences(first[OURS], theirs[OURS], facts.seed)
        rows.append(row)
    return {
        "version": __version__,
        **asdict(facts),
        "places": {kind: sum(place.kind == kind for place in places) for kind in KINDS},
        "subjects": rows,
        "examples": _examples(places, subjects, samples),
    }


def _by_recipe(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    return {recipe: [sample for sample in samples if sample.recipe == recipe] for recipe in RECIPES}


def _groups(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """All, and each kind that there is."""
    groups = {ALL: list(samples)}
    for kind in KINDS:
        theirs = [sample for sample in samples if sample.kind == kind]
        if theirs:
            groups[kind] = theirs
    return groups


def _figures(samples: Sequence[Sample]) -> dict[str, Any]:
    return {name: _row(theirs) for name, theirs in _groups(samples).items()}


def _row(samples: Sequence[Sample]) -> dict[str, Any]:
    count = len(samples)
    similar = [sample.similarity for sample in samples if sample.similarity is not None]
    characters, saved = sum(one.characters for one in samples), sum(one.saved for one in samples)
    times = sorted(sample.ms for sample in samples)
    return {
        "places": count,
        "suggested": sum(not sample.reason for sample in samples),
        "exact": sum(sample.exact for sample in samples),
        "exact_share": round(sum(sample.exact for sample in samples) / count, 4),
        "similarity": round(sum(similar) / len(similar), 4) if similar else None,
        "identifiers": round(sum(sample.identifiers for sample in samples) / count, 4),
        "characters": characters,
        "saved": saved,
        "saved_share": round(saved / characters, 4) if characters else 0.0,
        "prompt_tokens": round(sum(sample.prompt_tokens for sample in samples) / count, 1),
        "context_tokens": round(sum(sample.context_tokens for sample in samples) / count, 1),
        "ms": {"p50": _percentile(times, 50), "p95": _percentile(times, 95)},
    }


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _differences(before: Sequence[Sample], after: Sequence[Sample], seed: int) -> dict[str, Any]:
    """Of exact matches in every group, and of each other measure in all places together."""
    found: dict[str, Any] = {}
    for name, theirs in _groups(after).items():
        these = {sample.place for sample in theirs}
        measures = MEASURES if name == ALL else {"exact": MEASURES["exact"]}
        found[name] = {}
        for measure, value in measures.items():
            pairs = [_values([one for one in samples if one.place in these], value) for samples in (before, after)]
            if pairs[0].keys() & pairs[1].keys():
                found[name][measure] = compare(pairs[0], pairs[1], seed=seed).as_json()
    return found


def _values(samples: Sequence[Sample], value: Callable[[Sample], float | None]) -> dict[str, float]:
    return {sample.place: number for sample in samples if (number := value(sample)) is not None}


def _examples(
    places: Sequence[Place], subjects: Sequence[Subject], samples: Mapping[str, Sequence[Sample]]
) -> list[dict[str, Any]]:
    """Places that became better or worse: with context, by the first subject, and by each other subject."""
    first = _by_recipe(samples[subjects[0].label])
    found = []
    pairs = [("without context", "with context", first[NONE], first[OURS])]
    pairs += [
        (subjects[0].name, subject.name, first[OURS], _by_recipe(samples[subject.label])[OURS])
        for subject in subjects[1:]
    ]
    for before_name, after_name, before, after in pairs:
        ends = {kind: _changed(places, before, after, kind == "won") for kind in ("won", "lost")}
        found.append({"before": before_name, "after": after_name, **ends})
    return found


def _changed(
    places: Sequence[Place], before: Sequence[Sample], after: Sequence[Sample], won: bool
) -> list[dict[str, str]]:
    """What became right or wrong, then what came nearer or went away by much, most first."""
    olds, news = ({sample.place: sample for sample in samples} for samples in (before, after))
    rows = []
    for place in places:
        old, new = olds.get(place.id), news.get(place.id)
        if old is None or new is None:
            continue
        turned = new.exact - old.exact
        nearer = (new.similarity or 0.0) - (old.similarity or 0.0)
        if not won:
            turned, nearer = -turned, -nearer
        if turned > 0 or (turned == 0 and nearer >= _MUCH):
            row = {
                "place": place.id,
                "where": f"{place.task.path}, line {place.line}, {place.kind} of {place.commit.id[:12]}",
                "kind": place.kind,
                "change": _change(old, new),
                "before_cursor": "\n".join(place.task.prefix.split("\n")[-_LINES_BEFORE:]),
                "written": new.written,
                "before": old.text or f"nothing: {old.reason}",
                "after": new.text or f"nothing: {new.reason}",
            }
            rows.append((-turned, -nearer, row))
    return [row for _, _, row in sorted(rows, key=itemgetter(0, 1))[:EXAMPLES]]


def _change(old: Sample, new: Sample) -> str:
    if old.exact != new.exact:
        return "wrong → right" if new.exact else "right → wrong"
    return f"similarity {old.similarity:.2f} → {new.similarity:.2f}"


def lines(table: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield (
        f"{table['name']}, {table['branch']} at {table['commit'][:12]}: {sum(table['places'].values())} places in "
        f"its newest {commits_words(table)}, {table['budget']} tokens of other files"
    )
    yield from remarks(table)
    for subject in table["subjects"]:
        yield ""
        yield (
            f"{subject['name']:<34} {'places':>6} {'exact':>7} {'similar':>7} {'names':>6} {'saved':>6} {'p50 ms':>8} "
            f"{'p95 ms':>8}"
        )
        for recipe, groups in subject["recipes"].items():
            for name, row in groups.items():
                yield f"{f'{_recipe(recipe)}, {name}':<34} " + " ".join(_cells(row))
        yield from _difference_lines("context", subject["context"])
        if "against_first" in subject:
            yield from _difference_lines(f"against {table['subjects'][0]['name']}", subject["against_first"])


def commits_words(table: dict[str, Any]) -> str:
    """How many, and from when."""
    words = f"{table['commits']} commits" if table["commits"] > 1 else "commit"
    return f"{words} ({table['first_day']} to {table['last_day']})" if table["first_day"] else words


def remarks(table: dict[str, Any]) -> Iterator[str]:
    """What a reader of the figures has to know."""
    few = [f"{count} of kind {kind}" for kind, count in table["places"].items() if count < FEWEST]
    if few:
        yield f"few places ({', '.join(few)}): raise --commits or --limit before you conclude anything"
    if table["shallow"]:
        yield "a shallow clone: commits before its first one are not there"
    if any(row["recipes"][OURS][ALL]["similarity"] is None for row in table["subjects"]):
        yield "edit similarity needs rapidfuzz: pip install 'coder-lsp[eval]'"


def _recipe(name: str) -> str:
    return {NONE: "without context", OURS: "with context"}[name]


def _cells(row: dict[str, Any]) -> list[str]:
    similar = f"{row['similarity']:>7.3f}" if row["similarity"] is not None else f"{'':>7}"
    return [
        f"{row['places']:>6}",
        f"{100 * row['exact_share']:>5.1f} %",
        similar,
        f"{row['identifiers']:>6.3f}",
        f"{100 * row['saved_share']:>4.0f} %",
        f"{row['ms']['p50']:>8.0f}",
        f"{row['ms']['p95']:>8.0f}",
    ]


def _difference_lines(title: str, groups: dict[str, Any]) -> Iterator[str]:
    for name, measures in groups.items():
        for measure, found in measures.items():
            yield f"{title}, {name}: {measure} {difference_words(found)}"


def difference_words(found: dict[str, Any]) -> str:
    """A difference of means, in points of a hundred."""
    low, high = (100 * end for end in found["interval_95"])
    return (
        f"{100 * found['difference']:+.1f} points (95 %: {low:+.1f} to {high:+.1f}; p = {found['p_value']:.3f}), "
        f"{found['better']} better, {found['worse']} worse of {found['tasks']}"
    )
