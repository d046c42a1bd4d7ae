"""``coder-lsp ask``: which place is meant, what is written, what is left alone."""

from __future__ import annotations

import pytest

from coder_lsp.cli.ask import _write, changed_text, instruct_request
from coder_lsp.errors import InputError
from coder_lsp.types import InstructOutcome, Task

TEXT = "import math\n\n\ndef f(x):\n    return x\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("place", "instruction", "task", "selected"),
    [
        (":4", "double", Task.GENERATE, ""),
        (":4-5", "double", Task.REWRITE, "def f(x):\n    return x\n"),
        (":4-5", "", Task.EXPLAIN, "def f(x):\n    return x\n"),
        ("", "", Task.EXPLAIN, TEXT),
        (":1-1", "double", Task.GENERATE, ""),
    ],
)
def test_lines_and_instruction_say_what_is_wanted(file, place, instruction, task, selected):
    request = instruct_request(f"{file}{place}", instruction, None)
    assert (request.task, request.text[request.start : request.end]) == (task, selected)
    assert (request.language, request.path) == ("python", "a.py")


def test_a_cursor_is_at_the_end_of_its_line(file):
    request = instruct_request(f"{file}:4", "double", None)
    assert request.text[: request.start].endswith("def f(x):")


def test_a_task_can_be_named(file):
    request = instruct_request(f"{file}:4", "", "tests")
    assert (request.task, request.text[request.start : request.end]) == (Task.TESTS, "def f(x):\n")


def test_a_file_whose_name_looks_like_a_place_is_that_file(tmp_path):
    path = tmp_path / "notes:12"
    path.write_text("x\n")
    assert instruct_request(str(path), "", None).text == "x\n"


@pytest.mark.parametrize("place", [":0", ":7", ":5-4", ":1-99"])
def test_lines_that_are_not_there_are_refused_with_those_that_are(file, place):
    with pytest.raises(InputError, match="no such lines") as raised:
        instruct_request(f"{file}{place}", "x", None)
    assert "1 to 6" in raised.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.py"):
        instruct_request(f"{tmp_path / 'none.py'}:1", "x", None)


def test_the_change_has_the_files_own_line_ends(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\r\ny = 2\r\n")
    request = instruct_request(f"{path}:1", "x", None)
    outcome = InstructOutcome(Task.GENERATE, "\nz = 3", request.end, request.end)
    assert changed_text(request, outcome) == "x = 1\r\nz = 3\r\ny = 2\r\n"


@pytest.mark.parametrize("task", [Task.EXPLAIN, Task.TESTS])
def test_what_is_not_for_the_file_does_not_change_it(file, task):
    request = instruct_request(f"{file}:4-5", "x", task.value)
    assert changed_text(request, InstructOutcome(task, "text", request.start, request.end)) == TEXT


def test_writing_keeps_rights_and_leaves_nothing_beside(file):
    file.chmod(0o640)
    _write(file, TEXT, "new\n")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new\n", 0o640)
    assert [path.name for path in file.parent.iterdir()] == ["a.py"]


def test_a_link_stays_a_link(file, tmp_path):
    link = tmp_path / "link.py"
    link.symlink_to(file)
    _write(link, TEXT, "new\n")
    assert link.is_symlink()
    assert file.read_text() == "new\n"


def test_a_file_that_changed_meanwhile_is_left_alone(file):
    file.write_text("somebody else\n")
    with pytest.raises(InputError, match="changed while"):
        _write(file, TEXT, "new\n")
    assert file.read_text() == "somebody else\n"


def test_a_folder_that_cannot_be_written_loses_nothing(file, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        _write(file, TEXT, "new\n")
    assert file.read_text() == TEXT
    assert [path.name for path in file.parent.iterdir()] == ["a.py"]
