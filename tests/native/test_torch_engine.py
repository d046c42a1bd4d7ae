"""What the torch engine has beside the contract: hub folders, stretched positions, guesses, small weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from support import tiny_gguf, training

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from coder_lsp.engine.base import EngineOptions, GenerateRequest  # noqa: E402
from coder_lsp.engine.torch_cuda import linear  # noqa: E402
from coder_lsp.engine.torch_cuda.engine import TorchEngine  # noqa: E402
from coder_lsp.engine.torch_cuda.shape import Rope  # noqa: E402
from coder_lsp.errors import EngineError, ModelCorrupt, ModelNotFound, ModelUnsupported, OutOfMemory  # noqa: E402
from coder_lsp.types import Adapter  # noqa: E402

OPTIONS = EngineOptions(context_tokens=256, sequences=2, device="cpu", kv_type="f32")
CODE = "def f(self):\n    return self.x\n"


@pytest.fixture
def load():
    """``load(path, **options)``: an engine that is closed when the test ends."""
    engines = []

    def load(path, **changes):
        engine = TorchEngine.load(path, EngineOptions(**{**vars(OPTIONS), **changes}))
        engines.append(engine)
        return engine

    yield load
    for engine in engines:
        engine.close()


def transformers_says(folder, tokens, count):
    """Greedy, by transformers itself, which stops at its end token."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        said = model.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )
    return said[0, len(tokens) :].tolist()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
        ("mistral", {"sliding_window": None}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0}}),
    ],
)
def test_a_hub_folder_says_what_transformers_says(tmp_path, load, kind, config):
    folder = training.hub_base(tmp_path / "model", model_type=kind, **config)
    engine = load(folder)
    tokens = engine.tokenize(CODE * 3)
    expected = transformers_says(folder, tokens, 24)
    said = engine.generate(GenerateRequest(tokens, max_tokens=24, draft=False)).token_ids
    assert list(said) == [token for token in expected if token not in engine.end_tokens]
    assert len(said) > 4
    assert engine.info.architecture == kind


def test_a_folders_special_tokens_are_no_text(tmp_path, load):
    engine = load(training.hub_base(tmp_path / "model"))
    assert engine.special("<|fim_middle|>") is not None
    tokens = engine.tokenize("<|fim_middle|>")
    assert engine.special("<|fim_middle|>") not in tokens
    assert b"".join(map(engine.token_bytes, tokens)) == b"<|fim_middle|>"


@pytest.mark.parametrize(
    ("scaling", "original"),
    [
        ({"rope_type": "default"}, 512),
        ({"rope_type": "linear", "factor": 4.0}, 512),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            131_072,
        ),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, 131_072),
    ],
)
def test_positions_turn_as_in_transformers(scaling, original):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = scaling | {"rope_theta": 1e6}
    config = transformers.LlamaConfig(
        hidden_size=512, num_attention_heads=4, max_position_embeddings=original, rope_parameters=scaling
    )
    found, factor = Rope(1e6, 128, original, scaling).frequencies()
    if scaling["rope_type"] == "default":
        expected, expected_factor = 1e6 ** -(torch.arange(0, 128, 2) / 128), 1.0
    else:
        expected, expected_factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, torch.device("cpu"))
    assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert factor == pytest.approx(expected_factor)


def test_a_way_to_stretch_positions_that_is_not_known_is_refused(tmp_path, load):
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    folder = training.hub_base(tmp_path / "model", model_type="llama", rope_parameters=scaling)
    with pytest.raises(ModelUnsupported, match="dynamic"):
        load(folder)


def test_a_stretched_model_has_its_whole_window(tmp_path, load):
    """16K windows come from the configuration alone; here 2,048 of a model that was stretched four times."""
    scaling = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}
    folder = training.hub_base(tmp_path / "model", model_type="llama", rope_parameters=scaling)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    engine = load(folder, context_tokens=0, sequences=1)
    assert engine.options.context_tokens == 2048
    tokens = engine.tokenize("x = 1\n" * 330)
    done = engine.generate(GenerateRequest(tokens, max_tokens=8, draft=False))
    assert list(done.token_ids) == transformers_says(folder, tokens, 8)[: len(done.token_ids)]


