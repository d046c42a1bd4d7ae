"""What is in the cache, what is evaluated again, and which sequence is taken."""

from __future__ import annotations

import random

import pytest

from coder_lsp.engine.base import GenerateRequest

TEXT = "def f(self):\n    return self.x\n" * 8


def run(engine, tokens, **options):
    options.setdefault("max_tokens", 4)
    return engine.generate(GenerateRequest(tokens=tokens, **options))


def test_a_prompt_with_one_more_token_evaluates_one_token(engine):
    tokens = engine.tokenize(TEXT)
    for length in range(40, 60):
        done = run(engine, tokens[:length], max_tokens=1)
        assert done.tokens.prompt == done.tokens.reused + done.tokens.evaluated == length
        assert done.tokens.evaluated == (length if length == 40 else 1)


def test_going_on_from_generated_text_evaluates_what_was_not_evaluated(engine):
    tokens = engine.tokenize(TEXT)
    done = run(engine, tokens, max_tokens=8)
    again = run(engine, [*tokens, *done.token_ids], max_tokens=1)
    # The last token was chosen, but never evaluated.
    assert again.tokens.evaluated == 1


def test_a_change_in_the_middle_evaluates_from_there(engine):
    tokens = engine.tokenize(TEXT)
    run(engine, tokens)
    changed = [*tokens[:50], *engine.tokenize("#"), *tokens[50:]]
    done = run(engine, changed)
    assert (done.tokens.reused, done.tokens.evaluated) == (50, len(changed) - 50)


def test_sequences_do_not_disturb_each_other(load, models):
    """Interleaved work in two sequences says what each says alone."""
    engine = load(models.random)
    one, two = engine.tokenize(TEXT), engine.tokenize("elsewhere " * 12)
    alone = [run(engine, tokens, sequence=0, max_tokens=12).token_ids for tokens in (one, two)]
    engine.clear(0)
    engine.prefill(one[:30], 0)
    engine.prefill(two[:10], 1)
    engine.prefill(one, 0)
    assert run(engine, two, sequence=1, max_tokens=12).token_ids == alone[1]
    assert run(engine, one, sequence=0, max_tokens=12).token_ids == alone[0]
    assert run(engine, two, sequence=1, max_tokens=12).token_ids == alone[1]


def test_a_sequence_adopts_what_another_one_holds(load, models):
    """Evaluated in sequence 0, wanted in sequence 1: copied, and exact."""
    engine = load(models.random)
    tokens = engine.tokenize(TEXT)
    other = [*tokens[:120], *engine.tokenize("another ending")]
    expected = run(engine, other, sequence=0, max_tokens=12).token_ids
    engine.clear(0)
    held = run(engine, tokens, sequence=0, max_tokens=1)
    done = run(engine, other, sequence=1, max_tokens=12)
    assert done.tokens.reused == 120
    assert done.token_ids == expected
    # The donor still has its own.
    assert run(engine, tokens, sequence=0, max_tokens=1).tokens.evaluated == 0
    assert run(engine, tokens, sequence=0, max_tokens=1).token_ids == held.token_ids


def test_a_short_common_beginning_is_not_adopted(engine):
    tokens = engine.tokenize(TEXT)
    run(engine, tokens, sequence=0)
    done = run(engine, [*tokens[:10], *engine.tokenize("another ending")], sequence=1)
    assert done.tokens.reused == 0


def test_prefill_in_another_sequence_adopts_too(engine):
    tokens = engine.tokenize(TEXT)
    engine.prefill(tokens, 0)
    assert engine.prefill([*tokens[:100], *engine.tokenize("xyz")], 1) == 3
    assert engine.history(0) == tuple(tokens)


def test_the_least_recently_used_sequence_is_taken(engine):
    places = [engine.tokenize(f"{name} place " * 6) for name in ("first", "second", "third")]
    taken = [run(engine, place, max_tokens=1).sequence for place in places]
    assert taken == [0, 1, 0]
    assert run(engine, places[1], max_tokens=1).tokens.evaluated == 0


