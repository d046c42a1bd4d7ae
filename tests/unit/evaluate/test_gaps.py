"""Tasks made out of a repository: the body goes, the rest stays as it is."""

from __future__ import annotations

import ast

import pytest

from coder_lsp.errors import InputError
from coder_lsp.evaluate.gaps import bodies, make_tasks

PYTHON = '''import os


@decorated
def documented(a,
               b):
    """What it does.

    At length.
    """
    first = a
    return first + b


def one_line(): return 1


def short():
    return 1


class Holder:
    async def method(self):
        # A comment belongs to the prefix.
        with self as held:
            return held


    def decorated_inside(self):
        @wraps
        def inner():
            return 1
        return inner

    def nothing_but_words(self):
        """Words."""
'''
GO = """package main

func Add(a int, b int) int {
	sum := a + b
	return sum
}

func Tiny() int { return 1 }
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "made"
    root.mkdir()
    (root / "a.py").write_text(PYTHON)
    (root / "b.go").write_text(GO)
    return root


def found(path, text):
    lines = text.split("\n")
    return {body.function: lines[body.start_line : body.end_line] for body in bodies(path, text)}


def test_the_body_of_a_python_function_is_what_follows_its_docstring():
    assert found("a.py", PYTHON) == {
        "documented": ["    first = a", "    return first + b"],
        "method": ["        with self as held:", "            return held"],
        "decorated_inside": [
            "        @wraps",
            "        def inner():",
            "            return 1",
            "        return inner",
        ],
    }


def test_the_body_of_a_function_in_braces_is_what_lies_between():
    assert found("b.go", GO) == {"Add": ["\tsum := a + b", "\treturn sum"]}


def test_files_that_do_not_parse_have_none():
    assert found("a.py", "def broken(:\n    x\n    y\n") == {}
    assert found("a.py", "x = 1\0") == {}
    assert found("a.txt", PYTHON) == {}


def test_prefix_body_and_suffix_are_the_file(root):
    tasks = make_tasks(root, functions=100, seed=1)
    assert {task.function for task in tasks} == {"documented", "method", "decorated_inside", "Add"}
    for task in tasks:
        assert task.prefix + task.ground_truth + task.suffix == (root / task.path).read_text()
        assert task.prefix.endswith("\n")
        assert not task.ground_truth.endswith("\n")
        assert (task.repo, task.root) == ("made", str(root))
    assert len({task.task_id for task in tasks}) == 4
    documented = next(task for task in tasks if task.function == "documented")
    assert "At length." in documented.prefix
    # Python still reads what is left once there is any body.
    ast.parse(documented.prefix + "    pass" + documented.suffix)


def test_the_seed_decides_which(root):
    (root / "many.py").write_text("".join(f"def f{n}():\n    a = {n}\n    return a\n\n\n" for n in range(50)))
    names = [[task.function for task in make_tasks(root, functions=5, seed=seed)] for seed in (1, 1, 2)]
    assert len(names[0]) == 5
    assert names[0] == names[1] != names[2]


def test_what_is_ignored_or_has_secrets_is_left_alone(root):
    (root / ".gitignore").write_text("a.py\n")
    (root / "b.go").write_text(GO.replace("a + b", 'a + b // password = "hunter2hunter2AKIAIOSFODNN7EXAMPLE"'))
    with pytest.raises(InputError, match="no functions to take out"):
        make_tasks(root, functions=5, seed=1)
