"""The estimate by arithmetic that can be done by hand, and in which direction each figure moves it."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

from coder_lsp.bench import sizing
from coder_lsp.bench.sizing import GPUS, MODELS, Gpu, Limits, Shape, Typing, estimate

TOY = Shape(layers=1, width=1000, inner=1000, heads=1, kv_heads=1, vocabulary=1000, head_width=1000)
"""4 M weights of attention, 3 M of the rest, 1 M of output; 4,000 bytes a cell."""
TOY_GPU = Gpu(memory_bytes=1e9, bytes_per_s=16e9, flops_per_s=1e15)
EXACT = Limits(
    answer_ms=100, bandwidth_share=1, arithmetic_share=1, pass_ms=0, memory_share=1, spare_bytes=0
)  # 16 MB of weights: a millisecond a pass
ONE_A_SECOND = Typing(requests_per_minute=60, prompt_tokens=1, context_tokens=4, new_tokens=10, places=1)


def test_the_worked_example_is_right():
    assert doctest.testmod(sizing).failed == 0


@pytest.mark.parametrize(
    ("model", "parameters_billions", "cell_bytes"),
    [
        ("qwen2.5-coder-1.5b", 1.54, 28_672),
        ("qwen2.5-coder-7b", 7.61, 57_344),
        ("deepseek-coder-1.3b", 1.35, 196_608),
        ("deepseek-coder-6.7b", 6.74, 524_288),
    ],
)
def test_models_have_the_sizes_their_makers_give(model, parameters_billions, cell_bytes):
    shape = MODELS[model]
    assert shape.resident_bytes(2.0) / 2e9 == pytest.approx(parameters_billions, abs=0.01)
    assert shape.work(2.0).cell_bytes == cell_bytes


def test_one_person_alone_waits_for_a_pass_a_token():
    """Reading the prompt is a pass of 1 ms, ten tokens are ten more, each with 16,000 bytes of cache: 1 us."""
    found = estimate(TOY, TOY_GPU, ONE_A_SECOND, EXACT, "bf16")
    assert found.first_token_alone_ms == pytest.approx(1.0)
    assert found.answer_alone_ms == pytest.approx(11.01)


def test_memory_holds_so_many_prompts():
    """16 MB of weights and 2 MB of embedding of 1 GB; a prompt of 4 cells takes 16,000 bytes."""
    found = estimate(TOY, TOY_GPU, ONE_A_SECOND, EXACT, "bf16")
    assert found.resident_gb == pytest.approx(0.018)
    assert found.by_memory == int((1e9 - 18e6) / 16_000)


def test_people_share_the_time_until_answers_are_late():
    """At n a second prompts take n ms of each, so answers take 10.01 / (1 - n / 1000) and some: 100 ms at about 900."""
    found = estimate(TOY, TOY_GPU, ONE_A_SECOND, EXACT, "bf16")
    assert 850 < found.by_time < 900
    assert found.typing == found.by_time


def test_a_model_that_is_too_slow_for_one_serves_nobody():
    assert estimate(TOY, TOY_GPU, ONE_A_SECOND, replace(EXACT, answer_ms=5), "bf16").typing == 0


def test_a_model_that_does_not_fit_serves_nobody():
    assert estimate(TOY, replace(TOY_GPU, memory_bytes=1e7), ONE_A_SECOND, EXACT, "bf16").typing == 0


@pytest.mark.parametrize("model", MODELS)
def test_more_to_do_is_later_with_fewer_people(model):
    gpu, usual = GPUS["h100"], Typing()
    people = estimate(MODELS[model], gpu, usual, Limits(), "bf16").by_time
    for harder in (
        replace(usual, requests_per_minute=120),
        replace(usual, prompt_tokens=1500),
        replace(usual, context_tokens=6000),
        replace(usual, new_tokens=48),
    ):
        assert estimate(MODELS[model], gpu, harder, Limits(), "bf16").by_time < people


def test_smaller_weights_make_answers_quicker_and_leave_room():
    whole = estimate(MODELS["qwen2.5-coder-7b"], GPUS["l4"], Typing(), Limits(), "bf16")
    small = estimate(MODELS["qwen2.5-coder-7b"], GPUS["l4"], Typing(), Limits(), "awq")
    assert small.answer_alone_ms < whole.answer_alone_ms / 2
    assert small.by_memory > whole.by_memory
