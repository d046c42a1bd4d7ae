"""The current folder is often a workspace that somebody else wrote: none of its modules may run."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from coder_lsp import interpreter
from coder_lsp.interpreter import module_command

TRAPS = ("json", "socket", "runpy", "pkgutil", "logging", "click", "rich", "coder_lsp")


@pytest.fixture
def hostile(tmp_path):
    """A folder whose modules have the names of what we import; each one that runs says so and ends the process."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(f"print('{name}.py ran'); raise SystemExit(3)\n")
    return tmp_path


@pytest.fixture(params=["this Python", "Python 3.10"])
def python(request, monkeypatch):
    if request.param == "Python 3.10":
        monkeypatch.setattr(interpreter, "sys", SimpleNamespace(version_info=(3, 10), executable=sys.executable))


@pytest.mark.usefixtures("python")
def test_nothing_in_the_current_folder_runs(hostile):
    command = module_command("coder_lsp", "models", "list", "--json")
    done = subprocess.run(command, cwd=hostile, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)


@pytest.mark.usefixtures("python")
def test_arguments_and_the_environment_come_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "probe.py").write_text("import sys; print(__name__, sys.argv[1:])")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = module_command("probe", "a b", "--", "-c")
    assert subprocess.check_output(command, text=True).split(maxsplit=1) == ["__main__", "['a b', '--', '-c']\n"]


def test_by_hand_too_the_modules_beside_a_workspace_do_not_run(hostile):
    """``python -m coder_lsp``: only the package itself is looked for there, before we can say a word."""
    (hostile / "coder_lsp.py").unlink()
    for name in ("runpy", "pkgutil"):  # what Python itself imports for ``-m``
        (hostile / f"{name}.py").unlink()
    command = [sys.executable, "-m", "coder_lsp", "--version"]
    done = subprocess.run(command, cwd=hostile, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
