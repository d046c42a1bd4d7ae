"""The real default model, as ``scripts/test`` pulled it, seen from a fresh home; and real processes over stdio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.paths import HOME_VARIABLE, models_dir

# Read before any fixture gives the test a home of its own: where scripts/test pulled the model to.
PULLED = models_dir() / DEFAULT_MODEL


@pytest.fixture
def real_home(coder_lsp_home: Path):
    """A home in which the default model is installed (linked, never written to). Its hosts end with the test."""
    if not (PULLED / "model.json").exists():
        message = f"{DEFAULT_MODEL} is not installed: run `coder-lsp models pull {DEFAULT_MODEL}`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    models = coder_lsp_home / "data" / "models"
    models.mkdir(parents=True)
    (models / DEFAULT_MODEL).symlink_to(PULLED)
    yield coder_lsp_home
    subprocess.run([sys.executable, "-m", "coder_lsp", "host", "--stop"], check=False, timeout=60, capture_output=True)


@pytest.fixture
def run(real_home: Path):
    """Run ``coder-lsp`` with arguments in the test's home; returns the finished process."""

    def _run(*arguments: str, prefix: tuple[str, ...] = (), timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "coder_lsp", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, HOME_VARIABLE: str(real_home)},
        )

    return _run
