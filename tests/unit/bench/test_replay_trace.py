"""``bench.replay.trace``: the plan of a replay; nothing that is to be typed is anywhere before."""

from __future__ import annotations

import pytest

from coder_lsp.bench.replay.trace import Pace, copy_without, make_trace
from coder_lsp.errors import InputError


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "shop"
    for module in ("stock", "orders"):
        file = root / "shop" / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        functions = [
            (
                f"def {module}_{number}(levels: dict[str, int], wanted: int = {number}) -> int:\n"
                f"    missing_{number} = [name for name, level in levels.items() if level < wanted]\n"
                f"    for name in missing_{number}:\n"
                f"        print(f'{module} {number} needs more of', name, levels[name])\n"
                f"        levels[name] = wanted + {number}\n"
                f"    total_{number} = sum(levels.values()) * {number + 1}\n"
                f"    return total_{number} - len(missing_{number})\n"
            )
            for number in range(24)
        ]
        file.write_text("\n\n".join(functions))
    (root / ".git").mkdir()
    (root / ".git" / "objects.py").write_text(file.read_text())
    (root / "notes.txt").write_text("word " * 1000)
    return root


def test_the_same_seed_makes_the_same_trace(project):
    assert make_trace(project, 300, 7) == make_trace(project, 300, 7)
    assert make_trace(project, 300, 7) != make_trace(project, 300, 8)


def test_a_longer_trace_begins_with_the_gaps_of_a_shorter_one(project):
    short, long = (make_trace(project, seconds, 7) for seconds in (100, 400))
    assert long.gaps[: len(short.gaps)] == short.gaps
    assert sum(visit.planned_s(1.5) for visit in long.visits) >= 400


def test_typing_all_visits_gives_the_project_back(project, tmp_path):
    trace = make_trace(project, 600, 3)
    copy_without(project, trace.gaps, tmp_path / "copy")
    documents = {}
    for visit in trace.visits:
        found = documents.get(visit.path) or (tmp_path / "copy" / visit.path).read_text()
        assert visit.before + visit.after == found, f"visit {visit.number} expects another document"
        documents[visit.path] = visit.before + visit.text + visit.after
    assert len(documents) == 2
    assert any(visit.returning for visit in trace.visits)
    for path, text in documents.items():
        assert text == (project / path).read_text()


def test_what_will_be_typed_is_not_in_the_copy(project, tmp_path):
    trace = make_trace(project, 300, 3)
    copy_without(project, trace.gaps, tmp_path / "copy")
    everything = "".join(path.read_text() for path in (tmp_path / "copy").rglob("*") if path.is_file())
    for visit in trace.visits:
        assert visit.text not in everything
    assert not (tmp_path / "copy" / ".git").exists()
    assert (tmp_path / "copy" / "notes.txt").exists()


def test_a_visit_begins_with_a_line_break_and_ends_at_a_line_end(project):
    for visit in make_trace(project, 400, 1).visits:
        assert visit.keys[0].ends_line
        assert not visit.keys[-1].ends_line
        assert visit.before[-1] != "\n"
        assert visit.after[:1] in {"", "\n"}


def test_keys_come_at_the_pace_asked_for(project):
    pace = Pace(characters_per_s=10, unevenness=0.5, line_end_s=(1.0, 1.5), look_s=(2.0, 2.5))
    visits = make_trace(project, 200, 1, pace).visits
    for visit in visits:
        assert 2.0 <= visit.look_s <= 2.5
        for key in visit.keys[1:]:
            least, most = (1.0, 1.5) if key.ends_line else (0.05, 0.15)
            assert least <= key.after_s <= most


def test_a_line_break_brings_its_indentation_along(project):
    keys = [key for visit in make_trace(project, 300, 1).visits for key in visit.keys]
    assert {len(key.text) for key in keys if not key.ends_line} == {1}
    assert {key.text for key in keys if key.ends_line} >= {"\n    ", "\n        "}


def test_a_project_without_code_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("word " * 1000)
    with pytest.raises(InputError, match="no code to type"):
        make_trace(tmp_path, 60, 1)