@pytest.mark.parametrize("kind", ["no config", "no weights", "pickled", "cut off", "outside", "quantised", "other"])
def test_a_folder_that_is_no_model_is_refused(tmp_path, load, kind):
    folder = training.hub_base(tmp_path / "model")
    weights, config = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
    wanted, said = ModelNotFound, ""
    if kind == "no config":
        (folder / "config.json").unlink()
        said = "config.json"
    elif kind == "no weights":
        weights.unlink()
        said = "safetensors"
    elif kind == "pickled":
        weights.rename(folder / "pytorch_model.bin")
        said = "can run code"
    elif kind == "cut off":
        weights.write_bytes(weights.read_bytes()[:-1000])
        wanted = ModelCorrupt
    elif kind == "outside":
        index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        wanted, said = ModelCorrupt, "outside"
    elif kind == "quantised":
        (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
        wanted = ModelUnsupported
    else:
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
        wanted, said = ModelUnsupported, "mamba"
    with pytest.raises(wanted) as caught:
        load(folder)
    assert caught.value.hint
    assert said in str(caught.value)


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_read(models, load):
    with pytest.raises(OutOfMemory, match="cache") as caught:
        load(models.random, context_tokens=1024, sequences=100_000_000)
    assert "engine.sequences" in caught.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["auto", "cuda:0", "nowhere", "meta"])
def test_a_device_that_is_not_there_is_named(models, load, device):
    with pytest.raises(EngineError) as caught:
        load(models.random, device=device)
    assert "engine" in caught.value.hint


def test_a_file_that_torch_cannot_run_says_who_can(models, load):
    with pytest.raises(ModelUnsupported, match=r"mamba|attention") as caught:
        load(models.recurrent)
    assert "llama" in caught.value.hint


def test_biases_and_their_rows_are_read_from_gguf(tmp_path, load):
    """Against the native engine, of an architecture whose files keep their rows as they are."""
    from coder_lsp.engine.llama import LlamaEngine

    path = tiny_gguf.write_random(tmp_path / "qwen2.gguf", architecture="qwen2")
    engine = load(path)
    native = LlamaEngine.load(path, EngineOptions(context_tokens=256, sequences=1, threads=1, kv_type="f32"))
    try:
        request = GenerateRequest(engine.tokenize(CODE * 3), max_tokens=24, draft=False)
        expected = native.generate(request)
        found = engine.generate(request)
    finally:
        native.close()
    assert found.token_ids == expected.token_ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


# Adapters, against the native engine


@pytest.fixture
def native(models):
    """``native(*adapters)``: what the native engine says under these."""
    from coder_lsp.engine.llama import LlamaEngine

    options = EngineOptions(context_tokens=256, sequences=1, threads=1, kv_type="f32")
    engine = LlamaEngine.load(models.random, options)

    def says(*adapters):
        engine.adapt(adapters)
        return engine.generate(GenerateRequest(engine.tokenize(CODE * 3), max_tokens=16, draft=False))

    yield says
    engine.close()


def says(engine, *adapters, **options):
    engine.adapt(adapters)
    return engine.generate(GenerateRequest(engine.tokenize(CODE * 3), max_tokens=16, draft=False, **options))


def test_adapters_add_up_as_in_the_native_engine(models, load, native):
    engine = load(models.random)
    one, two = Adapter(str(models.lora), 0.7), Adapter(str(models.other_lora(2)), -0.4)
    for adapters in ((one,), (one, two), (two,), (), (one, one)):
        expected, found = native(*adapters), says(engine, *adapters)
        assert found.token_ids == expected.token_ids
        assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


