"""How near a completion comes, by the definitions of CrossCodeEval, and where it is cut."""

from __future__ import annotations

import sys

import pytest

from coder_lsp.evaluate.metrics import (
    edit_similarity,
    exact,
    first_statement,
    identifier_f1,
    identifiers,
    stripped_lines,
)


def test_blank_lines_and_indentation_do_not_count():
    assert stripped_lines("\n  a = 1\n\n\tb\r\n") == ["a = 1", "b"]
    assert exact("  a = 1\n\nb  \n", "a = 1\n    b")
    assert not exact("a = 1\nb", "a = 1 b")
    assert not exact("", "a")
    assert exact("\n \n", "")


def test_similarity_counts_insertions_and_deletions():
    """1 - 2 / (2 + 4): two characters are inserted."""
    pytest.importorskip("rapidfuzz", reason="it is in the extra eval")
    assert edit_similarity("ab", "abcd") == pytest.approx(2 / 3, abs=1e-4)
    assert edit_similarity(" same\n", "same") == 1.0
    assert edit_similarity("abc", "xyz") == 0.0


def test_without_rapidfuzz_similarity_is_not_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.fuzz", None)
    assert edit_similarity("a", "a") is None


@pytest.mark.parametrize(
    ("text", "language", "names"),
    [
        ("return self.total(x1, 'not me') if y else None", "python", {"self", "total", "x1", "y"}),
        ('if (this.find(key) == null) return "no name here";', "java", {"find", "key"}),
        ("const out = await fetch(url);", "typescript", {"out", "fetch", "url"}),
        ("func (s *Store) Get() error { return nil }", "go", {"s", "Store", "Get", "error"}),
        ("let mut n = self.len();", "rust", {"n", "len"}),
        ("a.b(3, _c, 4d)", "python", {"a", "b", "_c"}),
    ],
)
def test_identifiers_are_names_outside_of_strings_that_are_no_keywords(text, language, names):
    assert identifiers(text, language) == names


def test_f1_is_over_sets():
    """Two of three found, two of two wanted: 2 * 2 / (3 + 2)."""
    assert identifier_f1("a(b, c, b)", "a(b)", "python") == pytest.approx(0.8)
    assert identifier_f1("x", "y", "python") == 0.0
    assert identifier_f1("", "y", "python") == 0.0
    assert identifier_f1(")", "]", "python") == 1.0


@pytest.mark.parametrize(
    ("prefix", "text", "kept"),
    [
        ("x = 1\n", "y = f(\n    x,\n)\nz = 2\n", "y = f(\n    x,\n)"),
        ("def f(client):\n    return client.", "get(\n        1,\n    )\n\nprint(3)", "get(\n        1,\n    )"),
        ("value = ", "1\nother = 2\n", "1"),
        ("value = ", "1", "1"),
        # Nothing parses behind an open bracket: the scripts keep all of it, and so does this.
        ("broken((\ny = ", "1\nz = 2\n", "1\nz = 2\n"),
    ],
)
def test_a_statement_of_python_ends_where_it_parses(prefix, text, kept):
    assert first_statement(text, prefix, "python") == kept


@pytest.mark.parametrize("language", ["java", "csharp", "typescript", "cpp"])
def test_a_statement_with_a_semicolon_ends_there_or_at_a_brace(language):
    assert first_statement("add(a,\n    b); next();", "x = ", language) == "add(a,\n    b);"
    assert first_statement("(ready) {\n  go();", "if ", language) == "(ready) {"
    assert first_statement("no end", "", language) == "no end"


def test_elsewhere_a_statement_is_a_line():
    assert first_statement("\n\tfirst\n\tsecond\n", "", "go") == "\n\tfirst"
    assert first_statement("only", "", "unheard-of") == "only"
