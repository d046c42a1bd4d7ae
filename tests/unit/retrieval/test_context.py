"""The block of other files for a place, out of a real index."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from coder_lsp.retrieval.context import Recent, assemble
from coder_lsp.retrieval.index import Index
from coder_lsp.retrieval.record import make_record

ROOT = Path("/w")

SHAPES = '''"""Shapes."""


class Rectangle:
    """Four corners."""

    width: float
    height: float

    def stretched_by(self, factor: float) -> "Rectangle":
        """A copy.

        This line of a docstring names unmentionable_things.
        """
        # a comment on unmentionable_things
        return Rectangle(self.width * factor, self.height * factor)
'''
CIRCLES = """from shapes import Rectangle


class Circle:
    radius: float

    def bounding_box(self) -> Rectangle:
        diameter = 2 * self.radius
        return Rectangle(diameter, diameter)
"""
UNRELATED = "\n".join(f"def unrelated_{n}(x):\n    return x + {n}\n" for n in range(30))
EDITED = """from shapes import Rectangle


class Square:
    side: float

    def bounding_box(self) -> Rectangle:
        |
"""


@pytest.fixture
def index():
    found = Index(on_damage=lambda _root, _store: None)
    found.attach(ROOT, None)
    put(found, {"shapes.py": SHAPES, "circles.py": CIRCLES, "unrelated.py": UNRELATED})
    return found


def put(index, files):
    index.put(ROOT, [make_record(path, text) for path, text in files.items()], stored=False)


def block(index, marked, *, path="square.py", budget=512, **options):
    before, after = marked.split("|")
    return assemble(index, ROOT, path, before + after, len(before), budget=budget, **options)


def shown(snippets):
    return "".join(snippet.text for snippet in snippets)


def test_a_function_of_the_same_name_is_shown_with_its_body(index):
    circle = block(index, EDITED)[-1]
    assert circle.path == "circles.py"
    assert "diameter = 2 * self.radius" in circle.text
    assert CIRCLES.split("\n")[circle.start_line] == circle.text.split("\n")[0]


def test_a_class_in_use_shows_its_members(index):
    assert "def stretched_by(self, factor: float)" in shown(block(index, EDITED))
    assert "height: float" in shown(block(index, EDITED))


def test_comments_and_docstrings_take_no_room(index):
    assert "unmentionable_things" not in shown(block(index, EDITED))


def test_the_file_itself_is_not_shown(index):
    put(index, {"square.py": EDITED.replace("|", "return only_in_the_indexed_version(self.side)")})
    assert "only_in_the_indexed_version" not in shown(block(index, EDITED))


def test_what_the_document_has_already_is_not_shown_again(index):
    put(index, {"copy.py": EDITED.replace("|", "")})
    assert "copy.py" not in {snippet.path for snippet in block(index, EDITED)}


def test_the_same_place_and_index_give_the_same_block(index):
    assert block(index, EDITED) == block(index, EDITED)


def test_what_others_import_comes_before_them(index):
    paths = list(dict.fromkeys(snippet.path for snippet in block(index, EDITED)))
    assert paths.index("shapes.py") < paths.index("circles.py")


def test_what_was_edited_a_moment_ago_is_shown(index):
    put(index, {"notes.py": "zebra_crossing = make_zebra()\n"})
    number = index.number(ROOT, "notes.py")
    assert "zebra_crossing" not in shown(block(index, EDITED))
    assert "zebra_crossing" in shown(block(index, EDITED, recent=[Recent(number, 0, 1, 1.0)]))


def test_every_snippet_says_where_it_is_from_and_why(index):
    for snippet in block(index, EDITED):
        assert snippet.source
        assert snippet.score > 0
        text = {"shapes.py": SHAPES, "circles.py": CIRCLES, "unrelated.py": UNRELATED}[snippet.path].split("\n")
        inside = text[snippet.start_line : snippet.end_line]
        assert all(line in inside for line in snippet.text.rstrip("\n").split("\n"))


def test_nothing_is_asked_for_without_a_budget_and_found_in_an_empty_index(index):
    assert block(index, EDITED, budget=0) == ()
    assert block(Index(on_damage=lambda _root, _store: None), EDITED) == ()


@pytest.mark.parametrize(
    "marked", ["|", "\n\n|\n", "x|", "((((((|", "\ud800|", "class A:\n    def f(self):\n        return self.|"]
)
def test_any_place_has_an_answer(index, marked):
    block(index, marked)


LONG_NAMES = "\n".join(f"def filler_{n}(alpha_{n}, beta_{n}):\n    return gamma_{n}(delta_{n})\n" for n in range(60))


def test_what_is_called_at_the_place_comes_first_whatever_it_brings(index):
    put(index, {"tools.py": "def put_together(parts, glue):\n    return glue.join(parts)\n", "filler.py": LONG_NAMES})
    marked = "from tools import put_together\n\nparts = glue = filler_1 = 1\nx = put_together(|"
    (tools,) = (snippet for snippet in block(index, marked, budget=100) if snippet.path == "tools.py")
    assert tools.text.startswith("def put_together(parts, glue):")
    assert tools.source == "called: put_together"


def test_a_class_that_is_called_shows_what_it_takes(index):
    put(index, {"filler.py": LONG_NAMES})
    shapes = block(index, "from shapes import Rectangle\n\nr = Rectangle(|", budget=300)
    assert "width: float\n    height: float" in shown(shapes)


def test_of_many_functions_of_one_name_the_imported_one_is_meant(index):
    put(index, {f"tools_{n}.py": f"def put_together(a_{n}):\n    pass\n" for n in range(9)})
    put(index, {"use.py": "from tools_7 import put_together\n"})
    found = block(index, "from tools_7 import put_together\n\nx = put_together(|", path="use.py")
    assert [snippet.path for snippet in found if snippet.source.startswith("called")] == ["tools_7.py"]


def test_a_line_between_two_that_are_shown_is_shown_as_well(index):
    for snippet in block(index, EDITED):
        text = {"shapes.py": SHAPES, "circles.py": CIRCLES, "unrelated.py": UNRELATED}[snippet.path].split("\n")
        lines = snippet.text.rstrip("\n").split("\n")
        numbers = [number for number in range(snippet.start_line, snippet.end_line) if text[number] in lines]
        assert all(after - before != 2 or not text[before + 1].strip() for before, after in itertools.pairwise(numbers))


def test_a_docstring_is_known_for_one_wherever_the_look_at_a_file_begins(index):
    """It once looked 40 lines back, and took the end of a docstring there for a beginning."""
    doc = '"""\n' + "".join(f"prose_{n} word_{n}\n" for n in range(60)) + '"""\n'
    put(index, {"long.py": doc + "def bounding_box(self):\n    return bounding_box_of_long(self)\n\n\n" + doc})
    text = shown(block(index, EDITED))
    assert "bounding_box_of_long" in text
    assert "prose_" not in text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", 'x = """\nalpha_in_a_string = 1\n"""\n"""\nhidden_one\n"""\nvisible_one = 2\n'),
        ("a.py", '"""hidden_one"""\nvisible_one = alpha_in_a_string\n'),
        ("a.ts", "/* hidden_one\n * hidden_one */\nconst visible_one = alpha_in_a_string; /* no */\n// hidden_one\n"),
    ],
)
def test_what_is_spoken_and_what_is_not(index, path, text):
    put(index, {path: text + "\ndef bounding_box(): pass\n"})
    number = index.number(ROOT, path)
    seen = shown(block(index, EDITED, recent=[Recent(number, 0, 20, 1.0)]))
    assert "visible_one" in seen
    assert "alpha_in_a_string" in seen
    assert "hidden_one" not in seen
