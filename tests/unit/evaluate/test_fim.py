"""SantaCoder's lines and HumanEval-Infilling's gaps: read, filled, run, summed up."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.config import Config
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import InputError
from coder_lsp.evaluate import fim, rows
from coder_lsp.evaluate.ways import Plain, Shipped, Written
from coder_lsp.prompt.templates import bind

SANTA = {
    "name": "humaneval-1.json-L3",
    "language": "py",
    "prompt": "def add(a, b):",
    "suffix": "\nprint(add(1, 2))",
    "canonical_solution": "    return a + b",
    "tests": "",
}
INFILLING = {
    "task_id": "SingleLineInfilling/HumanEval/0/L0",
    "entry_point": "add",
    "prompt": "def add(a, b):\n    total = a\n",
    "suffix": "    return total\n",
    "canonical_solution": "    total += b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    santa = [{**SANTA, "name": f"n{number}"} for number in range(6)]
    santa += [{**SANTA, "language": "java", "canonical_solution": solution} for solution in ("  }", "  int x;")]
    multi = {
        **INFILLING,
        "task_id": "MultiLineInfilling/HumanEval/0/L0_L1",
        "canonical_solution": "    a = 1\n    b = 2\n",
    }
    span = {
        **INFILLING,
        "task_id": "RandomSpanInfillingLight/HumanEval/0/1",
        "prompt": "def add(a, b):\n    total = a",
        "canonical_solution": " + b\n    total",
        "suffix": " += 0\n    return total\n",
    }
    return [write(tmp_path / "santa.jsonl", *santa), write(tmp_path / "infilling.jsonl", INFILLING, multi, span)]


def test_both_formats_become_files_with_a_gap(files):
    tasks = fim.load(files)
    assert {(task.set, task.language) for task in tasks} == {
        ("santacoder", "python"),
        ("santacoder", "java"),
        ("single-line", "python"),
        ("multi-line", "python"),
        ("random-span", "python"),
    }
    santa = tasks[0]
    assert santa.prefix + santa.truth + santa.suffix == "def add(a, b):\n    return a + b\n\nprint(add(1, 2))"
    assert [task.lone_bracket for task in tasks if task.language == "java"] == [True, False]


def test_an_editors_cursor_stands_before_a_line_end(files):
    single, multi, span = fim.load(files[1:])
    for task in (single, multi):
        place = task.place()
        assert place.suffix == "\n" + task.suffix
        assert place.prefix + task.truth.removesuffix("\n") + place.suffix == task.prefix + task.truth + task.suffix
    assert span.place().suffix == span.suffix
    assert [task.place().one_line for task in (single, multi, span)] == [True, False, False]
    assert single.place().path == "solution.py"


def test_the_bare_prompt_has_the_texts_as_they_stand_in_the_set(files):
    tasks = fim.load(files)
    assert tasks[0].place().bare == (SANTA["prompt"], SANTA["suffix"])
    assert tasks[0].place().prefix == SANTA["prompt"] + "\n"
    single = next(task for task in tasks if task.set == "single-line")
    assert single.place().bare == (INFILLING["prompt"], INFILLING["suffix"])


def test_a_limit_is_of_each_set_and_a_larger_one_adds_to_it(files):
    few, more = ({task.task_id for task in fim.load(files, limit=limit, seed=5)} for limit in (2, 4))
    assert few < more
    assert few == {task.task_id for task in fim.load(files, limit=2, seed=5)}
    assert sum("santacoder/python" in name for name in few) == 2
    assert sum("santacoder/java" in name for name in few) == 2
    others = [{task.task_id for task in fim.load(files, limit=2, seed=seed)} for seed in range(6)]
    assert any(few != other for other in others)


def test_languages_are_chosen(files):
    assert {task.language for task in fim.load(files, languages=["java"])} == {"java"}
    assert {task.language for task in fim.load(files, languages=["py"])} == {"python"}
    with pytest.raises(InputError, match=r"no tasks in .* in cobol"):
        fim.load(files, languages=["cobol"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"suffix": 1}, "line 1: suffix is int"),
        ({"language": "klingon"}, "klingon"),
        ({"prompt": None}, "prompt is missing"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        fim.load([write(tmp_path / "t.jsonl", {**SANTA, **change})])


def test_a_set_that_is_not_known_and_a_file_given_twice(tmp_path, files):
    with pytest.raises(InputError, match="of no set that is known"):
        fim.load([write(tmp_path / "t.jsonl", {**INFILLING, "task_id": "Other/1"})])
    with pytest.raises(InputError, match="was there before"):
        fim.load([files[1], files[1]])


async def test_gaps_are_filled_once(files, tmp_path):
    tasks = fim.load(files[1:])
    out = tmp_path / "samples.jsonl"
    answers = ["    total += b\n", "    a = 1\n    b = 2\n", " + b\n    total"]
    told = []

    def on_sample(sample, *numbers):
        rows.append(out, sample)
        told.append(numbers)

    way = Shipped(ScriptedBackend(*answers), Config())
    samples = await fim.fill(tasks, way, model="m", on_sample=on_sample)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [sample.max_tokens for sample in samples] == [64, 256, 256]
    assert samples[0].exact
    backend = ScriptedBackend("other")
    again = await fim.fill(tasks, Shipped(backend, Config()), model="m", done=fim.load_samples(out))
    assert again == samples
    assert backend.requests == []
    await fim.fill(tasks, Shipped(backend, Config()), model="another", done=fim.load_samples(out))
    assert len(backend.requests) == 3


async def test_an_interrupt_is_noticed_between_two_gaps(files):
    """A bare engine holds the loop, so only a wait of its own lets an interrupt in."""
    engine = ScriptedEngine("x", options=EngineOptions(context_tokens=4096))
    tasks = fim.load(files)
    running = asyncio.ensure_future(
        fim.fill(tasks, Plain(engine, bind(engine, "qwen")), model="m", on_sample=lambda *_: running.cancel())
    )
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(engine.requests) == 1


def test_an_interrupt_does_not_wait_for_all_programs(files):
    single = next(task for task in fim.load(files) if task.set == "single-line")
    tasks = [replace(single, task_id=str(number)) for number in range(5000)]
    samples = [fim.judged(task, Written("    total += b"), "a", "m", 64) for task in tasks]
    ran, told = [], threading.Event()

    def run(program):
        # All but the first wait until the interrupt is on its way.
        assert not ran or told.wait(10)
        ran.append(program)
        return "passed"

    def on_sample(*_):
        told.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fim.run_tests(tasks, samples, run, on_sample=on_sample)
    assert len(ran) < 5000


async def test_other_settings_are_another_question(files, tmp_path):
    tasks, out = fim.load(files[1:])[:1], tmp_path / "samples.jsonl"
    config = Config()
    await fim.fill(tasks, Shipped(ScriptedBackend("x"), config), model="m", on_sample=lambda s, *_: rows.append(out, s))
    same, other = ScriptedBackend("x"), ScriptedBackend("x")
    await fim.fill(tasks, Shipped(same, config), model="m", done=fim.load_samples(out))
    changed = replace(config, prompt=replace(config.prompt, suffix_tokens=7))
    await fim.fill(tasks, Shipped(other, changed), model="m", done=fim.load_samples(out))
    assert (len(same.requests), len(other.requests)) == (0, 1)


def test_of_a_line_the_first_counts_and_of_more_all(files):
    single, multi, _ = fim.load(files[1:])
    assert fim.judged(single, Written("\n    total += b\n    more"), "w", "m", 64).exact
    assert fim.judged(single, Written("total += b"), "w", "m", 64).exact
    assert not fim.judged(single, Written("    total += 1"), "w", "m", 64).exact
    assert not fim.judged(multi, Written("    a = 1"), "w", "m", 64).exact
    assert fim.judged(multi, Written("    a = 1\n\n    b = 2"), "w", "m", 64).exact


def test_what_was_replaced_behind_the_cursor_belongs_to_the_answer():
    """Truth ``a, b`` before ``)``: who writes ``a, b)`` and takes the bracket over is right."""
    task = fim.FimTask("t", "random-span", "python", "print(", ")\n", "a, b")
    assert fim.judged(task, Written("a, b)", taken=1), "w", "m", 64).exact
    assert not fim.judged(task, Written("a, b)"), "w", "m", 64).exact
    assert task.program("a, b)", 1).startswith("print(a, b)\n")


def run_here(program):
    """Stands in for the sandbox, for programs that are written in this file."""
    try:
        exec(compile(program, "program", "exec"), {})
    except Exception:  # noqa: BLE001  # whatever a wrong answer raises
        return "failed"
    return "passed"


def test_tests_are_run_on_what_was_written_and_only_once(files, tmp_path):
    tasks = fim.load(files)
    single = next(task for task in tasks if task.set == "single-line")
    right, wrong = (
        fim.judged(single, Written(text), way, "m", 64) for text, way in (("    total += b", "a"), ("    pass", "b"))
    )
    santa = fim.judged(tasks[0], Written("    return a + b"), "a", "m", 64)
    programs, out = [], tmp_path / "samples.jsonl"

    def run(program):
        programs.append(program)
        return run_here(program)

    checked = fim.run_tests(
        tasks, [right, wrong, santa], run, workers=2, on_sample=lambda sample, *_: rows.append(out, sample)
    )
    assert [(sample.passed, sample.ran) for sample in checked] == [(True, "passed"), (False, "failed"), (None, "")]
    assert len(programs) == 2
    assert fim.run_tests(tasks, checked, run) == checked
    assert len(programs) == 2
    assert fim.load_samples(out) == checked[:2]


def test_of_rows_for_the_same_gap_the_last_counts(files, tmp_path):
    sample = fim.judged(fim.load(files[1:])[0], Written("    total += b"), "a", "m", 64)
    out = tmp_path / "samples.jsonl"
    rows.append(out, sample)
    rows.append(out, replace(sample, passed=True, ran="passed"))
    assert fim.load_samples(out) == [replace(sample, passed=True, ran="passed")]
    write(out, {"task_id": "other"})
    with pytest.raises(InputError, match="no sample of this"):
        fim.load_samples(out)


def test_figures_are_by_set_and_language_and_in_pairs(files):
    tasks = [task for task in fim.load(files) if task.language == "java" or task.set == "single-line"]
    bracket, declaration, single = sorted(tasks, key=lambda task: (task.set, not task.lone_bracket))
    samples = [
        fim.judged(bracket, Written("}", ms=1), "plain", "m", 64),
        fim.judged(declaration, Written("int y;", ms=3), "plain", "m", 64),
        fim.judged(bracket, Written("}", ms=1), "shipped", "m", 64),
        fim.judged(declaration, Written("int x;", ms=9), "shipped", "m", 64),
        fim.judged(single, Written("    total += b", ms=2), "shipped", "m", 64),
    ]
    found = fim.figures(samples, seed=1)
    assert list(found) == ["santacoder java", "single-line python"]
    java = found["santacoder java"]
    assert (java["ways"]["plain"]["exact"], java["ways"]["plain"]["exact_without_lone_brackets"]) == (0.5, 0.0)
    assert (java["ways"]["shipped"]["exact"], java["ways"]["shipped"]["lone_brackets"]) == (1.0, 1)
    assert java["ways"]["shipped"]["ms"] == {"p50": 9, "p95": 9}
    lead = java["leads"]["shipped - plain"]["exact"]
    assert (lead["tasks"], lead["better"], lead["worse"], lead["difference"]) == (2, 1, 0, 0.5)
    assert java["ways"]["shipped"]["passed"] is None
    assert found["single-line python"]["leads"] == {}
