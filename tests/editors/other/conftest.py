"""Helix and Emacs, where they are installed, with the configuration that ``docs/editors.md`` gives and the real server
on the real default model.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "editors.md"
SUMS = '''def add(a, b):
    """Return the sum of a and b."""
    return a


def subtract(a, b):
    """Return the difference of a and b."""
    return a
'''


def program_of(variable: str, *names: str) -> str:
    """The editor that the environment names or the PATH has."""
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {names[0]}: install it, or set {variable} to its path")
    return found


def block(heading: str, language: str, number: int = 0) -> str:
    """A block of code of the guide: what users copy is what is tested."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^##? |\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section {heading!r} in {GUIDE}"
    return re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)[number]


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".git").mkdir()
    (folder / "sums.py").write_text(SUMS)
    return folder


@pytest.fixture
def log(tmp_path) -> Path:
    """What the server of the editor writes about itself."""
    path = tmp_path / "server.log"
    path.touch()
    return path


@pytest.fixture
def environment(tmp_path, real_home, log, project) -> dict[str, str]:
    """A user's folders that are empty, and a ``coder-lsp`` on the PATH that keeps its log.

    The model is loaded before an editor asks: one of them waits ten seconds for an answer and no longer.
    """
    commands = tmp_path / "bin"
    commands.mkdir()
    command = commands / "coder-lsp"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coder_lsp "$@" --log-file "{log}"\n')
    command.chmod(0o755)
    user = tmp_path / "user"
    kinds = {f"XDG_{kind}_HOME": str(user / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    for folder in kinds.values():
        Path(folder).mkdir(parents=True)
    warm = [sys.executable, "-m", "coder_lsp", "complete", str(project / "sums.py"), "--line", "2", "--column", "12"]
    subprocess.run(warm, check=True, timeout=200, capture_output=True)
    return {**os.environ, **kinds, "HOME": str(user), "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def start(environment, project):
    """Start an editor in the project, in a terminal."""
    for module in ("pexpect", "pyte"):
        pytest.importorskip(module, reason=f"no {module}: pip install pexpect pyte")
    from editors.other.terminal import Terminal

    running: list[Terminal] = []

    def _start(*command: str) -> Terminal:
        terminal = Terminal(list(command), project, environment)
        running.append(terminal)
        return terminal

    yield _start
    for terminal in running:
        terminal.close()
