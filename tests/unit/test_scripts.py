"""The set-up script where it must refuse: clear words, the packages to install, and nothing left half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "dirname", "env", "mkdir")


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the set-up reads, in a folder with a space in its name."""
    root = tmp_path / "my checkout"
    (root / "coder_lsp").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copy(ROOT / "coder_lsp" / "__init__.py", root / "coder_lsp")
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "native").mkdir()
    return root


@pytest.fixture
def tools(tmp_path):
    """A folder with the few programs a bare system has, and a way to add a Python that says something."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def python_that(tools, name, body):
    path = tools / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def set_up(checkout, tools, *arguments, **environment):
    return subprocess.run(
        (str(checkout / "scripts" / "setup"), *arguments),
        env={"PATH": str(tools), "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@pytest.mark.parametrize(
    "script",
    [
        "scripts/setup",
        "scripts/demo",
        "scripts/test",
        "scripts/docs",
        "scripts/faults",
        "scripts/fuzz",
        "scripts/setup-nvim",
        "scripts/setup-vscode",
        ".ci/run",
    ],
)
def test_scripts_can_be_run(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(("bash", "-n", str(ROOT / script)), check=True)


def test_help_is_help_and_does_nothing(checkout, tools):
    done = set_up(checkout, tools, "--help")
    assert done.returncode == 0
    assert "--no-dev" in done.stdout
    assert not (checkout / ".venv").exists()


def test_unknown_argument_is_wrong_usage(checkout, tools):
    done = set_up(checkout, tools, "--fast")
    assert done.returncode == 2
    assert "error: unknown argument: --fast" in done.stderr
    assert not (checkout / ".venv").exists()


def test_no_python_names_the_packages(checkout, tools):
    done = set_up(checkout, tools)
    assert done.returncode == 1
    assert "there is no python3 on the PATH" in done.stderr
    assert "apt install python3 python3-venv python3-dev" in done.stderr
    assert "brew install python" in done.stderr


def test_an_old_python_is_named_with_its_version(checkout, tools):
    """Stands for the real one: the check runs inside the Python that it is about, which here only answers."""
    python_that(tools, "python3", 'echo "is Python 3.8, and coder-lsp needs 3.10 or newer"; exit 1')
    done = set_up(checkout, tools)
    assert done.returncode == 1
    assert f"{tools}/python3 is Python 3.8, and coder-lsp needs 3.10 or newer" in done.stderr


def test_a_python_that_was_asked_for_is_not_replaced_by_another(checkout, tools):
    python_that(tools, "python3", "exit 0")
    done = set_up(checkout, tools, PYTHON="python4")
    assert done.returncode == 1
    assert "PYTHON=python4 is not a program" in done.stderr


def test_no_compiler_names_the_packages(checkout, tools):
    real = getattr(sys, "_base_executable", sys.executable)
    python_that(tools, "python3", f'exec "{real}" "$@"')
    done = set_up(checkout, tools)
    assert done.returncode == 1
    assert "no C++ compiler: none of c++, g++, clang++ works" in done.stderr
    assert "apt install g++" in done.stderr
    assert "xcode-select --install" in done.stderr
    assert not (checkout / ".venv" / "setup.stamp").exists()


def test_demo_and_test_do_not_go_on_after_a_failed_set_up(checkout, tools):
    for script in ("demo", "test"):
        done = subprocess.run(
            (str(checkout / "scripts" / script),), env={"PATH": str(tools)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: no usable Python")
        assert done.stdout == ""
