"""From a repository to a report, with a backend that says what it is told to; models that are not there."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading

import pytest
from click.testing import CliRunner
from support.repositories import commit, git, project, repository
from support.scripted_backend import ScriptedBackend

from coder_lsp.cli.evaluate_repo import repo as verb
from coder_lsp.config import Config
from coder_lsp.errors import CoderLspError, InputError, ModelError
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.repo.complete import Sample, Subject, complete
from coder_lsp.evaluate.repo.pipeline import PAGE, REPORT, SAMPLES, Plan, measure, name_of
from coder_lsp.models import files

SUBJECTS = [Subject("one", "one.gguf", "one:1"), Subject("two", "two.gguf", "two:2")]


class Run:
    """``measure`` with a scripted host; counts what it was asked."""

    def __init__(self):
        self.backend = ScriptedBackend("area_of(each, unit_scale=2.0)\n")
        self.told = []

    def __call__(self, folder, out, *, subjects=SUBJECTS[:1], **options):
        return measure(Plan(folder, out, **options), subjects, self._complete, lambda *told: self.told.append(told))

    def _complete(self, prepared, subject, done, tell):
        return asyncio.run(complete(prepared, self.backend, Config(), subject, done=done, on_sample=tell))


@pytest.fixture
def run():
    return Run()


def test_a_report_with_every_sample(drawing, tmp_path, run):
    table = run(drawing, tmp_path / "out", subjects=SUBJECTS)
    count = sum(table["places"].values())
    assert count >= 3
    assert all(table["places"].values()), "a line, a block and a call"
    assert len(rows.load(tmp_path / "out" / SAMPLES, Sample)) == 2 * 2 * count
    assert json.loads((tmp_path / "out" / REPORT).read_text()) == table
    assert "<svg" in (tmp_path / "out" / PAGE).read_text()
    assert (table["name"], table["branch"], table["commits"]) == ("drawing", "main", 2)
    assert (table["first_day"], table["last_day"]) == ("2024-02-02", "2024-02-03")
    assert [row["name"] for row in table["subjects"]] == ["one", "two"]
    assert [told[0] for told in run.told if told[1] == told[2]] == [
        "history",
        "context",
        "completing, one",
        "completing, two",
    ]


def test_the_same_command_goes_on(drawing, tmp_path, run):
    first = run(drawing, tmp_path / "out")
    asked = len(run.backend.requests)
    assert run(drawing, tmp_path / "out") == first
    assert len(run.backend.requests) == asked
    run(drawing, tmp_path / "out", subjects=SUBJECTS)
    assert len(run.backend.requests) == 2 * asked, "of the other subject alone"


def test_two_runs_into_one_folder_come_one_after_the_other(drawing, tmp_path, run):
    """The second one finds all that the first one made."""
    first = run(drawing, tmp_path / "out")
    asked = len(run.backend.requests)
    (tmp_path / "out" / SAMPLES).rename(tmp_path / "kept")
    waits, done = threading.Event(), []

    class Told(list):
        def append(self, told):
            if told[0].startswith("waiting for another run"):
                waits.set()

    run.told = Told()
    other = threading.Thread(target=lambda: done.append(run(drawing, tmp_path / "out")))
    with files.exclusive(tmp_path / "out" / ".lock"):
        other.start()
        assert waits.wait(60)
        (tmp_path / "kept").rename(tmp_path / "out" / SAMPLES)
    other.join(60)
    assert done == [first]
    assert len(run.backend.requests) == asked


def test_a_seed_fixes_the_places(tmp_path, run):
    folder = project(tmp_path / "shop")
    ids = [
        [sample.place for sample in rows.load(tmp_path / f"out{number}" / SAMPLES, Sample)]
        for number, seed in enumerate((1, 1, 2))
        if run(folder, tmp_path / f"out{number}", limit=9, seed=seed)
    ]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    assert len(ids[0]) == 2 * 9


def test_nothing_to_ask_for_is_said(tmp_path, run):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}, {"notes.md": "# Notes\n"}])
    with pytest.raises(InputError, match="nothing to ask for in the newest 1 commits of main"):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_history_without_changes_is_said(tmp_path, run):
    one = repository(tmp_path / "one", [{"a.py": "x = 1\n"}])
    with pytest.raises(InputError, match="main has no commit that changes one before it"):
        run(one, tmp_path / "out")
    # Nothing but a merge of two commits without parents.
    first, tree = git(one, "rev-parse", "HEAD", "HEAD^{tree}").split()
    other = git(one, "commit-tree", tree, "-m", "other").strip()
    merge = git(one, "commit-tree", tree, "-p", first, "-p", other, "-m", "merge").strip()
    git(one, "update-ref", "refs/heads/main", merge)
    with pytest.raises(InputError, match="main has no commit that changes one before it"):
        run(one, tmp_path / "out")
    shop = project(tmp_path / "shop")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{shop}", "shallow")
    with pytest.raises(InputError, match="main has no commit here that changes") as raised:
        run(tmp_path / "shallow", tmp_path / "out")
    assert "git fetch --unshallow" in raised.value.hint
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{shop}", "less_shallow")
    assert run(tmp_path / "less_shallow", tmp_path / "out", limit=3)["shallow"] is True


def test_what_the_user_excludes_is_not_asked_for(drawing, tmp_path, run):
    with pytest.raises(InputError, match="nothing to ask for"):
        run(drawing, tmp_path / "out", exclude=("report.py", "later.py"))


def test_a_folder_that_cannot_be_made_is_said(drawing, tmp_path, run):
    (tmp_path / "file").write_text("")
    with pytest.raises(CoderLspError, match="cannot make"):
        run(drawing, tmp_path / "file" / "out")


def test_a_file_of_samples_of_something_else_is_refused_before_anything_is_done(drawing, tmp_path, run):
    (tmp_path / SAMPLES).write_text('{"task_id": "1"}\n')
    with pytest.raises(InputError, match="no sample of this evaluation"):
        run(drawing, tmp_path)
    assert run.told == []


def test_a_hostile_repository_gets_nothing_started_and_nothing_written(drawing, tmp_path, run, monkeypatch):
    trap = tmp_path / "trap"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    evil.chmod(0o755)
    attributes = "*.py diff=x filter=x merge=x ident export-subst\n"
    commit(drawing, {".gitattributes": attributes, ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::evil\n'})
    named = (
        "diff.external",
        "diff.x.command",
        "diff.x.textconv",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
    )
    named += ("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "gpg.program", "merge.x.driver")
    named += ("core.alternateRefsCommand", "uploadpack.packObjectsHook", "credential.helper", "alias.rev-list")
    for key in named:
        git(drawing, "config", key, str(evil))
    git(drawing, "config", "log.showSignature", "true")
    git(drawing, "config", "core.hooksPath", str(drawing / ".git" / "hooks"))
    (drawing / ".git" / "info" / "attributes").write_text(attributes)
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        shutil.copy(evil, drawing / ".git" / "hooks" / hook)
    git(drawing, "-c", "core.hooksPath=", "-c", "core.fsmonitor=", "diff", "HEAD^", "HEAD")
    assert trap.exists(), "the trap works: git diff starts what the repository names"
    trap.unlink()
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in drawing.rglob("*")}
    assert sum(run(drawing, tmp_path / "out")["places"].values()) >= 3
    assert not trap.exists()
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in drawing.rglob("*")} == before


def test_binary_and_huge_files_and_commits_that_only_delete_or_rename(tmp_path, run):
    body = "def {0}(one, two):\n    {0}_total = combine(one, two)\n    return {0}_total\n"
    folder = repository(
        tmp_path / "r",
        [
            {"a.py": body.format("first"), "gone.py": body.format("gone")},
            {
                "b.py": body.format("second"),
                "binary.py": bytes(range(256)) * 50,
                "picture.png": bytes(range(256)) * 50,
                "huge.py": body.format("huge") * 30_000,
                "one_line.py": f"x = '{'a' * 900_000}'\n",
            },
        ],
    )
    git(folder, "mv", "a.py", "renamed.py")
    commit(folder, {})
    git(folder, "rm", "-q", "gone.py", "binary.py")
    git(folder, "commit", "-q", "-m", "only deletes")
    (folder / "notes").mkdir()
    commit(folder, {"notes/nothing.txt": ""})
    table = run(folder, tmp_path / "out")
    assert table["places"] == {"line": 3, "block": 1, "call": 1}
    assert {sample.place.split(":")[1] for sample in rows.load(tmp_path / "out" / SAMPLES, Sample)} == {"b.py"}
    left_out = table["left_out"]
    assert (left_out["too large"], left_out["minified"], left_out["binary"]) == (1, 1, 1)


def test_a_repository_is_called_as_its_folder_is(tmp_path):
    assert name_of(tmp_path / "shop.git") == "shop"
    assert name_of(tmp_path / "shop") == "shop"


def test_a_model_that_is_not_there_is_said_before_anything_is_done(drawing, tmp_path):
    result = CliRunner().invoke(verb, [str(drawing), "--model", "absent", "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, ModelError)
    assert "absent" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    result = CliRunner().invoke(verb, [str(tmp_path / "absent")])
    assert result.exit_code == 2
