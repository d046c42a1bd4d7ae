"""Two files of samples, whichever verb wrote them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from coder_lsp.errors import InputError
from coder_lsp.evaluate import crossfile, exact, fim, rows
from coder_lsp.evaluate.codegen import run as codegen
from coder_lsp.evaluate.compare import METRICS, compared, line, lines, select
from coder_lsp.evaluate.repo import complete as repo


def row(task, right, **more):
    return {"task_id": f"t{task}", "exact": right, **more}


def by_name(found):
    return {(one.variant, one.group, one.metric): one.difference for one in found}


def test_two_models_on_the_same_tasks():
    before = [row(number, number < 4, model="a", ms=10.0) for number in range(10)]
    after = [row(number, number < 6, model="b", ms=30.0) for number in range(12)]
    found = by_name(compared(before, after))
    assert set(found) == {("", "", "exact"), ("", "", "ms")}
    exact = found["", "", "exact"]
    assert (exact.tasks, exact.before, exact.after, exact.better, exact.worse) == (10, 0.4, 0.6, 2, 0)
    assert found["", "", "ms"].difference == 20.0


def test_each_recipe_is_compared_with_itself():
    before = [row(number, False, recipe=recipe) for number in range(3) for recipe in ("none", "ours")]
    after = [row(number, recipe == "ours", recipe=recipe) for number in range(3) for recipe in ("none", "ours")]
    found = by_name(compared(before, after))
    assert found["recipe none", "", "exact"].difference == 0.0
    assert found["recipe ours", "", "exact"].difference == 1.0


def test_one_file_is_compared_with_itself_by_what_is_chosen():
    rows = [
        row(number, recipe == "ours" and number > 0, recipe=recipe)
        for number in range(4)
        for recipe in ("none", "ours")
    ]
    found = compared(select(rows, ["recipe=none"]), select(rows, ["recipe=ours"]))
    assert [one.difference.difference for one in found] == [0.75]


def test_kinds_that_do_not_match_are_named():
    before = [row(number, True, recipe=recipe) for number in range(2) for recipe in ("none", "given")]
    with pytest.raises(InputError, match="the first has recipe none; recipe given, the second recipe ours") as caught:
        compared(before, [row(1, True, recipe="ours")])
    assert "--where-a" in caught.value.hint


def test_groups_are_of_a_field():
    before = [row(number, False, language="python" if number % 2 else "go") for number in range(6)]
    after = [row(number, bool(number % 2), language="python" if number % 2 else "go") for number in range(6)]
    found = by_name(compared(before, after, by="language"))
    assert found["", "python", "exact"].difference == 1.0
    assert found["", "go", "exact"].difference == 0.0
    assert found["", "", "exact"].tasks == 6


def test_of_the_same_gap_the_last_row_counts_and_what_was_not_run_does_not():
    before = [row(1, False, passed=None), row(1, True, passed=True), row(2, True, passed=None)]
    found = by_name(compared(before, [row(1, True, passed=False), row(2, True, passed=True)]))
    assert found["", "", "exact"].before == 1.0
    assert (found["", "", "passed"].tasks, found["", "", "passed"].worse) == (1, 1)


def test_rows_of_another_verb_have_places():
    before = [{"place": "p1", "exact": False, "similarity": 0.5, "saved": 3}]
    found = by_name(compared(before, [{"place": "p1", "exact": True, "similarity": 1.0, "saved": 9}]))
    assert {metric for _, _, metric in found} == {"exact", "similarity", "saved"}
    with pytest.raises(InputError, match="no samples of the same kind"):
        compared(before, [row(1, True)])


def test_nothing_to_compare_is_said():
    with pytest.raises(InputError, match="the second has no samples"):
        compared([row(1, True)], [])
    with pytest.raises(InputError, match="no task with a figure in common"):
        compared([row(1, True)], [row(2, True)])
    with pytest.raises(InputError, match="no task with a figure in common"):
        compared([row(1, True)], [row(1, True)], metrics=["passed"])


def test_conditions():
    rows = [row(1, True, way="plain"), row(2, False, way="shipped")]
    assert select(rows, ["exact=true"]) == rows[:1]
    assert select(rows, ["way=shipped", "exact=false"]) == rows[1:]
    assert select([], ["way=x"]) == []
    with pytest.raises(InputError, match="no condition"):
        select(rows, ["way"])
    with pytest.raises(InputError, match="no sample has a field wey"):
        select(rows, ["wey=plain"])


def test_words_for_people():
    before = [row(number, False, ms=1.0) for number in range(8)]
    after = [row(number, True, ms=4.5) for number in range(8)]
    said = lines(compared(before, after))
    assert said[0] == "all: 8 tasks"
    assert said[1].split()[:6] == ["exact", "0.0", "%", "->", "100.0", "%"]
    assert "8 better, 0 worse" in said[1]
    assert said[1].endswith(" *")
    assert "+3.5" in said[2]
    assert "8 more, 0 less" in said[2], "more milliseconds are not better"
    assert "better" not in line("ms", compared(before, after, metrics=["ms"])[0].difference)


SAMPLES = {"fim": fim, "crossfile": crossfile, "repo": repo, "codegen": codegen, "context": exact}
CLASSES = {"fim": fim.FimSample, "crossfile": crossfile.CrossfileSample}
OF = {"bool": False, "float": 0.25, "float | None": 0.25, "bool | None": False, "int": 3}


@pytest.mark.parametrize("verb", SAMPLES)
def test_samples_of_every_verb_are_compared(verb, tmp_path):
    """As each verb declares them, written to a file and read again."""
    kind = CLASSES.get(verb) or SAMPLES[verb].Sample
    sample = kind(**{each.name: OF.get(str(each.type), each.name) for each in fields(kind)})
    better = {each.name: True for each in fields(kind) if each.name in {"exact", "passed"}}
    assert better, "what decides has a name that is known"
    for name, rewritten in (("a", {}), ("b", better)):
        rows.append(tmp_path / name, asdict(replace(sample, **rewritten)))
    found = compared(rows.samples(tmp_path / "a"), rows.samples(tmp_path / "b"))
    assert {one.metric for one in found} == {each.name for each in fields(kind)} & set(METRICS)
    assert {one.metric: one.difference.difference for one in found if one.metric in better} == dict.fromkeys(
        better, 1.0
    )


def test_two_prompt_styles_and_two_models_of_one_file_are_kept_apart():
    before = [row(1, False, style=style, model=model) for style in ("plain", "outline") for model in "ab"]
    after = [row(1, model == "b", style=style, model=model) for style in ("plain", "outline") for model in "ab"]
    found = by_name(compared(before, after, metrics=["exact"]))
    assert {variant: one.difference for (variant, _, _), one in found.items()} == {
        "style plain, model a": 0.0,
        "style plain, model b": 1.0,
        "style outline, model a": 0.0,
        "style outline, model b": 1.0,
    }
