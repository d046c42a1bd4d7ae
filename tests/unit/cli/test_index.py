"""``coder-lsp index`` on real folders: figures, what was left out and why, and what changes."""

from __future__ import annotations

import io
import json
import os
import threading

import pytest
from click.testing import CliRunner
from rich.console import Console

from coder_lsp.cli.index import changes, index, up_to_date
from coder_lsp.config import ContextConfig
from coder_lsp.errors import InputError
from coder_lsp.paths import config_file
from coder_lsp.retrieval.database import database_path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    (root / "lib").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "main.py").write_text("from lib.names import first\nimport os\n\n\ndef run():\n    return first()\n")
    (root / "lib" / "names.py").write_text("def first():\n    return 1\n\n\ndef second():\n    return 2\n")
    (root / "alone.go").write_text("package alone\n\nfunc Alone() int {\n\treturn 1\n}\n")
    (root / "logo.png").write_bytes(b"\x89PNG")
    (root / "credentials.json").write_text("{}")
    (root / "made.py").write_text("# @generated\nx = 1\n")
    (root / "ignored.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("ignored.py\nout/\n")
    (root / "out").mkdir()
    (root / "out" / "x.py").write_text("x = 1\n")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "x.js").write_text("x")
    return root


def run(*arguments, status=0):
    result = CliRunner().invoke(index, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    return result


def as_json(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_figures_say_what_is_in_and_what_is_not_and_why(root):
    figures = as_json(root, "--stats")
    assert figures["root"] == str(root)
    assert figures["files"] == 3
    assert figures["languages"]["python"] == {"files": 2, "lines": 14}
    assert figures["languages"]["go"]["files"] == 1
    assert figures["symbols"] == 4
    assert figures["chunks"] >= 3
    # `import os` leads out of the folder; alone.go hangs together with nothing.
    assert figures["graph"] == {"imports": 2, "resolved": 1, "links": 1, "groups": 2, "largest_group": 2}
    left_out = figures["left_out"]
    assert left_out["files"]["generated"] == 1
    assert left_out["files"]["looks like a secret"] == 1
    assert left_out["files"]["ignored"] == 1
    assert left_out["folders"] == {"installed packages or a cache": 2, "ignored": 1}
    assert figures["database"] == str(database_path(root))
    assert figures["database_bytes"] > 0
    assert figures["memory_bytes"] > 0


def test_text_has_the_same(root):
    lines = run(root, "--stats").stdout.splitlines()
    assert lines[0].startswith(f"{root}: 3 files in ")
    assert any(line.endswith("1 files: generated") for line in lines)
    assert any("imports" in line and "2, 1 of them" in line for line in lines)
    assert any(str(database_path(root)) in line for line in lines)
    assert len(run(root).stdout.splitlines()) < len(lines)


def test_what_the_pool_reads_is_counted(root):
    for number in range(60):
        (root / "lib" / f"more{number}.py").write_text(f"def more{number}():\n    return {number}\n")
    for path in root.rglob("*.*"):
        # What was written a moment ago is read again, for it may have changed within the clock's grain.
        os.utime(path, (1_600_000_000, 1_600_000_000))
    figures = as_json(root)
    assert (figures["files"], figures["read"]) == (63, 64)
    assert figures["files_per_second"] > 0
    assert as_json(root)["read"] is None


def test_without_a_root_it_is_the_repository_around(root, monkeypatch):
    monkeypatch.chdir(root / "lib")
    assert as_json()["root"] == str(root)


def test_a_database_is_kept_rebuilt_and_removed(root):
    as_json(root)
    first = database_path(root).stat().st_ino
    as_json(root)
    assert database_path(root).stat().st_ino == first
    assert as_json(root, "--rebuild")["files"] == 3
    removed = as_json(root, "--remove")
    assert removed["root"] == str(root)
    assert removed["freed_bytes"] > 0
    assert not database_path(root).exists()
    assert "there is no index" in run(root, "--remove").stdout


def test_to_remove_and_to_build_exclude_each_other(root):
    result = run(root, "--remove", "--stats", status=1)
    assert isinstance(result.exception, InputError)


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    assert "does not exist" in run(tmp_path / "no", status=2).stderr


def test_the_settings_exclude(root):
    config_file().parent.mkdir(parents=True)
    config_file().write_text('[context]\nexclude = ["*.go"]\n')
    figures = as_json(root)
    assert figures["files"] == 2
    assert figures["left_out"]["files"]["ignored"] == 2


def test_each_change_is_told_once(root):
    """Expected: a new, a changed and a removed file; then nothing of them again."""
    with up_to_date(root, ContextConfig(), Console(file=io.StringIO()), watch=True) as state:
        told = changes(state.indexer)
        (root / "main.py").write_text("def run():\n    return 2\n")
        (root / "lib" / "names.py").unlink()
        (root / "new.py").write_text("def new():\n    return 1\n")
        changed, removed = set(), set()
        while changed != {"main.py", "new.py"} or removed != {"lib/names.py"}:
            change = next(told)
            assert set(change["changed"]).isdisjoint(changed)
            changed |= set(change["changed"])
            removed |= set(change["removed"])
        assert change["files"] == 3


def test_a_line_of_progress_where_there_is_no_terminal(root, monkeypatch):
    monkeypatch.setattr("coder_lsp.cli.index._LINE_S", 0.0)
    for number in range(200):
        (root / "lib" / f"more{number}.py").write_text(f"def more{number}():\n    return {number}\n")
    said = io.StringIO()
    with up_to_date(root, ContextConfig(), Console(file=said)) as state:
        assert len(state.index.files()) == 203
    assert "files" in said.getvalue()
    assert "\x1b" not in said.getvalue()


def test_a_terminal_gets_a_bar_that_goes_away(root):
    said = io.StringIO()
    with up_to_date(root, ContextConfig(), Console(file=said, force_terminal=True)) as state:
        assert len(state.index.files()) == 3
    assert "indexing" in said.getvalue()
    assert not any(thread.name.startswith("rich") for thread in threading.enumerate())
