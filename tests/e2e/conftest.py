"""The real default model, as ``scripts/test`` pulled it, seen from a fresh home; and real processes over stdio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.faulty_proxy import FaultyProxy

from coder_lsp.paths import HOME_VARIABLE


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


@pytest.fixture
def proxy(server):
    """A network between a session and the module's own ``server``."""
    proxy = FaultyProxy(server.url)
    yield proxy
    proxy.close()
