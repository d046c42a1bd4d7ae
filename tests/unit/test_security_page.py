"""The threat model names tests: each must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = [page for page in sorted((TESTS.parent / "docs").glob("*.md")) if "`test_" in page.read_text()]
NAMED = sorted({(page.name, name) for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())})


@pytest.fixture(scope="module")
def functions():
    texts = [file.read_text() for file in TESTS.rglob("test_*.py")]
    return {name for text in texts for name in re.findall(r"^\s*(?:async )?def (test_\w+)", text, re.MULTILINE)}


def test_the_page_of_threats_names_tests():
    assert sum(page == "security.md" for page, _ in NAMED) > 50


@pytest.mark.parametrize(("page", "name"), NAMED, ids=lambda value: value)
def test_a_test_that_a_page_names_is_there(page, name, functions):
    assert name in functions, f"docs/{page} names a test that there is not"