def test_a_fresh_place_with_the_same_context_keeps_the_old_one(load, models):
    """A shared beginning shorter than half the prompt: the other sequence adopts it, nothing is lost."""
    engine = load(models.random)
    shared = engine.tokenize("# context of both files\n" * 4)
    one = shared + engine.tokenize("one file " * 20)
    two = shared + engine.tokenize("two files " * 20)
    first = run(engine, one, max_tokens=1)
    second = run(engine, two, max_tokens=1)
    assert first.sequence != second.sequence
    assert second.tokens.reused >= len(shared)
    assert run(engine, one, max_tokens=1).tokens.evaluated == 0


def test_keys_inside_a_word_evaluate_nothing(load, models):
    """They change what must come first, not the prompt: its scores are remembered, and are those of a fresh engine."""
    engine, fresh = load(models.random), load(models.random)
    tokens = engine.tokenize(TEXT)
    run(engine, tokens)
    for forced in (b"r", b"re", b"ret", b"", b"x"):
        done = run(engine, tokens, forced=forced)
        fresh.clear(0)
        first = run(fresh, tokens, forced=forced, sequence=0)
        assert (done.tokens.reused, done.tokens.evaluated) == (len(tokens), 0)
        assert (done.token_ids, done.logprobs, done.runners_up) == (first.token_ids, first.logprobs, first.runners_up)


@pytest.mark.parametrize("change", ["other end", "shorter", "longer", "clear", "restore", "adopt"])
def test_scores_are_not_remembered_of_what_is_gone(load, models, change):
    engine, fresh = load(models.random), load(models.random)
    tokens = engine.tokenize(TEXT)
    other = [*tokens[:-1], *engine.tokenize("#")]
    assert len(other) == len(tokens)
    expected = run(fresh, tokens, sequence=0)
    run(engine, tokens, sequence=0)
    if change == "other end":
        assert run(engine, other, sequence=0).tokens.evaluated == 1
    elif change == "shorter":
        assert run(engine, tokens[:-3], sequence=0).tokens.evaluated == 1
    elif change == "longer":
        assert run(engine, [*tokens, *other], sequence=0).tokens.reused == len(tokens)
    elif change == "clear":
        engine.clear(0)
    elif change == "restore":
        run(engine, other, sequence=1)
        assert engine.restore_sequence(0, engine.history(1), engine.sequence_state(1))
    else:
        run(engine, [*tokens, *other], sequence=1)
        run(engine, tokens[::-1], sequence=0)
    again = run(engine, tokens, sequence=0)
    assert (again.text, again.token_ids) == (expected.text, expected.token_ids)
    assert again.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert again.tokens.evaluated >= 1


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_prompts_says_what_a_fresh_engine_says(load, models, seed):
    """Random walk over prompts that share beginnings, sequences chosen and given."""
    engine, fresh = load(models.random), load(models.random)
    choose = random.Random(seed)
    base = engine.tokenize(TEXT)
    for _ in range(25):
        tokens = base[: choose.randrange(1, 200)] + engine.tokenize("?!#xyz"[: choose.randrange(5)])
        sequence = choose.choice([None, 0, 1])
        if choose.random() < 0.3:
            engine.prefill(base[: choose.randrange(1, 220)], sequence)
        fresh.clear(0)
        assert run(engine, tokens, sequence=sequence).token_ids == run(fresh, tokens, sequence=0).token_ids


def test_a_recurrent_model_starts_anew_unless_the_prompt_only_grows(load, models):
    engine = load(models.recurrent)
    assert engine.info.recurrent
    tokens = engine.tokenize(TEXT)
    expected = run(engine, tokens, sequence=0)
    assert engine.prefill(tokens[:60], 1) == 60
    assert engine.prefill(tokens[:90], 1) == 30
    grown = run(engine, tokens, sequence=1)
    assert grown.tokens.reused == 90
    assert grown.token_ids == expected.token_ids
    repeated = run(engine, tokens, sequence=1)
    assert repeated.tokens.reused == 0
    assert repeated.token_ids == expected.token_ids