def write_lora_of(path, names, shape, seed=3):
    """A GGUF adapter of rank 2 over matrices of the first layer."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 6.0)
    kv = shape.width // shape.heads * shape.kv_heads
    rows = {"attn_q": shape.width, "attn_k": kv, "attn_v": kv, "ffn_gate": shape.inner, "ffn_down": shape.width}
    for name in names:
        columns = shape.inner if name == "ffn_down" else shape.width
        writer.add_tensor(f"blk.0.{name}.weight.lora_a", random.normal(0, 0.3, (2, columns)).astype(np.float32))
        writer.add_tensor(f"blk.0.{name}.weight.lora_b", random.normal(0, 0.3, (rows[name], 2)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Adapter(str(path))


@pytest.mark.parametrize("names", [("attn_q",), ("attn_k",), ("attn_v", "ffn_gate"), ("attn_q", "attn_k", "ffn_down")])
def test_an_adapter_finds_its_rows_in_joined_matrices(models, load, native, tmp_path, names):
    """Queries, keys and values are one product here, and a Llama's file has their rows in another order."""
    adapter = write_lora_of(tmp_path / "lora.gguf", names, tiny_gguf.Shape())
    expected, found = native(adapter), says(load(models.random), adapter)
    assert found.token_ids == expected.token_ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert found.logprobs != pytest.approx(native().logprobs[: len(found.logprobs)], abs=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's and transformers' of each other
def test_a_folder_of_peft_is_the_same_as_merging_it(tmp_path, load):
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install 'coder-lsp[train]'")
    folder = training.hub_base(tmp_path / "model", model_type="llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=9,
        use_rslora=True,
        rank_pattern={"o_proj": 2},
        alpha_pattern={"up_proj": 3},
        target_modules=targets,
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_bytes((folder / name).read_bytes())
    expected = says(load(tmp_path / "merged"))
    found = says(load(folder), Adapter(str(tmp_path / "adapter")))
    assert found.token_ids == expected.token_ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


@pytest.mark.parametrize("kind", ["shape", "architecture", "model", "cut off", "not there", "no peft", "dora"])
def test_an_adapter_that_cannot_be_used_leaves_all_as_it_was(models, load, tmp_path, kind):
    path, wanted = tmp_path / "adapter.gguf", ModelUnsupported
    if kind == "shape":
        tiny_gguf.write_lora(path, tiny_gguf.Shape(width=96))
    elif kind == "architecture":
        tiny_gguf.write_lora(path, architecture="qwen2")
    elif kind == "model":
        path = models.random
    elif kind == "cut off":
        path.write_bytes(models.lora.read_bytes()[:-500])
        wanted = ModelCorrupt
    elif kind == "not there":
        wanted = ModelNotFound
    elif kind == "no peft":
        path = tmp_path
        wanted = ModelNotFound
    else:
        path = tmp_path
        (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "use_dora": True}))
        safetensors.save_file({"x": torch.zeros(1)}, path / "adapter_model.safetensors")
    engine = load(models.random)
    before = says(engine, Adapter(str(models.lora)))
    with pytest.raises(wanted) as caught:
        engine.adapt([Adapter(str(path))])
    assert str(path) in caught.value.message
    assert caught.value.hint
    again = engine.generate(GenerateRequest(engine.tokenize(CODE * 3), max_tokens=16, draft=False))
    assert again.token_ids == before.token_ids
    assert again.tokens.reused >= again.tokens.prompt - 1


def test_a_saved_state_belongs_to_its_adapter(models, load):
    engine = load(models.random)
    one = Adapter(str(models.lora), 1.0, "1")
    tokens = engine.tokenize(CODE)
    engine.adapt([one])
    engine.prefill(tokens, 0)
    state = engine.sequence_state(0)
    for others in ((), (Adapter(one.path, 0.5, "1"),), (Adapter(one.path, 1.0, "2"),)):
        engine.adapt(others)
        assert not engine.restore_sequence(1, tokens, state)
    engine.adapt([one])
    assert engine.restore_sequence(1, tokens, state)


def test_a_saved_state_belongs_to_its_model(models, load, tmp_path):
    engine = load(models.random)
    tokens = engine.tokenize(CODE)
    engine.prefill(tokens, 0)
    state = engine.sequence_state(0)
    for other in (
        load(tiny_gguf.write_random(tmp_path / "qwen2.gguf", architecture="qwen2")),
        load(models.random, precision="bf16"),
    ):
        assert not other.restore_sequence(0, tokens, state)
        assert other.history(0) == ()


