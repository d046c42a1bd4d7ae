"""Task files: what is read, what is written, and what is said of rows that are none."""

from __future__ import annotations

import gzip
import json

import pytest

from coder_lsp.errors import InputError
from coder_lsp.evaluate.tasks import load_tasks, write_tasks


def rows(path, *values):
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values))
    return path


GOOD = {"task_id": "a/1", "repo": "drawing", "path": "report.py", "function": "f", "prefix": "x", "suffix": "z"} | {
    "ground_truth": "y"
}


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_what_is_written_is_read(repository, task, tmp_path, name):
    write_tasks(tmp_path / name, [task])
    loaded = load_tasks(tmp_path / name)
    assert loaded.tasks == (task,)
    assert loaded.roots == {"drawing": repository}
    assert loaded.by_root() == {repository: [task]}
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b" if name.endswith(".gz") else b"{")


def test_repositories_may_be_elsewhere(repository, tmp_path):
    tasks = rows(tmp_path / "deep.jsonl", GOOD)
    (tmp_path / "other" / "drawing").mkdir(parents=True)
    assert load_tasks(tasks, repos=tmp_path / "other").roots["drawing"] == tmp_path / "other" / "drawing"


def test_a_row_may_say_where_its_repository_is(repository, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    tasks = rows(tmp_path / "t.jsonl", {**GOOD, "root": "elsewhere"})
    assert load_tasks(tasks).roots["drawing"] == tmp_path / "elsewhere"
    assert load_tasks(tasks, repos=tmp_path / "repos").roots["drawing"] == repository


def test_a_limit_takes_the_first(repository, tmp_path):
    tasks = rows(tmp_path / "t.jsonl", GOOD, {**GOOD, "task_id": "a/2"}, "not read")
    assert [task.task_id for task in load_tasks(tasks, limit=2).tasks] == ["a/1", "a/2"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 3: not JSON"),
        ("[1]", "line 3: list instead of an object"),
        ({key: value for key, value in GOOD.items() if key != "suffix"}, "line 3: no suffix"),
        ({**GOOD, "task_id": "a/2", "prefix": 5}, "line 3: prefix is int"),
        ({**GOOD, "task_id": "a/2", "path": "../../etc/passwd"}, "line 3: path '../../etc/passwd' leads out"),
        ({**GOOD, "task_id": "a/2", "repo": "/etc"}, "line 3: repo '/etc' leads out"),
        (GOOD, "line 3: task a/1 is on line 1 as well"),
    ],
)
def test_a_bad_row_is_named_with_its_line(repository, tmp_path, row, said):
    tasks = rows(tmp_path / "t.jsonl", GOOD, "", row)
    with pytest.raises(InputError) as caught:
        load_tasks(tasks)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b"", "has no tasks"),
        ("t.jsonl", b"\xff\xfe", "not UTF-8"),
        ("t.jsonl.gz", b"plain", "cannot read"),
        ("t.jsonl.gz", gzip.compress(b"{}" * 100)[:-9], "cannot read"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_tasks(tmp_path / name)
    assert said in caught.value.message
    assert name in caught.value.message


def test_absent_files_and_repositories_are_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_tasks(tmp_path / "t.jsonl")
    with pytest.raises(InputError) as caught:
        load_tasks(rows(tmp_path / "t.jsonl", GOOD))
    assert str(tmp_path / "repos" / "drawing") in caught.value.message
    assert "--repos" in caught.value.hint


def test_a_place_that_cannot_be_written_is_named(tmp_path, task):
    with pytest.raises(InputError, match="cannot write"):
        write_tasks(tmp_path / "no" / "t.jsonl", [task])
