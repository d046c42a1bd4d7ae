"""What a place asks the workspace for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.retrieval.place import FUNCTION_WEIGHT, LINE_DECAY, look, scope


def at(marked: str):
    before, after = marked.split("|")
    return look(before + after, len(before))


def heads(marked: str):
    return [(head.kind, head.name) for head in at(marked).heads]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("class A(B):\n    def f(self):\n        |\n", [("function", "f"), ("class", "A")]),
        ("class A(B):\n    def f(self):\n|\n", [("function", "f"), ("class", "A")]),
        ("def f():\n    if x:\n        y = |", [("block", ""), ("function", "f")]),
        ("def f():\n    return 1\n\n|", []),
        ('def f():\n    """What it does."""\n|', [("function", "f")]),
        ("def f():\n    a = 1\n  |", [("function", "f")]),
        ("int main(int argc)\n{\n    return |;\n}", [("function", "main")]),
        ("export class Shop {\n  price(item: Item): number {\n    |", [("function", "price"), ("class", "Shop")]),
        ("const total = (items) => {\n  |", [("function", "total")]),
        ("impl Shape for Circle {\n    fn area(&self) -> f64 {\n        |", [("function", "area"), ("class", "Shape")]),
        ("func (s *Server) Close() error {\n\treturn |", [("function", "Close")]),
        ("for (int i = 0; i < n; i++) {\n    |", [("block", "")]),
        (
            "class A(\n    B,\n):\n    def f(\n        self,\n    ) -> X:\n        |",
            [("function", "f"), ("class", "A")],
        ),
        ("function total(\n  items: Item[],\n): number {\n  |", [("function", "total")]),
        ("int main(\n    int argc\n)\n{\n    return |;\n}", [("function", "main")]),
        ("def f():\n    g(\n        a,\n    )\n    |", [("function", "f")]),
        ("x = [\n    f(\n        1,\n    ),\n    |", [("block", "")]),
        ("    1,\n):\n    |", []),
    ],
)
def test_what_encloses_a_place_by_its_indentation(marked, expected):
    assert heads(marked) == expected


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("class A:\n    def f(self):\n        if x:\n            |", "class A:\ndef f(self):"),
        ("def f(\n    a,\n):\n    |", "def f( a, ):"),
        ("class A:\n    x = |", ""),
        ("if x:\n    |", ""),
    ],
)
def test_a_scope_is_the_function_and_its_class_and_nothing_outside(marked, expected):
    before, after = marked.split("|")
    assert scope(before + after, len(before)) == expected


def test_a_head_over_several_lines_is_read_as_one():
    (head,) = at("def f(\n    cart: Cart,\n    tax: Tax,\n) -> Total:\n    |").heads
    assert head.line == "def f( cart: Cart, tax: Tax, ) -> Total:"


@pytest.mark.parametrize(
    ("marked", "written"),
    [
        ("def f():\n    |", ()),
        ("def f():\n    a = 1\n\n    # why\n    b = 2\n    |", ("a = 1", "b = 2")),
        ("def f():\n    a = 1\n    b = |", ("a = 1",)),
        ('def f():\n    """What it does."""\n    |', ()),
        ('def f():\n    """What it does.\n\n    And how.\n    """\n    a = 1\n    |', ("a = 1",)),
        ("def f(\n    x,\n):\n    a = x\n    |", ("a = x",)),
        ("int f() {\n    // why\n    int a = 1;\n    |", ("int a = 1;",)),
        ("a = 1\n|", ()),
    ],
)
def test_what_is_written_of_a_function_are_the_lines_of_its_body_above_the_cursor(marked, written):
    assert at(marked).written == written


def test_nearer_lines_count_more_and_the_head_of_the_function_counts_most():
    place = at("alpha()\nbeta()\ndef gamma():\n    delta()\n    |")
    assert place.terms["delta"] == 1.0
    assert place.terms["gamma"] == pytest.approx(LINE_DECAY + FUNCTION_WEIGHT)
    assert place.terms["beta"] == pytest.approx(LINE_DECAY**2)
    assert place.terms["alpha"] == pytest.approx(LINE_DECAY**3)


def test_names_in_use_have_no_keywords_and_nothing_from_behind_the_cursor():
    place = at("def f(self, cart: Cart):\n    return cart.|total\n")
    assert set(place.names) == {"cart", "Cart"}
    assert place.function == "f"
    assert {"total", "Cart", "cart"} <= place.known


def test_words_of_identifiers_are_searched_for_as_well():
    assert {"parse_http_header", "parse", "http", "header"} <= set(at("x = parse_http_header(|").terms)


@given(st.text(max_size=200), st.integers(0, 220))
def test_any_text_has_an_answer(text, cursor):
    place = look(text, min(cursor, len(text)))
    assert all(weight >= 0 for weight in place.terms.values())
