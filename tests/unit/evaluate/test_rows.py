"""Files of samples and of tasks: what was cut short is left out, what is broken is named with its line."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

import pytest

from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.evaluate import rows


def test_what_was_added_is_read_again(tmp_path):
    path = tmp_path / "folder" / "samples.jsonl"
    assert rows.samples(path) == []
    rows.append(path, {"text": "one\u2028two\nthree", "number": 1})
    rows.append(path, {"text": "", "number": 2})
    assert rows.samples(path) == [{"text": "one\u2028two\nthree", "number": 1}, {"text": "", "number": 2}]


def test_a_line_cut_short_is_left_out_and_written_over(tmp_path):
    path = tmp_path / "samples.jsonl"
    for number in range(3):
        rows.append(path, {"number": number})
    path.write_bytes(path.read_bytes()[:-4])
    assert [row["number"] for row in rows.samples(path)] == [0, 1]
    rows.append(path, {"number": 3})
    assert [row["number"] for row in rows.samples(path)] == [0, 1, 3]


def test_a_first_line_cut_short_goes_too(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"num')
    rows.append(path, {"number": 1})
    assert rows.samples(path) == [{"number": 1}]


@pytest.mark.parametrize(("line", "says"), [("{", "line 1 is no sample"), ("[1]", "list instead of an object")])
def test_a_file_of_something_else_is_refused(tmp_path, line, says):
    path = tmp_path / "samples.jsonl"
    path.write_text(line + "\n{}\n")
    with pytest.raises(InputError, match=says):
        rows.samples(path)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CoderLspError, match="cannot write"):
        rows.append(tmp_path, {})


@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.jsonl.gz"])
def test_tasks_come_with_their_lines(tmp_path, name):
    path = tmp_path / name
    data = b'{"a": "x\xe2\x80\xa8y"}\n\n{"a": 2}\n'
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert list(rows.tasks(path)) == [(1, {"a": "x\u2028y"}), (3, {"a": 2})]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x1f\x8bnot gzip", b'{"a": 1}\nnot json\n'])
def test_damaged_tasks_are_refused(tmp_path, data):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"tasks\.jsonl"):
        list(rows.tasks(path))


def test_a_text_inside_an_object():
    row = json.loads('{"metadata": {"file": "a.py", "line": 3}}')
    assert rows.text_of(row, "metadata.file", "here") == "a.py"
    with pytest.raises(InputError, match=r"here: metadata\.line is int"):
        rows.text_of(row, "metadata.line", "here")
    with pytest.raises(InputError, match=r"here: metadata\.none is missing"):
        rows.text_of(row, "metadata.none", "here")


@dataclass(frozen=True)
class One:
    number: int
    text: str


def test_rows_become_what_made_them(tmp_path):
    path = tmp_path / "s.jsonl"
    assert rows.load(path, One) == []
    rows.append(path, One(1, "a"))
    assert rows.load(path, One) == [One(1, "a")]
    rows.append(path, {"number": 2})
    with pytest.raises(InputError, match="line 2 is no sample of this evaluation"):
        rows.load(path, One)
