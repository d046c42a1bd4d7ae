"""Which commits and lines of a history count, and that a hostile repository gets nothing started."""

from __future__ import annotations

import pytest
from support.repositories import commit, git, repository
from support.secret_shapes import tokens

from coder_lsp.errors import InputError
from coder_lsp.evaluate.repo.history import MOST_FILES, History, Insertion

ONE = "def one():\n    return 1\n"
TWO = "\n\ndef two():\n    return one() + 1\n"


def anything(_path):
    return ""


def changes(folder, number=0, admits=anything):
    """Of the newest commit, or the one so many before it."""
    history = History.open(folder)
    return history.changes(history.newest(number + 1)[number], admits), history.left_out


def test_the_newest_commits_with_one_parent(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "1\n"}, {"a.py": "2\n"}])
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, {"side.py": "1\n"}, date="2024-02-10T00:00:00Z")
    git(folder, "checkout", "-q", "main")
    commit(folder, {"c.py": "1\n"}, date="2024-02-11T00:00:00Z")
    git(folder, "merge", "-q", "--no-ff", "side", "-m", "merge", date="2024-02-12T00:00:00Z")
    history = History.open(folder)
    found = history.newest(10)
    ids = git(folder, "log", "--no-merges", "--format=%H").split()
    assert [one.id for one in found] == ids[:3], "neither the merge nor the first commit, which has no parent"
    assert [one.parent for one in found] == [git(folder, "rev-parse", f"{one}^").strip() for one in ids[:3]]
    assert [one.time for one in found] == sorted((one.time for one in found), reverse=True)
    assert history.newest(1) == found[:1]


def test_lines_that_were_put_in_with_what_stands_around_them(tmp_path):
    old = ONE + "\n\nx = one()\n"
    new = ONE + TWO + "\n\nx = one()\ny = two()\n"
    folder = repository(tmp_path / "r", [{"a.py": old}, {"a.py": new}])
    (change,), _ = changes(folder)
    assert (change.path, change.old, change.new) == ("a.py", old, new)
    lines, before = new.split("\n"), old.split("\n")
    put_in = [lines[one.start_line : one.end_line] for one in change.insertions]
    assert [line for lines in put_in for line in lines if line] == [
        "def two():",
        "    return one() + 1",
        "y = two()",
    ]
    for one in change.insertions:
        assert lines[one.end_line :][:1] == before[one.old_line :][:1], "below it the old text goes on"


def test_a_new_file_is_one_insertion(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}, {"b.py": ONE}])
    (change,), _ = changes(folder)
    assert (change.path, change.old, change.insertions) == ("b.py", "", (Insertion(0, 2, 0),))


def test_a_changed_line_is_an_edit_and_no_insertion(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\ny = 2\n"}, {"a.py": "x = 1\ny = 3\nz = 4\n"}])
    assert changes(folder)[0] == []


def test_what_was_moved_is_known(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": ONE + "\nkept = 1\n", "b.py": "x = 1\n"}])
    commit(folder, {"a.py": "kept = 1\n", "b.py": "x = 1\n" + ONE})
    (change,), _ = changes(folder)
    assert change.path == "b.py"
    assert {"def one():", "return 1"} <= change.removed


def test_renamed_and_copied_files_were_not_written(tmp_path):
    body = "".join(f"value_{number} = {number}\n" for number in range(40))
    folder = repository(tmp_path / "r", [{"a.py": body, "b.py": "x = 1\n"}])
    git(folder, "mv", "a.py", "renamed.py")
    commit(folder, {"renamed.py": body + "more = 1\n", "b.py": "x = 1\nadded = 2\n"})
    assert [change.path for change in changes(folder)[0]] == ["b.py"]
    commit(folder, {"b.py": "x = 1\n", "renamed.py": body + "more = 2\nless = 1\n", "copied.py": body + "more = 1\n"})
    assert "copied.py" not in [change.path for change in changes(folder)[0]]


def test_a_commit_of_many_files_is_a_sweep(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}])
    commit(folder, {f"f{number}.py": f"x = {number}\n" for number in range(MOST_FILES + 1)})
    found, left_out = changes(folder)
    assert found == []
    assert left_out == {"a commit of many files": 1}


def test_what_no_model_may_see_and_what_is_no_code_is_left_out(tmp_path):
    secret = f'key = "{next(iter(tokens().values()))}"\n'
    files = {
        "code.py": ONE,
        "secret.py": ONE + secret,
        "notes.md": "# Notes\n\nabout it\n",
        "data.json": '{"a": [1, 2, 3]}\n',
        "excluded.py": ONE,
        "minified.js": "var a=1;" * 400 + "\n",
        "picture.py": b"\x00\x01\x02",
    }
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}, files])
    (folder / "link.py").symlink_to("code.py")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--amend", "-m", "all")
    found, left_out = changes(folder, admits=lambda path: "excluded" if path == "excluded.py" else "")
    assert [change.path for change in found] == ["code.py"]
    assert left_out["prose or data"] == 2
    assert left_out["excluded"] == 1
    assert left_out["holds what looks like a secret"] == 1


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_are_counted_as_git_counts_them(tmp_path, end):
    old, new = ("".join(f"{line}{end}" for line in lines) for lines in (["a = 1"], ["a = 1", "bcd = 2"]))
    folder = repository(tmp_path / "r", [{"a.py": old.encode()}, {"a.py": new.encode()}])
    found, left_out = changes(folder)
    if end == "\r":
        # To git all of it is one line, and that line was changed.
        assert found == []
    else:
        assert found[0].insertions == (Insertion(1, 2, 1),)
        assert found[0].new == "a = 1\nbcd = 2\n"
        assert not left_out


def test_names_that_git_would_quote(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}, {"größe in cm.py": ONE, 'a "b".py': TWO}])
    assert {change.path for change in changes(folder)[0]} == {"größe in cm.py", 'a "b".py'}


def test_nothing_that_a_repository_names_is_run(tmp_path):
    folder = repository(
        tmp_path / "r", [{"a.py": "x = 1\n", ".gitattributes": "*.py diff=evil\n"}, {"a.py": "x = 1\n" + ONE}]
    )
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\ncat $1\n")
    script.chmod(0o755)
    for key in ("diff.external", "diff.evil.command", "diff.evil.textconv", "core.pager", "core.fsmonitor"):
        git(folder, "config", key, str(script))
    git(folder, "config", "diff.context", "9")
    git(folder, "config", "diff.interHunkContext", "9")
    git(folder, "config", "diff.noprefix", "true")
    git(folder, "config", "color.ui", "always")
    (change,), _ = changes(folder)
    assert change.insertions == (Insertion(1, 3, 1),)
    assert not (tmp_path / "ran").exists()


def test_without_git_that_is_said(tmp_path, monkeypatch):
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="git is not installed"):
        History.open(folder)


def test_no_repository_no_branch_and_no_commit_are_said(tmp_path):
    with pytest.raises(InputError, match="no git repository at"):
        History.open(tmp_path)
    with pytest.raises(InputError, match="has no commits"):
        History.open(repository(tmp_path / "empty"))
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n"}])
    with pytest.raises(InputError, match="no branch or commit 'absent'"):
        History.open(folder, "absent")
    assert History.open(folder).newest(5) == []
