"""``coder-lsp context`` and ``index`` as real processes, on a copy of this package's own source."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import coder_lsp
from coder_lsp.paths import HOME_VARIABLE

SERVICE = "coder_lsp/completion/service.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy, so that nobody changes it meanwhile."""
    root = tmp_path_factory.mktemp("source")
    package = Path(coder_lsp.__file__).parent
    shutil.copytree(package, root / "coder_lsp", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (root / ".git").mkdir()
    return root


def place(source, file, text):
    """Line and column behind some text."""
    lines = (source / file).read_text().splitlines()
    line = next(number for number, each in enumerate(lines) if text in each)
    return "--line", str(line), "--column", str(lines[line].index(text) + len(text))


def test_a_place_is_explained_within_the_budget(run, source):
    arguments = ("context", str(source / SERVICE), *place(source, SERVICE, "reader = Reader("))
    answer = json.loads(run(*arguments, "--json").stdout)
    assert answer["tokens_by"] == "qwen2.5-coder-0.5b-instruct"
    assert 256 <= answer["tokens"] <= 512
    assert answer["text"].startswith("<|repo_name|>")
    paths = [snippet["path"] for snippet in answer["snippets"]]
    assert paths
    assert SERVICE not in paths
    for snippet in answer["snippets"]:
        lines = (source / snippet["path"]).read_text().split("\n")[snippet["start_line"] : snippet["end_line"]]
        assert set(snippet["text"].splitlines()) <= {line.rstrip() for line in lines}
        assert snippet["source"]

    finished = run(*arguments)
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[-1].startswith(f"{answer['tokens']} of 512 tokens, ")
    assert "Traceback" not in finished.stderr


def test_a_second_process_reads_nothing_again(run, source):
    first = json.loads(run("index", str(source), "--json").stdout)
    second = json.loads(run("index", str(source), "--json", "--stats").stdout)
    assert first["read"] >= first["files"] > 100
    assert second["read"] is None
    assert second["files"] == first["files"]
    assert second["graph"]["largest_group"] > 50


def test_watching_tells_of_a_save_and_ends_with_ctrl_c(real_home, tmp_path):
    (tmp_path / "a.py").write_text("def first():\n    return 1\n")
    with subprocess.Popen(
        (sys.executable, "-m", "coder_lsp", "index", str(tmp_path), "--watch", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, HOME_VARIABLE: str(real_home)},
    ) as process:
        assert json.loads(process.stdout.readline())["files"] == 1
        assert "Ctrl-C" in process.stderr.readline()
        (tmp_path / "b.py").write_text("def second():\n    return 2\n")
        assert json.loads(process.stdout.readline()) == {"changed": ["b.py"], "removed": [], "files": 2}
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest == ""
    assert "Traceback" not in errors
