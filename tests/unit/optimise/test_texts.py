from __future__ import annotations

import pytest

from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import InputError
from coder_lsp.optimise import texts
from coder_lsp.prompt import templates

CODE = [f"def function_{i}(argument):\n    return argument + {i}\n" * 40 for i in range(12)]


def made(contents=CODE, **changes):
    engine = ScriptedEngine()
    template = templates.bind(engine, "qwen")
    sizes = {"tokens": 64, "calibration": 6, "held_out": 3} | changes
    return texts.make(contents, engine, template, **sizes), template, engine


def test_runs_have_the_order_of_the_template_and_the_middle_last():
    found, template, _ = made()
    controls = [template.ids[piece] for piece in template.template.layout if piece in template.ids]
    for run in found.calibration + found.held_out:
        assert [token for token in run if token in controls] == controls
        assert run[0] == controls[0]
        assert run[-1] != controls[-1]


def test_the_sides_share_no_file():
    found, _, engine = made(calibration=8, held_out=4)

    def numbers(runs):
        text = "".join(engine.token_bytes(token).decode() for run in runs for token in run)
        return {i for i in range(12) if f"function_{i}(" in text}

    assert not numbers(found.calibration) & numbers(found.held_out)


def test_the_same_seed_makes_the_same_texts():
    assert made()[0] == made()[0]
    assert made(seed=2)[0] != made()[0]


def test_two_files_are_enough_and_one_is_not():
    assert made(CODE[:2])[0].held_out
    with pytest.raises(InputError, match="too little code"):
        made(CODE[:1])


def test_folders_give_their_source_files_without_hidden_ones(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "notes.bin").write_bytes(b"\0\1")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.py").write_text("x = 1\n")
    files, origin = texts.find_files([tmp_path])
    assert files == [tmp_path / "a.py"]
    assert str(tmp_path) not in origin


def test_without_folders_python_s_own_files_are_taken():
    files, origin = texts.find_files([])
    assert origin == "the Python standard library"
    assert any(path.name == "argparse.py" for path in files)


def test_a_place_that_is_not_there_or_has_no_source_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing at"):
        texts.find_files([tmp_path / "missing"])
    with pytest.raises(InputError, match="no source files"):
        texts.find_files([tmp_path])


def test_files_that_are_no_text_are_left_out(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.py").write_text("x = 1\n")
    assert texts.read_texts([tmp_path / "a.py", tmp_path / "b.py", tmp_path / "c.py"]) == ["x = 1\n"]
