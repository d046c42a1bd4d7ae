"""A home and a project of a test's own, and a model that says one thing."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import psutil
import pytest
from faults.known import write_model

from coder_lsp.paths import HOME_VARIABLE


@pytest.fixture
def home(monkeypatch):
    """A home of its own, at a short path; what runs in it at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="clf-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "h"
        home.mkdir()
        monkeypatch.setenv(HOME_VARIABLE, str(home))
        yield home
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(HOME_VARIABLE) == str(home):
                    process.kill()
                    process.wait(10)


@pytest.fixture
def model(home):
    return write_model(home.parent / "tiny.gguf")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "ledger.py").write_text("def settle(ledger):\n    return ledger.close()\n")
    return root
