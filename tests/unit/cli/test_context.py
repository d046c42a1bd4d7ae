"""``coder-lsp context`` on a machine without a model: snippets with their reasons, tokens by estimate."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from coder_lsp.cli.context import context
from coder_lsp.errors import InputError
from coder_lsp.paths import config_file

MAIN = "from lib.shapes import area_of\n\n\ndef total(shapes):\n    return area_of(\n"
SHAPES = "def area_of(shape, *, scale_factor=1.0, unit_name=None):\n    return 1\n"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    (root / "lib").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "main.py").write_text(MAIN)
    (root / "lib" / "shapes.py").write_text(SHAPES)
    for word in ("paper", "pencil", "ruler", "rubber"):
        (root / "lib" / f"{word}.py").write_text(f"def buy_{word}():\n    return 1\n")
    return root


def run(file, line, column, *options, status=0):
    arguments = [str(file), "--line", str(line), "--column", str(column), *map(str, options)]
    result = CliRunner().invoke(context, arguments)
    assert result.exit_code == status, result.output
    return result


def test_json_has_what_was_promised(root):
    answer = json.loads(run(root / "main.py", 4, 19, "--json").stdout)
    assert answer["budget"] == 512
    assert 0 < answer["tokens"] <= 512
    assert answer["tokens_by"] == "estimate"
    assert answer["reason"] == ""
    assert answer["root"] == str(root)
    assert answer["files"] == 6
    assert set(answer["timings_ms"]) == {"index", "assemble", "cut"}
    snippet = next(snippet for snippet in answer["snippets"] if snippet["path"] == "lib/shapes.py")
    assert set(snippet) == {"path", "start_line", "end_line", "source", "score", "text"}
    assert (snippet["start_line"], snippet["text"].splitlines()[0]) == (0, SHAPES.splitlines()[0])
    assert "area_of" in snippet["source"]
    assert snippet["score"] > 0
    assert SHAPES.splitlines()[0] in answer["text"]
    assert "lib/shapes.py" in answer["text"]
    assert not any(snippet["path"] == "main.py" for snippet in answer["snippets"])


def test_text_says_why_each_snippet_is_there_and_ends_with_the_sum(root):
    result = run(root / "main.py", 4, 19)
    lines = result.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("lib/shapes.py:1-"))
    assert "area_of" in lines[at]
    assert lines[at + 1] == "    " + SHAPES.splitlines()[0]
    assert lines[-1].startswith("about ")
    assert " of 512 tokens, " in lines[-1]
    assert lines[-1].endswith(" ms")
    assert "tokens are estimated" in result.stderr


def test_the_same_place_gives_the_same(root):
    first, second = (json.loads(run(root / "main.py", 4, 19, "--json").stdout) for _ in range(2))
    assert (first["text"], first["snippets"]) == (second["text"], second["snippets"])


def test_a_budget_is_kept(root):
    assert json.loads(run(root / "main.py", 4, 19, "--json", "--budget", 30).stdout)["tokens"] <= 30
    none = json.loads(run(root / "main.py", 4, 19, "--json", "--budget", 0).stdout)
    assert (none["tokens"], none["snippets"], none["text"]) == (0, [], "")
    assert none["reason"]


def test_a_file_outside_sees_the_root_that_is_named(root, tmp_path):
    (tmp_path / "other.py").write_text(MAIN)
    answer = json.loads(run(tmp_path / "other.py", 4, 19, "--root", root, "--json").stdout)
    assert "lib/shapes.py" in {snippet["path"] for snippet in answer["snippets"]}
    assert answer["root"] == str(root)


def test_no_context_is_an_answer_with_its_reason(root):
    (root / ".env").write_text("TOKEN=1\n")
    result = run(root / ".env", 0, 0)
    assert result.stdout.splitlines()[0].startswith("no context: ")
    assert "0 of 512 tokens, 0 snippets of 0 files" in result.stdout
    config_file().parent.mkdir(parents=True)
    config_file().write_text("[context]\nenabled = false\n")
    assert "context.enabled is off" in run(root / "main.py", 4, 19).stdout


def test_a_place_that_is_not_there_is_refused(root):
    assert isinstance(run(root / "main.py", 99, 0, status=1).exception, InputError)


def test_a_hostile_file_gives_the_terminal_no_orders(root):
    shapes = root / "lib/shapes.py"
    shapes.write_text(shapes.read_text().replace("def ", "# \x1b]0;title\ndef ", 1))
    result = run(root / "main.py", 4, 19)
    assert "lib/shapes.py" in result.stdout
    assert "\x1b" not in result.stdout
