"""What every engine does the same way with a model that has something to choose: chance, log-probabilities, adapters.

One tiny random model for all, which says text alone, since servers say nothing else. An engine joins by a factory that
makes one on it, with adapters at hand; what the native engine says is the measure for the others.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.model_server import RemoteSaying, absent

from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.errors import ModelNotFound
from coder_lsp.types import Adapter

OPTIONS = EngineOptions(context_tokens=256, sequences=2, threads=1, kv_type="f32", precision="f32")
CODE = "def f(self):\n    return self.x\n"
CHANCE = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": 12}
CLOSE = 0.02
"""Of a logprob: engines compute in other orders, and servers round."""


def llama(models, adapters):
    del adapters
    return LlamaEngine.load(models.ascii, OPTIONS)


def torch_cpu(models, adapters):
    del adapters
    pytest.importorskip("torch", reason="torch is not installed")
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    return TorchEngine.load(models.ascii, replace(OPTIONS, device="cpu"))


def remote(models, adapters):
    return RemoteSaying.connect("llama.cpp", models.ascii, adapters)


MAKERS = {"llama": llama, "torch": torch_cpu, "remote:llama.cpp": remote}


@pytest.fixture(params=MAKERS)
def engine(request, models):
    if (kind := request.param.partition(":")[2]) and (missing := absent(kind)):
        pytest.skip(missing)
    engine = MAKERS[request.param](models, [models.lora, models.other_lora(2)])
    yield engine
    engine.close()


@pytest.fixture
def reference(models):
    """What the native engine says."""
    engine = llama(models, [])

    def says(*adapters, **options):
        engine.adapt(adapters)
        return run(engine, **options)

    yield says
    engine.close()


def run(engine, text=CODE, **options):
    options.setdefault("max_tokens", 12)
    tokens = [*engine.tokenize(text), engine.special("<|fim_middle|>")]
    return engine.generate(GenerateRequest(tokens=tokens, **options))


def adapter(path, scale=1.0):
    return Adapter(str(path), scale, "1")


def test_greedy_text_is_the_native_engines(engine, reference):
    for text in (CODE, "x = 1\n", "def g():\n    return in self\n" * 3):
        assert run(engine, text).text == reference(text=text).text


def test_the_same_seed_says_the_same(engine):
    assert run(engine, seed=5, **CHANCE).text == run(engine, seed=5, **CHANCE).text


def test_other_seeds_say_other_things(engine):
    assert len({run(engine, seed=seed, **CHANCE).text for seed in range(6)}) > 3


def test_without_temperature_the_seed_does_not_matter(engine):
    assert len({run(engine, seed=seed).text for seed in range(3)}) == 1


def test_the_likeliest_alone_is_greedy(engine):
    greedy = run(engine).text
    assert run(engine, temperature=1.0, top_k=1, seed=3, max_tokens=12).text == greedy


def test_logprobs_are_the_native_engines(engine, reference):
    """Natural logarithms at temperature 1, one a token."""
    expected = reference().logprobs
    found = run(engine).logprobs
    assert len(found) == len(expected) > 4
    assert found == pytest.approx(expected, abs=CLOSE)


def test_logprobs_do_not_depend_on_what_narrows_the_choice(engine, reference):
    """They are of the model's distribution, before temperature, top-k and top-p."""
    found = run(engine, temperature=0.01, top_k=1, top_p=0.1, seed=1, max_tokens=4).logprobs
    assert found == pytest.approx(reference(max_tokens=4).logprobs, abs=CLOSE)


def test_an_adapter_lies_over_the_model_and_comes_off(engine, models, reference):
    one, two = adapter(models.lora), adapter(models.other_lora(2))
    base = reference().text
    expected = [reference(one).text, reference(two).text]
    assert len({base, *expected}) == 3
    found = []
    for adapters in ((one,), (two,), (), (one,)):
        engine.adapt(adapters)
        found.append(run(engine).text)
    assert found == [*expected, base, expected[0]]


def test_an_adapters_scale_counts(engine, models, reference):
    half, none = adapter(models.lora, 0.5), adapter(models.lora, 0.0)
    engine.adapt([half])
    assert run(engine).logprobs == pytest.approx(reference(half).logprobs, abs=CLOSE)
    engine.adapt([none])
    assert run(engine).text == reference().text


def test_what_was_computed_under_an_adapter_serves_no_other(engine, models):
    run(engine)
    engine.adapt([adapter(models.lora)])
    assert run(engine).tokens.reused == 0
    assert run(engine).tokens.evaluated <= 1


def test_an_adapter_that_is_not_there_changes_nothing(engine, models, tmp_path):
    engine.adapt([adapter(models.lora)])
    before = run(engine).text
    with pytest.raises(ModelNotFound):
        engine.adapt([adapter(tmp_path / "none.gguf")])
    assert run(engine).text == before
