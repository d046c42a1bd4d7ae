"""The workspace as it was at a commit: in a folder of its own, whatever the repository is like."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.repositories import commit, git, repository

from coder_lsp.evaluate.repo import workspace
from coder_lsp.evaluate.repo.history import History
from coder_lsp.evaluate.repo.places import CALL, choose, find
from coder_lsp.evaluate.repo.workspace import Checkout, prepare


def on_disk(root):
    return {
        path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*")) if not path.is_dir()
    }


def commits(folder):
    return git(folder, "log", "--reverse", "--format=%H").split()


@pytest.fixture
def checkout(tmp_path):
    def checkout(folder, *exclude):
        place = tmp_path / "checkout"
        place.mkdir()
        return Checkout(place, History.open(folder), exclude)

    return checkout


def test_the_folder_follows_the_commits_either_way(tmp_path, checkout):
    states = [
        {"a.py": "one\n", "pkg/b.py": "b\n", "pkg/deep/c.py": "c\n", ".gitignore": "*.log\n"},
        {"a.py": "two\n", "pkg/b.py": "b\n", ".gitignore": "*.log\n"},
        {"pkg": "x = 1\n"},
    ]
    folder = repository(tmp_path / "r")
    for state in states[:2]:
        for path in git(folder, "ls-files").split():
            (folder / path).unlink()
        commit(folder, state)
    first, second = commits(folder)
    moved = checkout(folder)
    assert moved.move(first) == 4
    assert on_disk(moved.root) == states[0]
    assert moved.move(second) == 2, "one written, one deleted"
    assert on_disk(moved.root) == states[1]
    assert not (moved.root / "pkg" / "deep").exists()
    assert moved.move(second) == 0
    moved.move(first)
    assert on_disk(moved.root) == states[0]


def test_a_file_where_a_folder_was(tmp_path, checkout):
    folder = repository(tmp_path / "r", [{"a.py/inner.py": "inner\n", "b.py": "b\n"}])
    git(folder, "rm", "-q", "-r", "a.py")
    commit(folder, {"a.py": "a file\n"})
    first, second = commits(folder)
    moved = checkout(folder)
    moved.move(first)
    moved.move(second)
    assert on_disk(moved.root) == {"a.py": "a file\n", "b.py": "b\n"}
    moved.move(first)
    assert on_disk(moved.root) == {"a.py/inner.py": "inner\n", "b.py": "b\n"}


def test_only_source_and_nothing_that_is_excluded(tmp_path, checkout):
    files = {
        "a.py": "a\n",
        ".env": "KEY=1\n",
        "picture.png": b"\x89PNG",
        "secret/key.py": "k\n",
        "node_modules/x.js": "x\n",
    }
    folder = repository(tmp_path / "r", [files])
    (folder / "link.py").symlink_to("/etc/passwd")
    commit(folder, {})
    moved = checkout(folder, "secret/")
    moved.move(commits(folder)[-1])
    assert on_disk(moved.root) == {"a.py": "a\n"}


def tree(folder, *entries):
    """A tree object as nobody would make it by accident."""
    text = "".join(f"{mode} {kind} {name}\t{path}\n" for mode, kind, name, path in entries)
    done = subprocess.run(["git", "mktree"], cwd=folder, input=text, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_tree_that_leads_out_of_its_folder_stays_in_it(tmp_path, checkout):
    folder = repository(tmp_path / "r", [{"a.py": "a\n"}])
    blob = git(folder, "rev-parse", "HEAD:a.py").strip()
    inner = tree(folder, ("100644", "blob", blob, "evil.py"), ("100644", "blob", blob, ".gitignore"))
    outer = tree(
        folder, ("100644", "blob", blob, "a.py"), ("040000", "tree", inner, ".."), ("040000", "tree", inner, ".git")
    )
    long = tree(folder, ("040000", "tree", outer, "sub"), ("100644", "blob", blob, "n" * 300 + ".py"))
    hostile = git(folder, "commit-tree", long, "-m", "hostile").strip()
    moved = checkout(folder)
    names = set(moved._history.files(hostile))
    assert {"sub/../evil.py", "sub/../.gitignore", "sub/.git/evil.py"} <= names, "git lists them"
    before = set(tmp_path.rglob("*"))
    moved.move(hostile)
    made = {path for path in tmp_path.rglob("*") if path not in before}
    assert on_disk(moved.root) == {"sub/a.py": "a\n"}
    assert all(path.is_relative_to(moved.root) for path in made)
    moved.move(git(folder, "rev-parse", "HEAD").strip())
    assert on_disk(moved.root) == {"a.py": "a\n"}


@pytest.fixture
def prepared(drawing):
    """All places of the history, with their context."""
    history = History.open(drawing)
    changes = (change for one in history.newest(9) for change in history.changes(one, lambda _: ""))
    places = choose(find(changes, "drawing", seed=1), 100, seed=1)
    return list(prepare(places, history, budget=256))


def test_what_is_shown_is_of_the_commit_before(drawing, prepared):
    calls = [one for one in prepared if one.place.kind == CALL and one.place.task.prefix.endswith("area_of(")]
    assert calls, "the place behind the bracket"
    shown = [snippet for one in calls for snippet in one.snippets]
    assert any("def area_of(shape, unit_scale):" in snippet.text for snippet in shown)
    for one in prepared:
        names = set(git(drawing, "ls-tree", "-r", "--name-only", one.place.commit.parent).split())
        assert {snippet.path for snippet in one.snippets} <= names - {one.place.task.path}
        assert not any("only_later" in snippet.text for snippet in one.snippets)


def test_the_work_tree_and_the_repository_are_left_alone(drawing):
    (drawing / "report.py").write_text("not committed\n")
    (drawing / "untracked.py").write_text("def untracked():\n    pass\n")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in drawing.rglob("*")}
    history = History.open(drawing)
    changes = (change for one in history.newest(9) for change in history.changes(one, lambda _: ""))
    places = choose(find(changes, "drawing", seed=1), 100, seed=1)
    shown = [snippet.text for one in prepare(places, history, budget=256) for snippet in one.snippets]
    assert shown
    assert not any("untracked" in text or "not committed" in text for text in shown)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in drawing.rglob("*")} == before


def test_nothing_is_left_behind(drawing, monkeypatch, tmp_path):
    held = tmp_path / "temporary"
    held.mkdir()
    monkeypatch.setattr(workspace.tempfile, "tempdir", str(held))
    history = History.open(drawing)
    changes = (change for one in history.newest(9) for change in history.changes(one, lambda _: ""))
    for _ in prepare(choose(find(changes, "drawing", seed=1), 2, seed=1), history, budget=256):
        assert list(held.iterdir())
    assert list(held.iterdir()) == []
    assert list(prepare([], history, budget=256)) == []


def test_no_context_out_of_excluded_files(drawing):
    history = History.open(drawing)
    changes = (change for one in history.newest(9) for change in history.changes(one, lambda _: ""))
    places = choose(find(changes, "drawing", seed=1), 100, seed=1)
    found = prepare(places, history, budget=256, exclude=("shapes.py",))
    assert not any(Path(snippet.path).name == "shapes.py" for one in found for snippet in one.snippets)
