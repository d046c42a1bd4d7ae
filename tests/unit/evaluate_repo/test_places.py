"""Where is asked, and what the file says at that moment."""

from __future__ import annotations

import pytest

from coder_lsp.evaluate.repo.places import BLOCK, CALL, KINDS, LINE, MOST_OF_A_FILE, choose, find, to_bracket
from coder_lsp.languages import by_path

OLD = "import os\n\n\ndef last():\n    return os.sep\n"
ADDED = """def area(width, height):
    # twice(width) as agreed
    doubled = twice(width, 2)
    return doubled * height


"""
NEW = OLD.replace("def last", ADDED + "def last")
"""``ADDED`` was put in before line 3 of ``OLD``, as lines 3 to 9."""


@pytest.fixture
def places(made):
    """The places of one kind in a change, over many seeds."""

    def places(kind, *arguments, seeds=80, **options):
        change = made(*arguments, **options)
        found = [one for seed in range(seeds) for one in find([change], "r", seed=seed) if one.kind == kind]
        return {one.id: one.task for one in found}.values()

    return places


def test_above_stands_the_new_text_and_below_the_old(made):
    """Wherever it is, what was written follows the prefix, and nothing of what was put in stands below."""
    kinds = set()
    for seed in range(20):
        for place in find([made("a.py", OLD, NEW, (3, 9, 3))], "r", seed=seed):
            kinds.add(place.kind)
            assert NEW.startswith(place.task.prefix + place.task.ground_truth)
            # With the blank lines that keep both apart.
            assert place.task.suffix == "\n\n\ndef last():\n    return os.sep\n"
            assert place.task.prefix.startswith("import os\n\n\n")
            assert place.task.path == "a.py"
    assert kinds == set(KINDS)


def test_in_a_new_file_nothing_stands_below(places):
    found = places(LINE, "a.py", "", ADDED, (0, 6, 0))
    assert found
    assert all(task.suffix == "" for task in found)


def test_lines_are_asked_for_from_their_beginning_and_from_words(places):
    truths = {task.ground_truth for task in places(LINE, "a.py", OLD, NEW, (3, 9, 3))}
    assert {"doubled = twice(width, 2)", "return doubled * height"} <= truths
    assert "twice(width, 2)" in truths, "from behind the equals sign"
    assert not any("agreed" in truth for truth in truths), "no comments"
    assert not any(truth.startswith(("ouble", "eight")) for truth in truths), "no halves of words"


def test_no_prose_is_asked_for(places):
    """In a file of more than a parsed window, which begins in a string of many lines."""
    above = "".join(f'text_{number} = """\n' + "import os\n" * 60 + '"""\n' for number in range(60))
    added = 'def one():\n    """About one.\n\n    The value made of one is one.\n    """\n    return made(1, 2)\n'
    start = above.count("\n")
    found = places(LINE, "a.py", above, above + added, (start, start + 6, start), seeds=20)
    assert {task.ground_truth.strip() for task in found} <= {
        "def one():",
        "one():",
        "return made(1, 2)",
        "made(1, 2)",
        "(1, 2)",
        "1, 2)",
    }
    assert found


def test_a_block_is_a_body(places):
    (task,) = places(BLOCK, "a.py", OLD, NEW, (3, 9, 3))
    assert task.prefix.endswith("as agreed\n    ")
    assert task.ground_truth == "doubled = twice(width, 2)\n    return doubled * height"


def test_a_body_that_was_only_added_to_is_no_block(places):
    new = OLD.replace("    return", "    one = 1\n    two = 2\n    return")
    assert not places(BLOCK, "a.py", OLD, new, (4, 6, 4))


def test_a_call_ends_with_its_bracket(places):
    (task,) = places(CALL, "a.py", OLD, NEW, (3, 9, 3))
    assert task.prefix.endswith("doubled = twice(")
    assert task.ground_truth == "width, 2)"


@pytest.mark.parametrize(
    ("line", "truths"),
    [
        ('x = join("a)", (b), [c])', {'"a)", (b), [c])'}),
        ("x = outer(inner(1, 2), 3)", {"inner(1, 2), 3)", "1, 2)"}),
        ("if check(a, b) and (c or d):", {"a, b)"}),
        ("for each in listed(a, b):", {"a, b)"}),
        ("return made(a, b)", {"a, b)"}),
        ("while (a or b):", set()),
        ("assert (a, b) == made", set()),
        ("def made(a, b):", set()),
        ("class Made(Base, Other):", set()),
        ("x = empty()", set()),
        ("x = one(a)", set()),
        ("x = 'called(a, b)'", set()),
        ("x = never_closed(a, b", set()),
    ],
)
def test_what_is_a_call(places, line, truths):
    assert {task.ground_truth for task in places(CALL, "a.py", "", f"{line}\n", (0, 1, 0))} == truths


