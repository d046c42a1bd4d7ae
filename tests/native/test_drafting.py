"""Guessed tokens change the work and nothing else: every generation equals the one without them, to the last bit.

Guesses are forced here, whatever they cost, and hints say more or less what will come, so that some are right.
"""

from __future__ import annotations

import random

import pytest
from support import tiny_gguf

from coder_lsp.engine import _native
from coder_lsp.engine.base import GenerateRequest

# From 256 cells on llama.cpp lets ggml evaluate a single token in another way than several.
SHORT, LONG = 60, 600


@pytest.fixture(params=["F32", "Q4_0", "Q5_0", "Q8_0"])
def engine(request, load, tmp_path):
    """A random model with a cache in half precision, as engines are run."""
    shape = tiny_gguf.Shape(width=128, layers=3, heads=4, kv_heads=2, inner=192, context=2048)
    path = tiny_gguf.write_random(tmp_path / "random.gguf", shape=shape, kind=request.param)
    return load(path, kv_type="f16", context_tokens=1024)


def noise(engine, seed, length):
    choose = random.Random(seed)
    ordinary = [token for token in range(engine.info.vocab_size) if engine.token_bytes(token)]
    return choose.choices(ordinary, k=length)


def generate(engine, tokens, *, hints=None, on_text=None, cancel=None, **options):
    """Eager guesses with ``hints``, none without; the last token of the prompt is always evaluated alone."""
    engine.prefill(tokens[:-1], 0)
    request = _native.Request()
    request.tokens, request.sequence, request.max_tokens = tokens, 0, 60
    request.draft = request.draft_eagerly = hints is not None
    request.hints = hints or []
    request.branching = 16
    for name, value in options.items():
        setattr(request, name, value)
    return engine.session.generate(request, on_text, cancel)


def said(done):
    others = [(other.position, other.token, other.logprob) for other in done.runners_up]
    return done.text, done.finish, done.token_ids, done.logprobs, others


def mixed(tokens, seed):
    """What will come, in pieces, with a wrong token here and there."""
    choose = random.Random(seed)
    spoilt = [token if choose.random() < 0.85 else choose.choice(tokens) for token in tokens]
    return [spoilt[start : start + 25] for start in range(0, len(spoilt), 20)]


def assert_held(engine, tokens, done):
    """The history is the prompt and what was generated, and the cache holds just that: it goes on the same."""
    held = engine.history(0)
    assert held == (*tokens, *done.token_ids)[: len(held)]
    assert len(held) >= len(tokens) + len(done.token_ids) - 1


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_what_is_said_is_what_is_said_without_guesses(engine, length):
    """Tokens and every bit of their logprobs, whether the guesses are right, wrong or mixed."""
    for seed in range(4):
        tokens = noise(engine, seed, length)
        plain = generate(engine, tokens)
        for hints in ([plain.token_ids], mixed(plain.token_ids, seed), [noise(engine, seed + 9, 300)], []):
            drafted = generate(engine, tokens, hints=hints)
            assert said(drafted) == said(plain)
            assert_held(engine, tokens, drafted)
            assert drafted.accepted <= drafted.drafted


def test_right_guesses_save_passes(engine):
    """Once each size of batch was looked at, at most a third of the passes are left."""
    tokens = noise(engine, 1, SHORT)
    plain = generate(engine, tokens, max_tokens=120, ignore_end_tokens=True)
    assert plain.passes == 119
    for _ in range(8):
        drafted = generate(engine, tokens, hints=[plain.token_ids], max_tokens=120, ignore_end_tokens=True)
    assert drafted.passes < plain.passes / 3
    assert drafted.accepted > plain.passes / 2
    assert said(drafted) == said(plain)


def test_every_size_of_batch(engine):
    """Hints of every length, so that every size is tried, before and after it is trusted."""
    tokens = noise(engine, 2, SHORT)
    plain = generate(engine, tokens)
    for length in (*range(3, 22), *range(3, 22)):
        assert said(generate(engine, tokens, hints=[plain.token_ids[: 2 + length]])) == said(plain)


def test_wrong_guesses_leave_nothing_behind(engine):
    """Prompts that share beginnings, in any order, with guesses and then without from what is in the cache."""
    choose = random.Random(3)
    base = noise(engine, 5, 200)
    hints = []
    for _ in range(30):
        tokens = base[: choose.choice([50, 120, 200])]
        drafted = generate(engine, tokens, hints=hints, max_tokens=25)
        plain = generate(engine, tokens, max_tokens=25)
        assert said(drafted) == said(plain)
        hints = mixed(plain.token_ids, choose.randrange(9))


