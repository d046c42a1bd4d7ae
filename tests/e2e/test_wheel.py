"""The wheel has everything it needs: built from the tracked files, installed alone, run without the source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh environment with nothing but the wheel and what it depends on."""
    cached = _pip("cache", "list", "llama_cpp_python", "--format=abspath").stdout
    if "llama_cpp_python" not in cached:
        pytest.skip("pip has no built llama-cpp-python wheel in its cache, and it is not compiled twice in one run")
    tree = tmp_path_factory.mktemp("tree")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=SOURCE,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, tracked.stdout.split("\0")):
        if (SOURCE / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, tree / name)
    wheels = tmp_path_factory.mktemp("wheels")
    built = _pip("wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(tree))
    assert built.returncode == 0, built.stderr[-3000:]
    (wheel,) = wheels.glob("coder_lsp-*.whl")
    shutil.rmtree(tree)
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = _pip("install", str(wheel), python=str(python))
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "bin" / "coder-lsp"


def test_the_installed_wheel_completes_code_with_the_real_model(installed, real_home, tmp_path):
    file = tmp_path / "add.py"
    file.write_text('def add(a, b):\n    """Return the sum of a and b."""\n    return a \n')

    def run(*arguments):
        return subprocess.run(
            [str(installed), *arguments], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240
        )

    finished = run("complete", str(file), "-l", "2", "-c", "13", "--json")
    run("host", "--stop")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["text"] == "+ b"
    assert run("models", "list").returncode == 0
    assert run("version").returncode == 0


def _pip(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
