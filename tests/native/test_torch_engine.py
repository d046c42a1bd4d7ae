"""What the torch engine has beside the contract: hub folders, stretched positions, guesses, small weights."""

from __future__ import annotations

import json

import pytest
from support import tiny_gguf, training

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from coder_lsp.engine.base import EngineOptions, GenerateRequest  # noqa: E402
from coder_lsp.engine.torch_cuda.shape import Rope  # noqa: E402
from coder_lsp.errors import EngineError, ModelCorrupt, ModelNotFound, ModelUnsupported, OutOfMemory  # noqa: E402

CODE = "def f(self):\n    return self.x\n"


@pytest.fixture
def load(load_torch):
    return load_torch


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