def test_text_that_was_generated_is_found_again(engine):
    """The prompt of the next keystroke holds what was generated: it is in the cache but for its last token."""
    tokens = noise(engine, 6, SHORT)
    plain = generate(engine, tokens)
    drafted = generate(engine, tokens, hints=[plain.token_ids])
    assert engine.reusable([*tokens, *drafted.token_ids]) >= len(tokens) + len(drafted.token_ids) - 1
    again = generate(engine, [*tokens, *drafted.token_ids], max_tokens=5)
    assert again.evaluated <= 1
    engine.clear(0)
    generate(engine, tokens)
    assert generate(engine, [*tokens, *drafted.token_ids], max_tokens=5).token_ids == again.token_ids


@pytest.fixture
def plain_model(load, models):
    return load(models.random, kv_type="f16")


def test_limits_and_ends_are_those_without_guesses(plain_model):
    """Stop strings, stop tokens, forced bytes and the number of tokens, at every place."""
    engine = plain_model
    tokens = noise(engine, 7, SHORT)
    free = generate(engine, tokens, ignore_end_tokens=True)
    texts = [engine.token_bytes(token).decode("latin-1") for token in free.token_ids]
    for at in range(0, 40, 3):
        piece = "".join(texts[at : at + 2])
        for options in (
            {"max_tokens": at},
            {"stop_tokens": [free.token_ids[at]]},
            {"stop": [piece] if piece.isascii() else []},
            {"forced": b"return "[: at % 7], "max_tokens": 30},
            {"least_logprob": -1.0 - at / 10},
        ):
            plain = generate(engine, tokens, **options)
            for hints in ([free.token_ids], [plain.token_ids], mixed(free.token_ids, at)):
                drafted = generate(engine, tokens, hints=hints, **options)
                assert said(drafted) == said(plain)
                assert_held(engine, tokens, drafted)


def test_the_end_of_the_context(load, models):
    engine = load(models.random, kv_type="f16", context_tokens=96)
    tokens = noise(engine, 8, SHORT)
    plain = generate(engine, tokens, ignore_end_tokens=True)
    assert plain.finish == _native.Finish.length
    assert len(plain.token_ids) < 60
    for _ in range(3):
        drafted = generate(engine, tokens, hints=[plain.token_ids], ignore_end_tokens=True)
        assert said(drafted) == said(plain)
        assert len(engine.history(0)) <= 96


def test_the_reader_gets_the_same_pieces_and_can_end_it_at_each(plain_model):
    engine = plain_model
    tokens = noise(engine, 9, SHORT)

    def streamed(enough_after, hints):
        deltas = []
        done = generate(engine, tokens, hints=hints, on_text=lambda d: deltas.append(d) or len(deltas) < enough_after)
        return deltas, done

    everything, free = streamed(1000, None)
    for count in range(1, len(everything), 5):
        plain_deltas, plain = streamed(count, None)
        for hints in ([free.token_ids], mixed(free.token_ids, count)):
            deltas, drafted = streamed(count, hints)
            assert deltas == plain_deltas
            assert said(drafted) == said(plain)
            assert_held(engine, tokens, drafted)


def test_a_cancel_between_guessed_tokens_ends_it_there(plain_model):
    engine = plain_model
    tokens = noise(engine, 10, SHORT)
    free = generate(engine, tokens)
    for _ in range(4):
        for stop_after in (3, 8, 15):
            cancel, deltas = engine.new_cancel_token(), []

            def reader(delta, cancel=cancel, deltas=deltas, stop_after=stop_after):
                deltas.append(delta)
                if len(deltas) == stop_after:
                    cancel.cancel()
                return True

            done = generate(engine, tokens, hints=[free.token_ids], on_text=reader, cancel=cancel)
            assert done.finish == _native.Finish.cancelled
            assert len(deltas) == stop_after
            assert done.token_ids == free.token_ids[: len(done.token_ids)]
            assert_held(engine, tokens, done)


def test_what_a_reader_raises_leaves_a_cache_that_is_right(plain_model):
    engine = plain_model
    tokens = noise(engine, 11, SHORT)
    free = generate(engine, tokens)

    def reader(_delta):
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            generate(engine, tokens, hints=[free.token_ids], on_text=reader)
        assert said(generate(engine, tokens)) == said(free)


def test_without_flash_attention_nothing_is_said_that_differs(load, models):
    """Products with a cache in single precision differ by the size of the batch: such sizes are not used again."""
    engine = load(models.random, kv_type="f32")
    tokens = noise(engine, 12, SHORT)
    plain = generate(engine, tokens)
    for _ in range(4):
        assert said(generate(engine, tokens, hints=[plain.token_ids])) == said(plain)


