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


@pytest.fixture
def fake_venv(checkout, tmp_path):
    """A Python whose virtual environments have a pip that does as it is told, and writes down what it was asked for."""
    shutil.copytree(ROOT / "requirements", checkout / "requirements")
    calls = tmp_path / "calls"
    inner = tmp_path / "inner"
    inner.write_text(
        f"""#!/bin/sh
case "$*" in
    *"pip install --require-hashes"*) cat "{tmp_path}/said" >&2; exit "$(cat "{tmp_path}/status")" ;;
    *"-m pip"*) echo "$*" >>"{calls}" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    inner.chmod(0o755)
    outer = tmp_path / "python"
    outer.write_text(
        f"""#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "{inner}" "$3/bin/python" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    outer.chmod(0o755)

    def run(said, status):
        (tmp_path / "said").write_text(said)
        (tmp_path / "status").write_text(str(status))
        calls.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", str(checkout / "scripts" / "setup")],
            env={**os.environ, "PYTHON": str(outer), "HOME": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_locked_versions_are_installed_and_nothing_beside_them(fake_venv):
    done, calls = fake_venv("", 0)
    assert done.returncode == 0, done.stderr
    assert "locked dependencies: " in done.stdout
    (ours,) = [call for call in calls if "--editable" in call]
    assert "--no-deps" in ours
    assert not [call for call in calls if "cmake" in call], "build tools come with the lock"


def test_where_locked_versions_cannot_be_had_that_is_said_and_others_are_taken(fake_venv):
    done, calls = fake_venv("ERROR: No matching distribution found for numpy==9", 1)
    assert done.returncode == 0, done.stderr
    assert "locked dependencies: not to be had here" in done.stdout
    (ours,) = [call for call in calls if "--editable" in call]
    assert "--no-deps" not in ours
    assert [call for call in calls if "cmake" in call]


def test_a_file_with_another_digest_ends_the_set_up(fake_venv):
    """Not by taking one that nobody knows instead."""
    done, calls = fake_venv("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", 1)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not [call for call in calls if "--editable" in call]
