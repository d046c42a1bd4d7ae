"""The engine of campaigns: what does harm is found, made short, kept, and tried again."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest
from fuzz import engine
from fuzz.driver import Died, Driver
from fuzz.engine import Target, keep, read, replay, run
from fuzz.mutations import changed, changes
from hypothesis import given
from hypothesis import strategies as st


def target_with(check) -> Target:
    @contextmanager
    def setup(_):
        yield check

    return Target("made-up", st.lists(st.integers()), setup, share=200, round_inputs=200)


def no_large(numbers):
    assert all(number < 1000 for number in numbers)


def test_an_input_that_does_harm_is_made_short_kept_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CRASHES", tmp_path / "crashes")
    aim = target_with(no_large)
    outcome = run(aim, tmp_path, inputs=500, seed=1)
    assert outcome.crash == [1000]
    assert isinstance(outcome.error, AssertionError)
    file = keep(aim, outcome)
    assert aim.crashes == [file]
    assert read(file) == [1000]
    with pytest.raises(AssertionError):
        replay(aim, tmp_path, file)
    replay(target_with(lambda _: None), tmp_path, file)


def test_a_target_without_harm_is_tried_as_often_as_it_was_told(tmp_path):
    outcome = run(target_with(lambda _: None), tmp_path, inputs=50, seed=1)
    assert (outcome.inputs, outcome.error) == (50, None)


def test_the_same_seed_tries_the_same(tmp_path):
    seen = [[], []]
    for each in seen:
        run(target_with(each.append), tmp_path, inputs=30, seed=7)
    assert seen[0] == seen[1]


@given(st.binary(max_size=40), changes(within=40))
def test_every_change_fits_every_file(data, wanted):
    assert isinstance(changed(data, wanted), bytes)


def test_a_process_that_dies_is_told_and_begun_again(tmp_path, monkeypatch):
    (tmp_path / "made_up_driver.py").write_text(
        "from fuzz.driver import serve\nimport os\nserve(lambda asked: os.abort() if asked == 'die' else asked)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Driver("made_up_driver", tmp_path / "stderr")) as driver:
        assert driver.ask(["x"], seconds=30) == ["x"]
        with pytest.raises(Died, match="SIGABRT"):
            driver.ask("die", seconds=30)
        assert driver.ask(5, seconds=30) == 5
