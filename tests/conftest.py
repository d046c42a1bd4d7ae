"""What every test gets: a marker from its folder, and a home of its own so that nothing of the user's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

TIERS = ("unit", "native", "e2e", "editors", "gpu")


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
    return home
