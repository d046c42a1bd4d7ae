"""Decoding of random models: against naive references, by seed, under constraints."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.engine import _native
from coder_lsp.engine.base import GenerateRequest
from coder_lsp.errors import EngineError
from coder_lsp.types import FinishReason

# Evaluates prompts with llama-cpp-python, in a process of its own, and prints the logits that follow each.
REFERENCE = """
import ctypes, json, sys
import llama_cpp as l
path, prompts = sys.argv[1], json.loads(sys.argv[2])
quiet = l.llama_log_callback(lambda *_: None)
l.llama_log_set(quiet, None)
l.llama_backend_init()
model = l.llama_model_load_from_file(path.encode(), l.llama_model_default_params())
size = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
rows = []
for prompt in prompts:
    params = l.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
    # A cache in single precision and no flash attention, as the engine has it in these tests.
    params.type_k = params.type_v = 0
    params.flash_attn_type = 0
    context = l.llama_init_from_model(model, params)
    tokens = (l.llama_token * len(prompt))(*prompt)
    assert l.llama_decode(context, l.llama_batch_get_one(tokens, len(prompt))) == 0
    rows.append(list(l.llama_get_logits_ith(context, -1)[:size]))
    l.llama_free(context)
print(json.dumps(rows))
"""


def reference_logits(path, prompts):
    """One row of logits a prompt, from llama-cpp-python."""
    command = [sys.executable, "-W", "ignore", "-c", REFERENCE, str(path), json.dumps(prompts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return np.array(json.loads(done.stdout), np.float64)


def random_prompt(engine, seed, length=40):
    choose = random.Random(seed)
    ordinary = [token for token in range(engine.info.vocab_size) if engine.token_bytes(token)]
    return choose.choices(ordinary, k=length)


def decode(engine, tokens, count=24, **options):
    return engine.generate(GenerateRequest(tokens=tokens, max_tokens=count, **options))


def naive_greedy(engine, tokens, count):
    """The same continuation, everything evaluated anew for each token."""
    continued = list(tokens)
    while len(continued) < len(tokens) + count:
        for sequence in range(engine.options.sequences):
            engine.clear(sequence)
        step = decode(engine, continued, 1)
        assert step.tokens.evaluated == len(continued)
        if not step.token_ids:
            break
        continued += step.token_ids
    return tuple(continued[len(tokens) :])


@pytest.mark.parametrize("seed", range(6))
def test_greedy_equals_evaluating_everything_anew_for_each_token(load, models, seed):
    expected_engine, engine = load(models.random), load(models.random, slice_tokens=16)
    tokens = random_prompt(expected_engine, seed)
    expected = naive_greedy(expected_engine, tokens, 20)
    assert decode(engine, tokens, 20).token_ids == expected
    # Again with a warm cache, from its middle, and after something else was there.
    assert decode(engine, tokens, 20).token_ids == expected
    decode(engine, tokens[:20] + tokens[:10], 5, sequence=0)
    assert decode(engine, tokens, 20, sequence=0).token_ids == expected
    assert decode(engine, [*tokens, *expected[:7]], 20 - 7).token_ids == expected[7:]


@pytest.mark.parametrize("kind", ["random", "spm", "recurrent"])
def test_scores_are_those_of_llama_cpp_python(load, models, kind):
    engine = load(getattr(models, kind))
    prompts = [random_prompt(engine, seed, 30) for seed in range(4)]
    logits = reference_logits(engine.info.path, prompts)
    expected = logits - np.log(np.sum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1, keepdims=True))
    expected -= logits.max(axis=1, keepdims=True)
    for prompt, row in zip(prompts, expected, strict=True):
        done = engine.generate(GenerateRequest(tokens=prompt, max_tokens=1))
        if done.finish_reason is FinishReason.STOP_TOKEN:
            assert int(row.argmax()) in engine.end_tokens
        else:
            assert done.token_ids == (int(row.argmax()),)
            assert done.logprobs[0] == pytest.approx(row.max(), abs=2e-3)


def test_logprobs_are_of_the_unconstrained_distribution(engine):
    """A token that is forced keeps the probability the model gave it; those of all tokens add up to one."""
    tokens = random_prompt(engine, 1)
    free = decode(engine, tokens, 1)
    sampled = decode(engine, tokens, 1, temperature=5.0, top_k=1)
    assert sampled.token_ids == free.token_ids
    assert sampled.logprobs == pytest.approx(free.logprobs, abs=1e-4)
    total = 0.0
    for byte in range(256):
        step = decode(engine, tokens, 1, forced=bytes([byte]) * 9)
        if engine.token_bytes(step.token_ids[0]) == bytes([byte]):
            total += np.exp(step.logprobs[0])
    assert 0.3 < total < 1.0


def test_seed_decides_and_repeats(engine):
    tokens = random_prompt(engine, 2)
    texts = {seed: decode(engine, tokens, temperature=1.0, seed=seed).token_ids for seed in range(8)}
    assert len(set(texts.values())) > 4
    for seed, expected in texts.items():
        assert decode(engine, tokens, temperature=1.0, seed=seed).token_ids == expected


def test_top_k_one_and_a_tiny_top_p_are_greedy(engine):
    tokens = random_prompt(engine, 3)
    greedy = decode(engine, tokens).token_ids
    assert decode(engine, tokens, temperature=1.0, top_k=1, seed=5).token_ids == greedy
    assert decode(engine, tokens, temperature=1.0, top_p=1e-6, seed=5).token_ids == greedy


def test_sampling_follows_the_probabilities(engine):
    """Over many seeds the likeliest token comes as often as its probability says, and top-k leaves the others out."""
    tokens = random_prompt(engine, 4)
    likeliest = decode(engine, tokens, 1)
    draws = [
        decode(engine, tokens, 1, temperature=1.0, top_k=0, top_p=1.0, seed=seed).token_ids[:1] for seed in range(400)
    ]
    expected = float(np.exp(likeliest.logprobs[0]))
    assert draws.count(likeliest.token_ids) / 400 == pytest.approx(expected, abs=4 * (expected / 400) ** 0.5)
    narrowed = {decode(engine, tokens, 1, temperature=3.0, top_k=3, seed=seed).token_ids for seed in range(60)}
    assert len(narrowed - {()}) <= 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_forced_bytes_agree_at_every_split(load, models, seed, temperature):
    """Whatever is owed, the generated tokens spell it first; control tokens never do."""
    engine = load(models.random)
    tokens = random_prompt(engine, seed)
    for forced in (b"return self", b"  ", "für 世界".encode(), b"\xff\x00"):
        done = decode(engine, tokens, forced=forced, temperature=temperature, seed=seed)
        spelled = b"".join(map(engine.token_bytes, done.token_ids))
        assert spelled.startswith(forced)
        assert done.text == spelled.removeprefix(forced).decode("utf-8", "replace")
        assert all(map(engine.token_bytes, done.token_ids[:1]))


def test_forced_bytes_take_the_likeliest_token_that_agrees(engine):
    tokens = random_prompt(engine, 7)
    agreeing = {}
    for token in range(engine.info.vocab_size):
        data = engine.token_bytes(token)
        if data and (data.startswith(b" ret") or b" ret".startswith(data)):
            step = decode(engine, [*tokens], 1, forced=data)
            agreeing[token] = step.logprobs[0] if step.token_ids == (token,) else -np.inf
    chosen = decode(engine, tokens, 1, forced=b" ret").token_ids[0]
    assert chosen == max(agreeing, key=agreeing.__getitem__)


def test_bytes_that_no_token_begins_are_an_error(load, models):
    assert decode(load(models.spm), [1], 1, forced=b"\xff").token_ids
    with pytest.raises(EngineError, match="must come next"):
        decode(load(models.headless), [0], 1, forced=b"x")


def test_what_is_generated_is_the_same_in_any_slices(load, models):
    tokens = random_prompt(load(models.random), 8, 200)
    outcomes = {decode(load(models.random, slice_tokens=size), tokens).token_ids for size in (1, 7, 64, 256)}
    assert len(outcomes) == 1


@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
def test_kv_types(load, models, kv_type):
    engine = load(models.slow, kv_type=kv_type)
    assert decode(engine, random_prompt(engine, 9)).tokens.generated > 0


def test_an_unknown_kv_type_is_refused(load, models):
    with pytest.raises(EngineError, match="f17"):
        load(models.random, kv_type="f17")


@given(st.binary(max_size=40))
def test_invalid_bytes_become_what_python_makes_of_them(data):
    assert _native.valid_utf8(data) == data.decode("utf-8", "replace")


@given(st.text(max_size=30), st.integers(0, 200), st.binary(min_size=1, max_size=2))
def test_broken_text_becomes_what_python_makes_of_it(text, at, garbage):
    data = text.encode("utf-8", "replace")
    data = data[: at % (len(data) + 1)] + garbage + data[(at * 7) % (len(data) + 1) :]
    assert _native.valid_utf8(data) == data.decode("utf-8", "replace")
