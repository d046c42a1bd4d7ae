"""The fixed set and its verdict: chance passes, a drop fails."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.config import Config
from coder_lsp.errors import InputError
from coder_lsp.evaluate import gate
from coder_lsp.evaluate.fim import fill, judged
from coder_lsp.evaluate.gate import Baseline
from coder_lsp.evaluate.ways import Shipped, Written

TASKS = gate.load()


def samples(wrong=()):
    """Every gap filled with its truth, those numbered ``wrong`` with something else."""
    found = []
    for number, task in enumerate(TASKS):
        text = "entirely_other()" if number in wrong else task.truth
        found.append(judged(task, Written(text), "shipped", "m", 48))
    return found


def test_the_set_is_small_fixed_and_of_several_languages():
    assert 30 <= len(TASKS) <= 60
    assert len({task.task_id for task in TASKS}) == len(TASKS)
    assert {"python", "typescript", "javascript", "go", "rust", "java", "c", "csharp"} <= {t.language for t in TASKS}
    assert any(task.snippets for task in TASKS), "the context's way into the prompt is watched, too"
    for task in TASKS:
        assert task.truth.strip(), task.task_id
        assert "\n" not in task.truth, task.task_id
        whole = task.prefix + task.truth + task.suffix
        assert "⟦" not in whole, task.task_id
        assert "⟧" not in whole, task.task_id


def test_gaps_of_one_text_are_gaps_in_the_same_file():
    by_path = {}
    for task in TASKS:
        by_path.setdefault(task.path, set()).add(task.prefix + task.truth + task.suffix)
    assert all(len(texts) == 1 for texts in by_path.values())


def test_the_same_again_passes():
    verdict = gate.judge(Baseline.of("m", samples()), samples())
    assert verdict.passed
    assert (verdict.exact.better, verdict.exact.worse, verdict.chance) == (0, 0, 1.0)
    assert verdict.lost == ()


def test_a_few_that_tip_over_are_noise_and_more_are_not():
    """Of a fair coin five tails in five are 1 in 32, six are 1 in 64: less than one in forty."""
    baseline = Baseline.of("m", samples())
    exact_alone = Baseline("m", baseline.tasks, baseline.exact, dict.fromkeys(baseline.exact))
    five, six = (gate.judge(exact_alone, samples(wrong=range(count))) for count in (5, 6))
    assert five.passed
    assert len(five.lost) == 5
    assert not six.passed
    assert "6 became wrong, 0 right" in six.reasons[0]


def test_gains_make_up_for_losses():
    baseline = Baseline.of("m", samples(wrong=range(10, 18)))
    verdict = gate.judge(baseline, samples(wrong=range(8)))
    assert (verdict.exact.better, verdict.exact.worse) == (8, 8)
    assert verdict.passed


def test_getting_better_passes():
    assert gate.judge(Baseline.of("m", samples(wrong=range(20))), samples()).passed


def test_less_similar_answers_fail_before_any_exact_one_is_lost():
    baseline = Baseline.of("m", samples(wrong=range(len(TASKS))))
    near = Baseline("m", baseline.tasks, baseline.exact, dict.fromkeys(baseline.exact, 0.9))
    now = samples(wrong=range(len(TASKS)))
    if now[0].edit_similarity is None:
        pytest.skip("rapidfuzz is in the extra eval")
    verdict = gate.judge(near, now)
    assert verdict.exact.worse == 0
    assert not verdict.passed
    assert "similarity fell from 0.900" in verdict.reasons[0]


async def test_a_prompt_that_goes_wrong_fails():
    """A model that is shown its parts in the wrong order goes on with anything but the gap."""
    backend = ScriptedBackend("import os\n")
    now = await fill(TASKS, Shipped(backend, Config()), model="m")
    assert not gate.judge(Baseline.of("m", samples(wrong=range(20))), now).passed
    assert [request.max_tokens for request in backend.requests] == [24] * len(TASKS)
    assert any(request.snippets for request in backend.requests)


def test_a_baseline_is_written_and_read(tmp_path):
    path = tmp_path / "baseline.json"
    baseline = Baseline.of("m", samples(wrong=[3]))
    baseline.write(path)
    assert Baseline.read(path) == baseline
    assert sum(baseline.exact.values()) == len(TASKS) - 1


def test_the_stored_baseline_is_of_this_set_and_of_a_model_that_is_some_good():
    stored = Baseline.read()
    assert stored.tasks == gate.digest()
    assert stored.exact.keys() == {task.task_id for task in TASKS}
    assert 0.3 < sum(stored.exact.values()) / len(TASKS) < 1, "room to fall, and room to rise"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "m", "tasks": "t", "gaps": {"a": 1}}'])
def test_a_file_of_something_else_is_no_baseline(tmp_path, text):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(InputError, match="holds no baseline"):
        Baseline.read(path)
    with pytest.raises(InputError, match="holds no baseline"):
        Baseline.read(tmp_path / "none.json")


def test_a_baseline_of_another_model_or_set_is_refused(tmp_path):
    baseline = Baseline.of("m", samples())
    gate.check(baseline, "m")
    with pytest.raises(InputError, match="of m, not of other"):
        gate.check(baseline, "other")
    with pytest.raises(InputError, match="another set"):
        gate.check(Baseline("m", "0000", baseline.exact, baseline.similarity), "m")


def test_a_text_without_gaps_is_refused(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text('[[text]]\npath = "a.py"\ntext = "x = 1"\n')
    with pytest.raises(InputError, match="no gaps"):
        gate.load(path)
    path.write_text(json.dumps("x"))
    assert gate.digest(path) != gate.digest()


def test_a_few_gaps_are_from_all_over_the_set():
    few = gate.load(limit=12)
    assert len(few) == 12
    assert len({task.path for task in few}) > 8
    assert gate.load(limit=999) == TASKS
    verdict = gate.judge(
        Baseline.of("m", samples()),
        [one for one in samples(wrong=range(len(TASKS))) if one.task_id in {t.task_id for t in few}],
    )
    assert not verdict.passed
    assert (verdict.exact.tasks, len(verdict.lost)) == (12, 12)


def test_what_the_user_has_set_is_not_measured():
    config = Config()
    mine = replace(
        config,
        model="m",
        prompt=replace(config.prompt, prefix_tokens=100, anchored=False),
        engine=replace(config.engine, threads=3, kv_type="q8_0"),
        completion=replace(config.completion, multiline=False),
    )
    found = gate.settings(mine)
    assert (found.model, found.engine.threads, found.engine.kv_type) == ("m", 3, config.engine.kv_type)
    assert found.prompt == config.prompt
    assert found.completion.multiline
    assert not found.idle.enabled
