"""The demo's places against its files."""

from __future__ import annotations

import pytest

from coder_lsp.demo.places import Place, copy_project, cut, load_places


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path / "project")


@pytest.mark.parametrize("place", load_places(), ids=lambda place: f"{place.file}:{place.line}")
def test_every_hole_stands_where_it_is_said_to(place, project):
    text = (project / place.file).read_text(encoding="utf-8")
    gap = cut(text, place)
    assert gap.before + place.hole + gap.after == text
    assert gap.before.count("\n") + 1 == place.line
    assert len(gap.before.split("\n")[-1]) + 1 == place.column


def test_the_demo_shows_what_the_issue_of_completion_is():
    """A line, a bracket, a block, three other languages, tabs; ASCII, so that columns are the same in every unit."""
    places = load_places()
    assert {place.language for place in places} == {"python", "typescript", "cpp", "go"}
    assert len(places) >= 6
    assert any("\n" in place.hole for place in places)


def test_project_is_copied_without_byte_code(project):
    files = sorted(path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file())
    assert "shop/inventory.py" in files
    assert not [name for name in files if "__pycache__" in name]
    assert all((project / name).read_text(encoding="utf-8").isascii() for name in files)


def test_python_files_of_the_project_are_whole(project):
    for path in project.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_a_hole_that_is_not_there_is_refused():
    place = Place("t", "a.py", "python", line=2, column=3, hole="xyz")
    with pytest.raises(ValueError, match=r"a\.py:2:3 does not hold 'xyz'"):
        cut("one\ntwo\n", place)
