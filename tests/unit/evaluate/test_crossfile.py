"""CrossCodeEval's protocol over three formats of tasks, with fragments of three kinds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import InputError
from coder_lsp.evaluate import crossfile, rows
from coder_lsp.evaluate.crossfile import Limits
from coder_lsp.evaluate.crossfile_tasks import CrossfileTask, load
from coder_lsp.evaluate.cutter import EstimatingCutter
from coder_lsp.evaluate.indexed import IndexedRepository
from coder_lsp.evaluate.tasks import Task, write_tasks
from coder_lsp.evaluate.ways import Plain, Written
from coder_lsp.prompt.templates import bind

CCEVAL = {
    "prompt": "from shapes import area_of\n\nsize = area_of(",
    "groundtruth": "shape, unit)",
    "right_context": "\nprint(size)\n",
    "metadata": {"task_id": "project_cc_python/1", "repository": "drawing", "file": "main.py"},
    "crossfile_context": {
        "text": "",
        "list": [
            {"retrieved_chunk": "def area_of(shape, unit):\n\n    return 1", "filename": "shapes.py", "score": 9.0},
            {"retrieved_chunk": "x = 1", "filename": "other.py", "score": 1.0},
        ],
    },
}
REPOEVAL = {
    "prompt": "import a\n\na.",
    "metadata": {"task_id": "drawing/3", "ground_truth": "run()", "fpath_tuple": ["drawing", "lib", "use.py"]},
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def count(text):
    """Words and line ends, so that an expected sum can be counted by hand."""
    return len(text.split())


def test_fragments_are_written_as_in_the_papers_script():
    chunks = [("a.py", "one\n\ntwo"), ("b.py", "three")]
    assert crossfile.written(chunks, "#", count, 512) == (
        "# Here are some relevant code fragments from other files of the repo:\n"
        "\n"
        "# the below code fragment is found in a.py\n"
        "# one\n"
        "# two\n"
        "\n"
        "# the below code fragment is found in b.py\n"
        "# three\n"
        "\n"
    )


def test_whole_fragments_are_shown_until_one_does_not_fit():
    """The introduction has 13 words, the fragments 13, 50 and 11; behind one that does not fit nothing is tried."""
    chunks = [("a.py", "one\ntwo"), ("b.py", "w " * 40), ("c.py", "three")]
    assert crossfile.written(chunks, "#", count, 40) == crossfile.written(chunks[:1], "#", count, 40)
    assert "c.py" not in crossfile.written(chunks, "#", count, 60)
    assert "c.py" in crossfile.written(chunks, "#", count, 100)
    assert crossfile.written(chunks, "#", count, 20) == ""
    assert crossfile.written([], "#", count, 512) == ""


def test_a_file_of_crosscodeeval(tmp_path):
    (task,) = load(write(tmp_path / "t.jsonl", CCEVAL))
    assert (task.task.repo, task.task.path, task.language) == ("drawing", "main.py", "python")
    assert task.task.ground_truth == "shape, unit)"
    assert task.given == (("shapes.py", "def area_of(shape, unit):\n\n    return 1"), ("other.py", "x = 1"))
    assert task.task.root == str((tmp_path / "repos" / "drawing").resolve())


def test_a_file_of_repoeval(tmp_path):
    (task,) = load(write(tmp_path / "t.jsonl", REPOEVAL), repos=tmp_path)
    assert (task.task.repo, task.task.path, task.task.ground_truth) == ("drawing", "lib/use.py", "run()")
    assert task.given is None
    assert task.task.root == str((tmp_path / "drawing").resolve())


def test_a_file_of_made_tasks_says_where_its_repository_is(tmp_path, repository, task):
    path = tmp_path / "t.jsonl"
    write_tasks(path, [replace(task, task_id=str(number), root=str(repository)) for number in range(20)])
    tasks = load(path)
    assert {one.task.root for one in tasks} == {str(repository.resolve())}
    few, more = ({one.task.task_id for one in load(path, limit=limit)} for limit in (3, 9))
    assert few < more
    assert len(more) == 9


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**CCEVAL, "groundtruth": 3}, "line 1: groundtruth is int"),
        ({**CCEVAL, "metadata": {**CCEVAL["metadata"], "repository": "../out"}}, "leads out"),
        ({**CCEVAL, "metadata": {**CCEVAL["metadata"], "file": "/etc/passwd"}}, "leads out"),
        ({**REPOEVAL, "metadata": {**REPOEVAL["metadata"], "fpath_tuple": "drawing"}}, "fpath_tuple is not a list"),
        ({**REPOEVAL, "metadata": {**REPOEVAL["metadata"], "fpath_tuple": ["drawing", "..", "x.py"]}}, "leads out"),
        ({"task_id": "1"}, "repo is missing"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, row, says):
    with pytest.raises(InputError, match=says):
        load(write(tmp_path / "t.jsonl", row))


def test_the_same_task_twice_and_none_at_all(tmp_path):
    with pytest.raises(InputError, match="was there before"):
        load(write(tmp_path / "t.jsonl", CCEVAL, CCEVAL))
    with pytest.raises(InputError, match="no tasks"):
        load(write(tmp_path / "t.jsonl"))


@pytest.fixture
def places(repository, task):
    return [CrossfileTask(replace(task, root=str(repository)))]


def contexts(places, *recipes, budget=512):
    (shown,) = crossfile.contexts(places, recipes, EstimatingCutter(), lambda text: len(text) // 3, budget=budget)
    return shown.contexts


def test_every_recipe_brings_fragments_in_the_same_format(places):
    found = contexts(places, "none", "reference", "ours")
    assert found["none"] == ""
    for recipe in ("reference", "ours"):
        assert found[recipe].startswith("# Here are some relevant code fragments"), recipe
        assert "# the below code fragment is found in lib/shapes.py\n" in found[recipe], recipe
        assert all(line.startswith("#") for line in found[recipe].splitlines() if line), recipe
    assert "def area_of(shape):" in found["ours"]


@pytest.mark.parametrize("budget", [60, 120, 512])
def test_no_recipe_shows_more_than_the_budget(places, budget):
    for recipe, text in contexts(places, "reference", "ours", budget=budget).items():
        assert len(text) // 3 <= budget, recipe


def test_the_index_sees_nothing_behind_the_cursor(places, monkeypatch):
    asked, real = [], IndexedRepository.snippets

    def snippets(self, task, budget):
        asked.append(task)
        return real(self, task, budget)

    monkeypatch.setattr(IndexedRepository, "snippets", snippets)
    assert places[0].task.suffix
    contexts(places, "ours")
    assert [(task.prefix, task.suffix) for task in asked] == [(places[0].task.prefix, "")]


def test_the_answer_itself_is_not_shown(places):
    text = contexts(places, "reference", "ours")
    assert all("each.outline_length()" not in shown for shown in text.values())


def test_a_repository_that_is_not_there_is_refused_only_where_it_is_needed(places, tmp_path):
    gone = [replace(places[0], task=replace(places[0].task, root=str(tmp_path / "gone")))]
    assert contexts(gone, "none") == {"none": ""}
    for recipe in ("reference", "ours"):
        with pytest.raises(InputError, match="the repository drawing is not there"):
            contexts(gone, recipe)
    with pytest.raises(InputError, match="brings no fragments"):
        contexts(gone, "given")


def plain(reply):
    engine = ScriptedEngine(reply, options=EngineOptions(context_tokens=4096))
    return engine, Plain(engine, bind(engine, "qwen"))


def shown(tmp_path, *recipes):
    tasks = load(write(tmp_path / "t.jsonl", CCEVAL))
    return crossfile.contexts(tasks, recipes, EstimatingCutter(), len)


def test_places_are_continued_once_by_every_recipe(tmp_path):
    engine, way = plain(
        lambda request: "shape, unit)\nx" if b"fragment" in bytes(request.tokens) else "shape)\nshape, unit)"
    )
    out, told = tmp_path / "s.jsonl", []

    def on_sample(sample, *numbers):
        rows.append(out, sample)
        told.append(numbers)

    ready = shown(tmp_path, "none", "given")
    samples = crossfile.go_on(ready, way, model="m", on_sample=on_sample)
    assert [(sample.recipe, sample.exact, sample.statement) for sample in samples] == [
        ("none", False, "shape)"),
        ("given", True, "shape, unit)"),
    ]
    assert told == [(1, 2), (2, 2)]
    assert samples[1].context_tokens > 0 == samples[0].context_tokens
    assert bytes(engine.requests[0].tokens).decode() == CCEVAL["prompt"]
    assert bytes(engine.requests[1].tokens).decode().endswith("x = 1\n\n" + CCEVAL["prompt"])
    assert engine.requests[0].max_tokens == 50
    again, second = plain("other")
    assert crossfile.go_on(ready, second, model="m", done=rows.load(out, crossfile.CrossfileSample)) == samples
    assert again.requests == []
    crossfile.go_on(ready, second, model="m", limits=Limits(1024), done=rows.load(out, crossfile.CrossfileSample))
    assert len(again.requests) == 2


def test_comments_are_not_compared_and_a_long_truth_is_cut_as_the_answer_is():
    task = CrossfileTask(Task("1", "r", "a.py", "", "x = ", "", "f(  # why\n    1,\n)\ny = 2\nz = 3\n"))
    sample = crossfile.judged(task, Written("f(\n    1,\n)\nother()"), "none", "", model="m", limits=Limits())
    assert sample.exact
    assert sample.statement == "f(\n    1,\n)"
    java = CrossfileTask(Task("2", "r", "A.java", "", "int x = ", "", "f(1); // why"))
    assert crossfile.judged(java, Written("f(1);\nint y = 2;"), "none", "", model="m", limits=Limits()).exact


def test_recipes_are_compared_in_pairs(tmp_path):
    task = load(write(tmp_path / "t.jsonl", CCEVAL))[0]
    samples = []
    for number, (plainly, ours) in enumerate([("a)", "shape, unit)"), ("shape, unit)", "shape, unit)"), ("b)", "b)")]):
        one = replace(task, task=replace(task.task, task_id=str(number)))
        samples.append(crossfile.judged(one, Written(plainly, ms=number), "none", "", model="m", limits=Limits()))
        samples.append(crossfile.judged(one, Written(ours, ms=10), "ours", "d", model="m", limits=Limits()))
    found = crossfile.figures(samples, seed=1)["python"]
    assert found["recipes"]["none"]["exact"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["recipes"]["ours"]["exact"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["recipes"]["none"]["ms"] == {"p50": 1, "p95": 2}
    assert list(found["leads"]) == ["ours - none"]
    assert found["leads"]["ours - none"]["better"] == 1


def test_samples_of_something_else_are_refused(tmp_path):
    with pytest.raises(InputError, match="no sample of this"):
        rows.load(write(tmp_path / "s.jsonl", {"task_id": "1"}), crossfile.CrossfileSample)
