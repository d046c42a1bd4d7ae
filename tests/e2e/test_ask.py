"""The real model follows instructions, through the command a user types."""

from __future__ import annotations

import json

FILE = '''"""Temperatures."""


def celsius_to_fahrenheit(celsius: float) -> float:
    # convert to fahrenheit
'''


def test_a_comment_becomes_code_that_runs(run, tmp_path):
    file = tmp_path / "temperatures.py"
    file.write_text(FILE)
    done = run("ask", f"{file}:5", "--apply", "--json", "--max-tokens", "60")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["task"], answer["written"], answer["reason"]) == ("generate", True, "")
    space: dict = {}
    exec(compile(file.read_text(), "temperatures.py", "exec"), space)
    assert round(space["celsius_to_fahrenheit"](100)) == 212


def test_an_explanation_is_printed_and_nothing_is_written(run, tmp_path):
    file = tmp_path / "temperatures.py"
    file.write_text(FILE + "    return celsius * 9 / 5 + 32\n")
    done = run("ask", f"{file}:4-6", "--max-tokens", "40")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 10
    assert file.read_text().endswith("+ 32\n")


def test_without_an_instruction_for_it_nothing_is_asked(run, tmp_path):
    file = tmp_path / "temperatures.py"
    file.write_text(FILE)
    done = run("ask", f"{file}:1")
    assert (done.returncode, done.stderr) == (
        1,
        "nothing to show: no instruction was given, and no comment stands above the cursor\n",
    )
