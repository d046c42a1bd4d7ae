"""Each target's short share with a fixed seed, and every input that once did harm. Long campaigns: ``scripts/fuzz``."""

from __future__ import annotations

import pytest
from fuzz import targets
from fuzz.engine import TARGETS, replay, run
from hypothesis.internal.conjecture.providers import HypothesisProvider

assert targets
SEED = 20


@pytest.fixture(autouse=True)
def same_inputs_everywhere(monkeypatch):
    """Hypothesis also draws constants of whatever modules are loaded, so other tests would change the inputs."""
    monkeypatch.setattr(HypothesisProvider, "_maybe_draw_constant", lambda *_, **__: None, raising=False)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_random_inputs_do_no_harm(name, tmp_path):
    aim = TARGETS[name]
    outcome = run(aim, tmp_path, inputs=aim.share, seed=SEED)
    assert outcome.error is None, f"{name}: {outcome.crash!r}: {outcome.error!r}"
    assert outcome.inputs


@pytest.mark.parametrize(
    ("name", "file"),
    [pytest.param(name, file, id=file.stem) for name, aim in sorted(TARGETS.items()) for file in aim.crashes],
)
def test_what_once_did_harm_does_none(name, file, tmp_path):
    replay(TARGETS[name], tmp_path, file)
