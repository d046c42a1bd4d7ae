"""How quick a model was here: kept for its file, and guessed for others by their size."""

from __future__ import annotations

import pytest

from coder_lsp import paths
from coder_lsp.host.speeds import Speed, estimate, recall


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return path


def test_the_median_of_what_was_written_is_kept_for_the_file(model):
    speed = Speed(model)
    for tokens, decode_ms in ((10, 500.0), (40, 1000.0), (20, 200.0), (3, 1.0), (8, 0.0)):
        speed.note(tokens, decode_ms)
    speed.save()
    assert recall(model) == 40.0
    model.write_bytes(b"GGUF another")
    assert recall(model) is None


def test_it_is_written_at_first_and_now_and_then_while_a_host_runs(model):
    speed = Speed(model)
    speed.note(10, 1000.0)
    assert recall(model) == 10.0
    for _ in range(31):
        speed.note(10, 250.0)
    assert recall(model) == 10.0
    speed.note(10, 250.0)
    assert recall(model) == 40.0


def test_damage_and_a_missing_file_are_as_if_nothing_was_known(model, tmp_path):
    Speed(tmp_path / "none").save()
    assert recall(tmp_path / "none") is None
    speed = Speed(model)
    speed.note(10, 250.0)
    speed.save()
    [kept] = (paths.state_dir() / "speeds").iterdir()
    for text in ("{", "[]", '{"decode_tokens_per_s": "x"}', '{"decode_tokens_per_s": -1}'):
        kept.write_text(text)
        assert recall(model) is None


def test_a_model_that_is_gone_costs_no_error(model):
    speed = Speed(model)
    speed.note(10, 250.0)
    model.unlink()
    speed.save()
    assert recall(model) is None


def test_half_the_size_is_twice_the_speed_of_the_nearest():
    assert estimate(500, [(1000, 20.0), (10_000, 1.0)]) == 40.0
    assert estimate(20_000, [(1000, 20.0), (10_000, 1.0)]) == 0.5
    assert estimate(500, []) is None
