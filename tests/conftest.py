"""What every test gets: a marker from its folder, and a home of its own so that nothing of the user's is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.paths import models_dir

PULLED = models_dir() / DEFAULT_MODEL
"""Where scripts/test pulled the model to; read before any fixture gives a test a home of its own."""
TIERS = ("unit", "native", "e2e", "editors", "faults", "fuzz", "gpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        tier = item.path.relative_to(here).parts[0]
        if tier in TIERS:
            item.add_marker(tier)


@pytest.fixture(autouse=True)
def coder_lsp_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh CODER_LSP_HOME, short enough for a Unix socket's 108 bytes."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CODER_LSP_HOME", str(home))
    monkeypatch.delenv("CODER_LSP_OFFLINE", raising=False)
    monkeypatch.delenv("CODER_LSP_REMOTE_KEY", raising=False)
    return home


@pytest.fixture(scope="session")
def pulled_model() -> Path:
    """The folder of the default model, as ``scripts/test`` pulled it."""
    if not (PULLED / "model.json").exists():
        message = f"{DEFAULT_MODEL} is not installed: run `coder-lsp models pull {DEFAULT_MODEL}`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return PULLED


@pytest.fixture
def real_home(coder_lsp_home: Path, pulled_model: Path) -> Iterator[Path]:
    """A home in which the default model is installed (linked, never written to). Its hosts end with the test."""
    models = coder_lsp_home / "data" / "models"
    models.mkdir(parents=True)
    (models / DEFAULT_MODEL).symlink_to(pulled_model)
    yield coder_lsp_home
    subprocess.run([sys.executable, "-m", "coder_lsp", "host", "--stop"], check=False, timeout=60, capture_output=True)