# Guesses


def test_guesses_change_no_text(models, load):
    """Hints that are right, half right and wrong; the plain text is the measure."""
    engine = load(models.random)
    for text in (CODE * 3, "x = 1\n" * 8, "return self\n\n"):
        tokens = engine.tokenize(text)
        plain = engine.generate(GenerateRequest(tokens, max_tokens=40, draft=False))
        ids = plain.token_ids
        for hints in ([ids], [ids[:7] + ids[9:]], [ids[::-1]], []):
            engine.clear(plain.sequence)
            found = engine.generate(GenerateRequest(tokens, max_tokens=40, hints=hints))
            assert found.token_ids == ids
            assert found.logprobs == pytest.approx(plain.logprobs, abs=1e-3)
        engine.clear(plain.sequence)


def test_right_guesses_save_passes(models, load):
    engine = load(models.chain(b"a", b"b", b"c", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    done = engine.generate(GenerateRequest(tokens, max_tokens=60))
    assert done.text == "abc" * 20
    assert done.tokens.accepted > 40
    assert done.tokens.passes < 20


def test_what_was_guessed_behind_the_end_is_not_held(models, load):
    engine = load(models.chain(b"a", b"b", b"c", b"\n", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    done = engine.generate(GenerateRequest(tokens, max_tokens=60, stop=("\nab",)))
    held = engine.history(done.sequence)
    assert held == (*tokens, *done.token_ids)[: len(held)]
    assert engine.generate(GenerateRequest([*tokens, *done.token_ids], max_tokens=4)).tokens.evaluated <= 1


def test_a_close_choice_is_made_alone(models, load, monkeypatch):
    """Where sums in another order could decide, the token is evaluated by itself; here that is everywhere."""
    from coder_lsp.engine.torch_cuda import engine as module

    engine = load(models.random)
    tokens = engine.tokenize(CODE * 3)
    plain = engine.generate(GenerateRequest(tokens, max_tokens=24, draft=False))
    engine.clear(plain.sequence)
    monkeypatch.setattr(module, "CLOSE", dict.fromkeys(module.CLOSE, 1e9))
    found = engine.generate(GenerateRequest(tokens, max_tokens=24, hints=[plain.token_ids]))
    assert (found.token_ids, found.logprobs) == (plain.token_ids, plain.logprobs)
    assert found.tokens.drafted > found.tokens.accepted == 0


# Several at once


def test_texts_at_once_say_what_each_says_alone(models, load):
    """Of different lengths, one by chance, one that is forced, one that ends early."""
    engine = load(models.random, sequences=4)
    requests = [
        GenerateRequest(engine.tokenize(CODE * 3), max_tokens=20),
        GenerateRequest(engine.tokenize("x = 1\n"), max_tokens=9, temperature=1.0, seed=7),
        GenerateRequest(engine.tokenize("return self\n" * 8), max_tokens=20, forced=b"se"),
        GenerateRequest(engine.tokenize("for i in"), max_tokens=1),
    ]
    alone = []
    for number, request in enumerate(requests):
        alone.append(engine.generate(replace(request, sequence=number, draft=False)))
        engine.clear(number)
    deltas = [[] for _ in requests]
    together = engine.generate_many(requests, [lambda delta, to=to: to.append(delta) or True for to in deltas])
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    assert [each.text for each in together] == [each.text for each in alone]
    assert ["".join(each) for each in deltas] == [each.text for each in alone]
    assert sorted(each.sequence for each in together) == [0, 1, 2, 3]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        held = engine.history(one.sequence)
        assert held == (*requests[together.index(one)].tokens, *one.token_ids)[: len(held)]


def test_what_is_cancelled_of_several_ends_alone(models, load):
    engine = load(models.chain(b"a", b"b", b"c", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    requests = [GenerateRequest([*engine.tokenize(text), *tokens], max_tokens=12) for text in ("", "\n")]
    cancel = engine.new_cancel_token()

    def reader(delta):
        if "c" in delta:
            cancel.cancel()
        return True

    first, second = engine.generate_many(requests, [reader, None], [cancel, None])
    assert (first.text, first.finish_reason.value) == ("abc", "cancelled")
    assert (second.text, second.finish_reason.value) == ("abc" * 4, "length")


def test_more_texts_than_sequences_are_refused(models, load):
    engine = load(models.random)
    with pytest.raises(EngineError, match="3 texts at once") as caught:
        engine.generate_many([GenerateRequest([1])] * 3)
    assert "engine.sequences" in caught.value.hint


# Small weights


@pytest.mark.parametrize(("quantise", "share"), [("int8", 0.30), ("int4", 0.20)])
def test_small_weights_take_less(tmp_path, load, quantise, share):
    """``share`` of the bytes of the matrices in single precision."""
    shape = tiny_gguf.Shape(width=256, inner=512)
    path = tiny_gguf.write_random(tmp_path / "wide.gguf", shape=shape)
    whole, small = load(path), load(path, quantise=quantise)
    assert small.options.quantise == quantise
    matrices = {engine: sum(_bytes(block) for block in engine.runner.decoder.blocks) for engine in (whole, small)}
    assert matrices[small] < share * matrices[whole]
    assert says(small).text
    assert quantise in small.reason


def test_eight_bits_say_about_the_same(tmp_path, load):
    path = tiny_gguf.write_random(tmp_path / "wide.gguf", shape=tiny_gguf.Shape(width=256, inner=512))
    expected, found = says(load(path)), says(load(path, quantise="int8"))
    assert found.token_ids[0] == expected.token_ids[0]
    assert found.logprobs[0] == pytest.approx(expected.logprobs[0], abs=0.15)


@pytest.mark.parametrize(("kind", "steps"), [("int8", 254), ("int4", 15)])
def test_small_weights_are_rounded_and_nothing_else(kind, steps):
    """A weight is at most half a step away; the product is that of the rounded weights."""
    torch.manual_seed(0)
    weight, x = torch.randn(24, 512), torch.randn(3, 512)
    small = linear.kernel(weight, kind, torch.float32)
    rounded = small(torch.eye(512)).T
    groups = weight.reshape(24, -1, linear.GROUP if kind == "int4" else 512)
    reach = 2 * groups.abs().amax(2) if kind == "int8" else groups.amax(2) - groups.amin(2)
    step = (reach / steps).repeat_interleave(groups.shape[2], 1)
    assert ((rounded - weight).abs() <= step / 2 + 1e-5).all()
    assert torch.allclose(small(x), x @ rounded.T, atol=1e-4)


def test_four_bits_need_whole_groups():
    """Rows that are none are kept in eight."""
    assert isinstance(linear.kernel(torch.randn(4, 320), "int4", torch.float32), linear.Int8)


def _bytes(module):
    return sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_runs_on_the_processor_too(models, load, precision):
    engine = load(models.random, precision=precision)
    assert engine.options.precision == precision
    assert "".join(engine.reason.split()[-1:]) == precision
    assert says(engine).tokens.generated == 16


# What CUDA devices do, as far as a processor can tell


def test_steps_of_fixed_sizes_say_the_same(models, load, monkeypatch):
    """On CUDA steps have 1, 4, 8 or 16 tokens and look at 512, 1,024 … cells, whatever is asked for."""
    engine = load(models.random, context_tokens=1000)
    tokens = engine.tokenize(CODE * 3)
    plain = engine.generate(GenerateRequest(tokens, max_tokens=40, draft=False))
    engine.clear(plain.sequence)
    runner, seen = engine.runner, set()

    def captured(given, sequence, cells):
        seen.add((given.shape[2], cells))
        return runner._plain(given, sequence, cells)

    monkeypatch.setattr(runner, "captures", True)
    monkeypatch.setattr(runner, "_captured", captured)
    monkeypatch.setattr(runner, "wait", lambda: None)
    assert runner.buckets() == [512, 1016]
    for hints in ([], [plain.token_ids], [plain.token_ids[:9] + plain.token_ids[10:]]):
        found = engine.generate(GenerateRequest(tokens, max_tokens=40, hints=hints))
        assert found.token_ids == plain.token_ids
        engine.clear(found.sequence)
    assert {cells for _, cells in seen} == {512}
    assert {1, 8} <= {count for count, _ in seen} <= {1, 4, 8, 16}


def test_the_last_cells_of_a_context_have_room_for_a_whole_step(models, load, monkeypatch):
    """A step is rounded up; behind the context there are cells for what is too much."""
    engine = load(models.chain(b"a", b"b", b"c", loop=True), context_tokens=64)
    tokens = [*engine.tokenize("#" * 40)[:40], engine.special("<|fim_middle|>")]
    runner = engine.runner
    monkeypatch.setattr(runner, "captures", True)
    monkeypatch.setattr(runner, "_captured", runner._plain)
    monkeypatch.setattr(runner, "wait", lambda: None)
    done = engine.generate(GenerateRequest(tokens, max_tokens=100))
    assert done.tokens.generated == 64 - 41
    assert done.text == ("abc" * 10)[:23]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of its own functions
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for the processor needs g++")
def test_a_compiled_step_computes_the_same_and_blocks_share_their_code(tmp_path, load):
    """As CUDA devices get it, but for the processor: one compilation for all blocks and sequences."""
    from torch._dynamo.utils import counters

    from coder_lsp.engine.torch_cuda import runner as module
    from coder_lsp.engine.torch_cuda.decoder import Sight, attend, attend_by_sums

    path = tiny_gguf.write_random(tmp_path / "deep.gguf", shape=tiny_gguf.Shape(layers=4))
    runner = load(path).runner
    runner.slice(0, list(range(30)), 0, last=False)
    runner.slice(1, list(range(50, 80)), 0, last=False)
    block, decide = module.compiled_parts()
    counters.clear()
    with torch.no_grad():
        ids, positions = torch.tensor([[[65]], [[30]]])
        mask = module._mask(positions, 128)
        for sequence in (0, 1):
            where = {"sequence": sequence, "cells": 128}
            stream = runner._blocks(ids, positions, **where, sight=Sight(attend_by_sums, mask), call=block)
            found, _ = decide(runner.decoder, *stream)
            # Written where the cache is, and nowhere else.
            written = [layer[sequence, :, 30].clone() for layer in runner.cache.keys]
            assert all(layer[sequence, :, 31:].abs().sum() == 0 for layer in runner.cache.keys)
            plain = runner._blocks(ids, positions, **where, sight=Sight(attend, mask))
            expected, _ = module._decided(runner.decoder.scores(*plain))
            assert torch.allclose(found, expected, atol=1e-4)
            for layer, cell in zip(runner.cache.keys, written, strict=True):
                assert torch.allclose(layer[sequence, :, 30], cell, atol=1e-4)
    assert counters["stats"]["unique_graphs"] == 2


# Stretched positions in GGUF files, against the native engine


def stretched(source, target, kind):
    """The same model, its positions stretched four times."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for key, entry in reader.fields.items():
        if key.startswith("GGUF.") or key in {"general.architecture", "llama.context_length"}:
            continue
        inner = entry.types[-1] if entry.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, entry.contents(), entry.types[0], inner)
    writer.add_context_length(1024)
    writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(256)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_stretched_positions_of_a_file_are_those_of_the_native_engine(models, load, tmp_path, kind):
    from coder_lsp.engine.llama import LlamaEngine

    path = stretched(models.random, tmp_path / f"{kind}.gguf", kind)
    plain, engine = load(models.random), load(path)
    request = GenerateRequest(engine.tokenize(CODE * 8), max_tokens=12, draft=False)
    native = LlamaEngine.load(path, EngineOptions(context_tokens=256, sequences=1, threads=1, kv_type="f32"))
    try:
        expected = native.generate(request)
    finally:
        native.close()
    found = engine.generate(request)
    assert found.logprobs[0] == pytest.approx(expected.logprobs[0], abs=1e-3)
    assert found.token_ids == expected.token_ids
    assert found.logprobs != pytest.approx(plain.generate(request).logprobs[: len(found.logprobs)], abs=1e-3)
