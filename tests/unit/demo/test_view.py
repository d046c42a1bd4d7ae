"""What the demo prints of a place."""

from __future__ import annotations

from coder_lsp.demo.view import CODE, GHOST, Run, plain, rows

BEFORE = "one\ntwo\nthree\nfour\nfive = "
AFTER = ")\nsix\nseven\neight\n"


def test_three_lines_before_two_after_and_the_ghost_between():
    lines = [plain(row, 3) for row in rows(BEFORE, "add(1", AFTER)]
    assert lines == [
        "  2 | two",
        "  3 | three",
        "  4 | four",
        "  5 | five = «add(1»)",
        "  6 | six",
        "  7 | seven",
    ]


def test_a_ghost_of_several_lines_moves_the_rest_down():
    shown = rows("def f():\n\t", "a()\n\tb()", "\nrest")
    assert [row.number for row in shown] == [1, 2, 3, 4]
    assert shown[1].runs == (Run("    ", CODE), Run("a()", GHOST))
    assert shown[2].runs == (Run("    b()", GHOST),)
    assert shown[3].runs == (Run("rest", CODE),)


def test_no_ghost_shows_the_code_alone():
    assert [plain(row, 1) for row in rows("a", "", "b\nc")] == ["1 | ab", "2 | c"]
