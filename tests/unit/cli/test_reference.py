"""The generated pages of ``docs/`` say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from coder_lsp.cli import reference

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["cli.md", "configuration.md"])
def test_page_is_up_to_date(page):
    """If this fails: run scripts/docs and read what it changed."""
    assert (DOCS / page).read_text(encoding="utf-8") == reference.pages()[page]


def test_commands_of_commands_are_there():
    page = reference.cli_page()
    assert "## coder-lsp models\n" in page
    assert "### coder-lsp models pull\n" in page
    assert "`--offline`: Forbid any use of the network." in page
