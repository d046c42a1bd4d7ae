"""Exact match through the shipped service, with a backend that says what it is told to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.config import Config
from coder_lsp.evaluate import exact, rows
from coder_lsp.evaluate.crosscodeeval import Fragment
from coder_lsp.evaluate.exact import Gap, Sample, chosen, compare, complete_all, interval
from coder_lsp.types import FimResult, FinishReason, Snippet

OURS = (Snippet("lib/shapes.py", "def area_of(shape):\n", 0, 1, "similar", 1.0),)
ANSWER = "    result = 0.0\n    return result\n"


class KnowsWithContext(ScriptedBackend):
    """Right if it sees another file, wrong without."""

    def __init__(self):
        super().__init__("")

    async def complete(self, request, on_text=None):
        self.texts = [ANSWER if request.snippets else "    pass\n"]
        return await super().complete(request, on_text)


@pytest.fixture
def gaps(repository, task):
    tasks = [replace(task, task_id=f"drawing/{number}") for number in range(3)]
    return [Gap(each, repository, {"none": (), "ours": OURS}) for each in tasks]


async def test_a_first_line_counts_with_and_without_context(gaps):
    backend = KnowsWithContext()
    told = []
    samples = await complete_all(
        gaps, backend, Config(), max_tokens=64, on_sample=lambda sample, *numbers: told.append(numbers)
    )
    assert [(sample.recipe, sample.exact) for sample in samples] == [("none", False), ("ours", True)] * 3
    assert told == [(number, 6) for number in range(1, 7)]
    first, second = backend.requests[:2]
    assert first.snippets == ()
    assert second.snippets == OURS
    assert first.document != second.document
    assert (first.prefix, first.suffix) == (gaps[0].task.prefix, gaps[0].task.suffix)
    assert (first.max_tokens, first.deadline_ms, first.temperature) == (64, 0, 0.0)


async def test_what_is_done_is_not_done_again(gaps, tmp_path):
    file = tmp_path / "samples.jsonl"
    await complete_all(
        gaps[:2], KnowsWithContext(), Config(), max_tokens=64, on_sample=lambda sample, *_: rows.append(file, sample)
    )
    # Ended while it wrote: the broken line goes, and only that.
    file.write_bytes(file.read_bytes()[:-30])
    assert len(rows.load(file, Sample)) == 3
    backend = KnowsWithContext()
    samples = await complete_all(
        gaps,
        backend,
        Config(),
        max_tokens=64,
        done=rows.load(file, Sample),
        on_sample=lambda sample, *_: rows.append(file, sample),
    )
    assert len(samples) == 6
    assert len(backend.requests) == 3
    assert rows.load(file, Sample) == samples


async def test_similarity_is_made_up_for_where_rapidfuzz_was_missing(gaps):
    pytest.importorskip("rapidfuzz", reason="rapidfuzz is in the extras eval and train")
    samples = await complete_all(gaps, KnowsWithContext(), Config(), max_tokens=64)
    without = [replace(sample, similarity=None) for sample in samples]
    backend = KnowsWithContext()
    assert await complete_all(gaps, backend, Config(), max_tokens=64, done=without) == samples
    assert backend.requests == []
    assert {sample.similarity for sample in samples if sample.exact} == {1.0}


@pytest.mark.parametrize("change", ["context", "model", "budget", "tokens"])
async def test_another_measurement_is_made(gaps, change):
    done = await complete_all(gaps[:1], KnowsWithContext(), Config(), max_tokens=64)
    backend, config, tokens = KnowsWithContext(), Config(), 64
    if change == "context":
        gaps[0] = replace(gaps[0], snippets={"none": (), "ours": (replace(OURS[0], text="changed\n"),)})
    elif change == "model":
        config = replace(config, model="another")
    elif change == "budget":
        config = replace(config, prompt=replace(config.prompt, context_tokens=256))
    else:
        tokens = 32
    await complete_all(gaps[:1], backend, config, max_tokens=tokens, done=done)
    assert len(backend.requests) == (1 if change == "context" else 2)


async def test_the_users_exclusions_are_not_the_tasks(gaps):
    completion = replace(Config().completion, enabled=False, exclude=("*.py",), disabled_languages=("python",))
    config = replace(Config(), completion=completion, context=replace(Config().context, enabled=False))
    samples = await complete_all(gaps[:1], KnowsWithContext(), config, max_tokens=64)
    assert [sample.exact for sample in samples] == [False, True]


async def test_no_suggestion_is_wrong_with_its_reason(gaps):
    class Silent(ScriptedBackend):
        async def complete(self, request, on_text=None):
            return FimResult("", FinishReason.STOP_TOKEN)

    samples = await complete_all(gaps[:1], Silent(""), Config(), max_tokens=64)
    assert not samples[0].exact
    assert samples[0].line == ""
    assert samples[0].reason


def sample(task, recipe, right):
    return exact.Sample(f"t{task}", recipe, "", "m", 512, 64, right, None, "", "", 1, 0, 1.0)


def test_recipes_are_compared_in_pairs():
    """Of four tasks ours is right where nothing was on two and wrong where it was right on one: (2 - 1) / 4."""
    plain = [False, False, True, True]
    ours = [True, True, False, True]
    samples = [sample(number, "none", right) for number, right in enumerate(plain)]
    samples += [sample(number, "ours", right) for number, right in enumerate(ours)]
    figures = compare(samples, seed=1)
    assert figures["recipes"]["none"] == {"tasks": 4, "exact": 2, "exact_share": 0.5, "similarity": None}
    assert figures["recipes"]["ours"]["exact"] == 3
    difference = figures["difference_to_none"]["ours"]
    assert (difference["difference"], difference["better"], difference["worse"]) == (0.25, 2, 1)
    low, high = difference["interval_95"]
    assert -1 <= low < 0.25 < high <= 1
    assert compare(samples, seed=1) == figures


def test_an_interval_is_that_of_the_mean():
    """A coin thrown 400 times: the standard error is 0.025, so 95 % lie within 0.049."""
    low, high = interval([0, 1] * 200, seed=3, rounds=4000)
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)
    assert interval([1, 1, 1], seed=1) == (1, 1)


def test_a_sample_is_fixed_by_its_seed(gaps):
    tasks = [gap.task for gap in gaps] * 20
    assert chosen(tasks, 5, 1) == chosen(tasks, 5, 1)
    assert len(chosen(tasks, 5, 1)) == 5
    assert chosen(tasks, None, 1) == chosen(tasks, 500, 1) == tasks


def test_the_references_choice_is_shown_in_the_models_own_format():
    fragments = [Fragment("a.py", 0, 2, ("one", "two"), 9.0), Fragment("b.py", 0, 1, ("three",), 9.0)]
    best, second = exact.as_snippets(fragments)
    assert (best.path, best.text) == ("a.py", "one\ntwo\n")
    assert best.score > second.score