@pytest.mark.parametrize("options", [{"temperature": 1.0, "seed": 3}, {"draft": False}])
def test_nothing_is_guessed_where_it_may_not_be(plain_model, options):
    tokens = noise(plain_model, 13, SHORT)
    first = generate(plain_model, tokens, **{"draft": False, **options})
    done = generate(plain_model, tokens, hints=[first.token_ids], **options)
    assert (done.drafted, done.token_ids) == (0, first.token_ids)


def test_nothing_is_guessed_for_a_recurrent_model(load, models):
    engine = load(models.recurrent)
    tokens = noise(engine, 14, SHORT)
    first = generate(engine, tokens)
    done = generate(engine, tokens, hints=[first.token_ids])
    assert (done.drafted, done.token_ids) == (0, first.token_ids)


def test_guesses_come_from_the_prompt_and_from_what_was_generated(load, models):
    """A model that goes round in a circle: nothing but its own words to guess from."""
    engine = load(models.chain(b"a", b"b", b"c", b"d", b"e", loop=True), kv_type="f16")
    tokens = [*engine.tokenize("x"), engine.special("<|fim_middle|>")]
    for _ in range(8):
        done = generate(engine, tokens, hints=[], max_tokens=200)
    assert done.text == "abcde" * 40
    assert done.passes < 60


def test_drafting_by_its_own_judgement_says_the_same(load, models):
    """As requests ask for it: how often it drafts depends on the machine, what it says does not."""
    engine = load(models.random, kv_type="f16")
    for seed in range(5):
        tokens = noise(engine, seed, LONG - 200)
        engine.prefill(tokens)
        hints = [engine.generate(GenerateRequest(tokens=tokens, max_tokens=60, draft=False)).token_ids]
        for _ in range(3):
            on, off = (
                engine.generate(GenerateRequest(tokens=tokens, max_tokens=60, draft=draft, hints=hints))
                for draft in (True, False)
            )
            assert (on.text, on.token_ids, on.logprobs) == (off.text, off.token_ids, off.logprobs)
            assert off.tokens.drafted == 0


def test_runners_up_are_the_next_likeliest_tokens(plain_model):
    engine = plain_model
    tokens = noise(engine, 15, SHORT)
    engine.prefill(tokens)
    done = engine.generate(GenerateRequest(tokens=tokens, max_tokens=1, branching=1))
    scored = {}
    for byte in range(256):
        step = engine.generate(GenerateRequest(tokens=tokens, max_tokens=1, forced=bytes([byte])))
        scored[step.token_ids[0]] = step.logprobs[0]
    logprobs = [other.logprob for other in done.runners_up]
    assert len(done.runners_up) == 4
    assert logprobs == sorted(logprobs, reverse=True)
    assert logprobs[0] <= done.logprobs[0]
    assert done.token_ids[0] not in {other.token for other in done.runners_up}
    assert {other.position for other in done.runners_up} == {0}
    # The likeliest of each first byte is among the best of all, or there are four better ones.
    others = sorted((value for token, value in scored.items() if token != done.token_ids[0]), reverse=True)
    assert all(value <= logprobs[-1] + 1e-6 or value in map(pytest.approx, logprobs) for value in others[:8])


def test_runners_up_come_after_forced_bytes(plain_model):
    engine = plain_model
    tokens = noise(engine, 16, SHORT)
    forced = engine.generate(GenerateRequest(tokens=tokens, max_tokens=3, forced=b"x", branching=1))
    first = forced.token_ids[0]
    after = engine.generate(GenerateRequest(tokens=[*tokens, first], max_tokens=1, branching=1))
    assert {other.position for other in forced.runners_up} == {1}
    assert [other[1:] for other in forced.runners_up] == [other[1:] for other in after.runners_up]


def test_runners_up_are_noted_only_when_asked_for_and_to_the_end(plain_model):
    engine = plain_model
    tokens = noise(engine, 17, SHORT)
    for branching, positions in ((0, []), (3, [0, 1, 2]), (9, [0, 1, 2, 3, 4])):
        done = engine.generate(GenerateRequest(tokens=tokens, max_tokens=5, branching=branching))
        assert sorted({other.position for other in done.runners_up}) == positions
    assert engine.generate(GenerateRequest(tokens=tokens, max_tokens=0, branching=9)).runners_up == ()


def test_a_text_goes_on_from_where_another_token_could_have_come(plain_model):
    """Each of them gets the score that it was said to have."""
    engine = plain_model
    tokens = noise(engine, 18, SHORT)
    first = engine.generate(GenerateRequest(tokens=tokens, max_tokens=6, branching=6))
    for other in first.runners_up:
        begun = [*tokens, *first.token_ids[: other.position]]
        wanted = engine.token_bytes(other.token)
        step = engine.generate(GenerateRequest(tokens=begun, max_tokens=1, forced=wanted, draft=False))
        if step.token_ids == (other.token,):
            assert step.logprobs[0] == pytest.approx(other.logprob, abs=1e-4)
