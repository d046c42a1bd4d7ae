"""A catalogue of one tiny model, the bytes of it, and an environment in which nothing real is asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.model_files import write_gguf

from coder_lsp.models import catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "tiny-q4.gguf"


@pytest.fixture
def tiny(tmp_path: Path) -> bytes:
    """The bytes of a whole GGUF of some 66 kB."""
    return write_gguf(tmp_path / "source.gguf", values=16384).read_bytes()


@pytest.fixture
def use_catalog(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the shipped catalogue's data by a test's."""

    def use(text: str) -> None:
        known = catalog.parse(text)
        monkeypatch.setattr(catalog, "load", lambda: known)

    return use


@pytest.fixture(autouse=True)
def no_real_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub, no index, no proxy: port 9 is closed, and pip reads no settings but these."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
