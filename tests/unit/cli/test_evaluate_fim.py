"""``coder-lsp eval fim``, ``crossfile``, ``compare`` and ``gate``, with a model that says what it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.scripted_backend import ScriptedBackend

from coder_lsp.cli.evaluate import LATE
from coder_lsp.cli.evaluate import eval as verb
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import InputError
from coder_lsp.evaluate import gate
from coder_lsp.evaluate.cutter import EstimatingCutter
from coder_lsp.evaluate.repo.complete import Subject
from coder_lsp.evaluate.sandbox import Outcome
from coder_lsp.evaluate.ways import Plain
from coder_lsp.models.store import InstalledModel
from coder_lsp.prompt.templates import bind
from coder_lsp.types import Adapter

TASKS = [
    {
        "name": f"n{number}",
        "language": "py",
        "prompt": f"def f{number}(x):",
        "suffix": "\nf(1)",
        "canonical_solution": "    return x",
    }
    for number in range(4)
]
INFILLING = {
    "task_id": "SingleLineInfilling/HumanEval/0/L0",
    "entry_point": "f",
    "prompt": "def f(x):\n",
    "suffix": "\n",
    "canonical_solution": "    return x\n",
    "test": "def check(candidate):\n    assert candidate(1) == 1\n",
}
CCEVAL = {
    "prompt": "size = area(",
    "groundtruth": "1)",
    "metadata": {"task_id": "p/1", "repository": "r", "file": "main.py"},
    "crossfile_context": {"list": [{"retrieved_chunk": "def area(x):", "filename": "a.py", "score": 1.0}]},
}


MADE = []
"""The backends of a test, in turn."""


class Backend(ScriptedBackend):
    """A supervisor whose host says ``text``."""

    text = "    return x\n"

    def __init__(self, _settings):
        super().__init__(self.text)
        MADE.append(self)
        self.stopped = False

    async def stop(self):
        self.stopped = True


@pytest.fixture
def model(monkeypatch):
    """A model that is installed and needs no file."""
    installed = InstalledModel("m", Path("m.gguf"), None, None, None)
    engines = []

    def load(_cls, _model, _config, *, context_tokens=0, at_cursor=False):
        engine = ScriptedEngine("    return y\n", options=EngineOptions(context_tokens=context_tokens or 4096))
        engines.append(engine)
        return Plain(engine, bind(engine, "qwen"), at_cursor=at_cursor)

    MADE.clear()
    monkeypatch.setattr(Backend, "text", "    return x\n")
    monkeypatch.setattr("coder_lsp.host.supervisor.HostSupervisor", Backend)
    monkeypatch.setattr("coder_lsp.app.host_settings", lambda _config: None)
    monkeypatch.setattr("coder_lsp.models.store.resolve", lambda _name: installed)
    monkeypatch.setattr("coder_lsp.evaluate.cutter.ModelCutter.load", lambda _model: EstimatingCutter())
    monkeypatch.setattr(Plain, "load", classmethod(load))
    return engines


def run(*arguments, status=0):
    result = CliRunner().invoke(verb, [str(each) for each in arguments])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def tasks(tmp_path):
    return write(tmp_path / "tasks.jsonl", *TASKS)


def test_help_names_every_verb():
    said = run("--help").stdout
    for name, (_, words) in LATE.items():
        assert name in said
        assert words.split()[0] in said
    assert "make-tasks" in said


def test_both_ways_are_measured_beside_published_figures(model, tasks, tmp_path):
    out = tmp_path / "samples.jsonl"
    said = run("fim", tasks, "--through", "both", "-o", out).stdout
    assert "santacoder python, shipped" in said
    assert "shipped - plain, exact: +100.0 points" in said
    assert "published (DeepSeek-Coder, arXiv 2401.14196), exact match" in said
    assert MADE[0].stopped
    assert len(out.read_text().splitlines()) == 8
    found = json.loads(run("fim", tasks, "--through", "both", "-o", out, "--json").stdout)
    assert found["sets"]["santacoder python"]["ways"]["shipped"]["exact"] == 1.0
    assert found["sets"]["santacoder python"]["ways"]["plain"]["exact"] == 0.0
    assert MADE[1].requests == []
    assert model[1].requests == []


def test_the_bare_prompt_may_be_split_at_the_cursor(model, tasks):
    found = json.loads(run("fim", tasks, "--through", "all", "--limit", 1, "--json").stdout)
    assert list(found["sets"]["santacoder python"]["ways"]) == ["shipped", "plain", "cursor"]
    assert list(found["sets"]["santacoder python"]["leads"]) == ["shipped - plain", "shipped - cursor"]
    plain, cursor = (bytes(t for t in engine.requests[0].tokens if t < 256).decode() for engine in model)
    assert cursor == plain.replace(":", ":\n\n")


def test_an_adapter_is_laid_over_the_model_and_its_samples_are_told_from_the_models(
    model, tasks, tmp_path, monkeypatch
):
    laid = Adapter("shop.gguf", 0.5, "abc")
    found = [Subject("m", "m", "m:1"), Subject("m + shop@0.5", "m", "m:1+abc@0.5", (laid,))]
    asked = []

    def subjects(models, adapters):
        asked.append((models, adapters))
        return found

    monkeypatch.setattr("coder_lsp.evaluate.repo.subjects.subjects", subjects)
    out = tmp_path / "samples.jsonl"
    run("fim", tasks, "-o", out)
    measured = json.loads(run("fim", tasks, "-o", out, "--adapter", "shop@0.5", "--json").stdout)
    assert measured["model"] == "m + shop@0.5"
    assert [adapters for _, adapters in asked] == [("shop@0.5",)]
    assert {request.adapters for request in MADE[0].requests} == {()}
    assert {request.adapters for request in MADE[1].requests} == {(laid,)}
    models = [json.loads(line)["model"] for line in out.read_text().splitlines()]
    assert models[4:] == ["m:1+abc@0.5"] * 4
    assert "m:1+abc@0.5" not in models[:4]


def test_an_adapter_has_no_bare_prompt(model, tasks):
    assert "shipped path alone" in run("fim", tasks, "--adapter", "shop", "--through", "both", status=2).output


def test_tests_are_run_only_where_that_is_allowed(model, tmp_path, monkeypatch):
    path = write(tmp_path / "infilling.jsonl", INFILLING)
    programs = []

    def sandboxed(_language, program, *, limits):
        programs.append(program)
        return Outcome("failed", 42, "", "", limits.seconds)

    monkeypatch.setattr("coder_lsp.evaluate.codegen.toolchains.execute", sandboxed)
    result = run("fim", path)
    assert "--allow-execution" in result.stderr
    assert programs == []
    found = json.loads(run("fim", path, "--allow-execution", "--json").stdout)
    assert found["sets"]["single-line python"]["ways"]["shipped"]["passed"] == 1.0
    assert found["published"] == []
    assert programs == [
        "def f(x):\n    return x\n\n\ndef check(candidate):\n    assert candidate(1) == 1\n\ncheck(f)\n"
    ]


def test_a_program_that_leaves_early_has_not_passed(model, tmp_path, monkeypatch):
    path = write(tmp_path / "infilling.jsonl", INFILLING)
    monkeypatch.setattr(Backend, "text", "    raise SystemExit\n")
    found = json.loads(run("fim", path, "--allow-execution", "--json", "-o", tmp_path / "s.jsonl").stdout)
    assert found["sets"]["single-line python"]["ways"]["shipped"]["passed"] == 0.0
    (row,) = map(json.loads, (tmp_path / "s.jsonl").read_text().splitlines()[1:])
    assert (row["passed"], row["ran"]) == (False, "failed")


def test_a_sandbox_that_does_not_work_is_an_error(model, tmp_path, monkeypatch):
    ended = Outcome("error", None, "", "no namespaces", 0.0)
    monkeypatch.setattr(
        "coder_lsp.evaluate.codegen.toolchains.execute", lambda *_, limits: replace(ended, seconds=limits.seconds)
    )
    path = write(tmp_path / "infilling.jsonl", INFILLING)
    result = run("fim", path, "--allow-execution", status=1)
    assert "no namespaces" in result.exception.message


def test_crossfile_has_the_protocol_and_the_figures_of_the_paper(model, tmp_path):
    path, out = write(tmp_path / "tasks.jsonl", CCEVAL), tmp_path / "samples.jsonl"
    said = run("crossfile", path, "-o", out).stdout
    assert said.startswith("left to right, 2048 tokens, 512 of other files, 50 written")
    assert "python, none" in said
    assert "given - none, exact" in said
    assert "  DeepSeek-Coder 6.7B      python given 16.1 %" in said
    assert [row["recipe"] for row in map(json.loads, out.read_text().splitlines())] == ["none", "given"]
    found = json.loads(run("crossfile", path, "-o", out, "--context", "none", "--json").stdout)
    assert list(found["languages"]["python"]["recipes"]) == ["none"]
    assert model[1].requests == []


def test_a_sequence_must_have_room(model, tmp_path):
    path = write(tmp_path / "tasks.jsonl", CCEVAL)
    result = run("crossfile", path, "--sequence", 512, "--budget", 500, status=1)
    assert isinstance(result.exception, InputError)


def test_two_runs_are_compared(model, tasks, tmp_path, monkeypatch):
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    run("fim", tasks, "-o", first)
    monkeypatch.setattr(Backend, "text", "    return 2\n")
    run("fim", tasks, "-o", second)
    said = run("compare", first, second).stdout
    assert "all: 4 tasks" in said
    assert "0 better, 4 worse" in said
    found = json.loads(run("compare", first, second, "--json", "--metric", "exact", "--by", "language").stdout)
    assert [(one["group"], one["difference"]) for one in found["compared"]] == [("", -1.0), ("python", -1.0)]


def test_one_file_is_compared_with_itself(model, tasks, tmp_path):
    out = tmp_path / "samples.jsonl"
    run("fim", tasks, "--through", "both", "-o", out)
    arguments = (
        "compare",
        out,
        out,
        "--where-a",
        "way=plain",
        "--where-b",
        "way=shipped",
        "--metric",
        "exact",
        "--json",
    )
    assert json.loads(run(*arguments).stdout)["compared"][0]["better"] == 4


@pytest.fixture
def small_gate(monkeypatch, tmp_path):
    """Eight gaps instead of all."""
    path = tmp_path / "gate.toml"
    body = "\n".join(f"def f{number}(x):\n⟦    return x⟧\n\n" for number in range(8))
    path.write_text(f"[[text]]\npath = 'a.py'\ntext = '''\n{body}'''\n")
    tasks, digest = gate.load(path), gate.digest(path)
    monkeypatch.setattr(gate, "load", lambda limit=None: tasks[:limit])
    monkeypatch.setattr(gate, "digest", lambda: digest)


def test_the_gate_passes_and_fails(model, small_gate, tmp_path, monkeypatch):
    baseline = tmp_path / "baseline.json"
    assert "8 of 8 gaps exact" in run("gate", "--write-baseline", baseline, "--model", "m").stdout
    said = run("gate", "--baseline", baseline).stdout
    assert said.splitlines()[-1].startswith("passed")
    assert MADE[-1].stopped
    monkeypatch.setattr(Backend, "text", "import os\n")
    said = run("gate", "--baseline", baseline, status=1).stdout
    assert "failed:" in said
    assert "8 became wrong, 0 right" in said
    assert "was right: a.py:1" in said
    found = json.loads(run("gate", "--baseline", baseline, "--json", status=1).stdout)
    assert not found["passed"]
    assert found["model"] == "m"
    assert len(found["lost"]) == 8


def test_the_gate_trusts_no_completions_of_before(model, small_gate, tmp_path):
    baseline, out = tmp_path / "baseline.json", tmp_path / "samples.jsonl"
    run("gate", "--write-baseline", baseline, "--model", "m", "-o", out)
    assert len(out.read_text().splitlines()) == 8
    assert "is there already" in run("gate", "--baseline", baseline, "-o", out, status=1).exception.message


def test_a_baseline_of_another_model_is_refused(model, small_gate, tmp_path, monkeypatch):
    baseline = tmp_path / "baseline.json"
    run("gate", "--write-baseline", baseline, "--model", "m")
    other = replace(InstalledModel("m", Path("m.gguf"), None, None, None), name="other")
    monkeypatch.setattr("coder_lsp.models.store.resolve", lambda _name: other)
    assert "of m, not of other" in run("gate", "--baseline", baseline, "--model", "x", status=1).exception.message