def test_a_call_over_several_lines(places):
    text = "x = make(\n    first=1,\n    second=2,\n)\n"
    (task,) = places(CALL, "a.py", "", text, (0, 4, 0))
    assert task.ground_truth == "\n    first=1,\n    second=2,\n)"
    assert not places(CALL, "a.py", "x = make(\n    first=1,\n)\n", text, (2, 3, 2)), "of which but a line was put in"


@pytest.mark.parametrize(
    ("path", "line", "called"),
    [
        ("a.c", "int area(int width, int height);", False),
        ("a.c", "    return area(width, height);", True),
        ("a.cpp", "    auto made = area(width, height);", True),
        ("a.go", "\tgo work(ctx, jobs)", True),
        ("a.js", "function area(width, height) {", False),
        ("a.js", "const made = new Area(width, height);", True),
        ("A.java", "    private int area(int width, int height) {", False),
        ("a.rs", "    let made = area(width, height);", True),
        ("a.rs", "    let Some(width, height) = area else { return };", False),
        ("a.ts", "interface Shape {\n\tarea(width: number, height: number): number;\n}", False),
        ("a.ts", "const made = shape.area(width, height);", True),
        ("a.py", "match made:\n    case Area(width, height):\n        pass", False),
    ],
)
def test_a_declaration_is_no_call(places, path, line, called):
    assert bool(places(CALL, path, "", f"{line}\n", (0, line.count("\n") + 1, 0))) is called


def test_what_was_moved_was_not_written(places):
    moved = [line.strip() for line in ADDED.splitlines()]
    for kind in KINDS:
        assert not places(kind, "a.py", OLD, NEW, (3, 9, 3), removed=moved)
    elsewhere = ["return doubled * height"]
    assert {task.ground_truth for task in places(CALL, "a.py", OLD, NEW, (3, 9, 3), removed=elsewhere)} == {"width, 2)"}


def test_closers_and_short_lines_are_not_worth_it(places):
    assert not places(LINE, "a.py", "", "x = [\n]\ny=1\n})\n", (0, 4, 0))


def test_no_file_is_all_that_is_measured(made):
    text = "".join(
        f"def made_{n}(a, b):\n    total_{n} = combine(a, {n})\n    return total_{n}\n\n\n" for n in range(50)
    )
    found = list(find([made("a.py", "", text, (0, 250, 0))], "r", seed=1))
    assert [sum(place.kind == kind for place in found) for kind in KINDS] == [MOST_OF_A_FILE] * len(KINDS)


def test_the_same_text_in_the_same_surroundings_comes_once(made):
    one = made("a.py", OLD, NEW, (3, 9, 3))
    assert [place.id for place in find([one, one], "r", seed=3)] == [place.id for place in find([one], "r", seed=3)]


@pytest.fixture
def many(place):
    counts = {LINE: 30, BLOCK: 4, CALL: 20}
    return [place(kind, "x", name=str(number)) for number in range(30) for kind in KINDS if number < counts[kind]]


def test_kinds_are_taken_in_turns(many):
    taken = choose(many, 12, seed=1)
    assert {kind: sum(one.kind == kind for one in taken) for kind in KINDS} == {LINE: 4, BLOCK: 4, CALL: 4}
    taken = choose(many, 20, seed=1)
    assert {kind: sum(one.kind == kind for one in taken) for kind in KINDS} == {LINE: 8, BLOCK: 4, CALL: 8}
    assert [many.index(one) for one in taken] == sorted(many.index(one) for one in taken)
    assert choose(many, 500, seed=1) == many


def test_the_same_seed_takes_the_same_and_more_adds_to_fewer(many):
    ids = [{one.id for one in choose(many, limit, seed=1)} for limit in (6, 12, 30)]
    assert ids[0] < ids[1] < ids[2]
    assert {one.id for one in choose(reversed(many), 12, seed=1)} == ids[1], "whatever order they come in"
    assert {one.id for one in choose(many, 12, seed=2)} != ids[1]


def test_how_far_it_is_to_the_bracket():
    python = by_path("a.py")
    assert to_bracket("a, (b)) + c", python) == 7
    assert to_bracket("a, ')', b)", python) == 10
    assert to_bracket("a, b", python) == -1
