"""LoRA adapters over the torch engine: what the native engine says with them, and peft's own folders."""

from __future__ import annotations

import json

import pytest
from support import tiny_gguf, training

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from coder_lsp.engine.base import EngineOptions, GenerateRequest  # noqa: E402
from coder_lsp.errors import ModelCorrupt, ModelNotFound, ModelUnsupported  # noqa: E402
from coder_lsp.types import Adapter  # noqa: E402

CODE = "def f(self):\n    return self.x\n"


@pytest.fixture
def load(load_torch):
    return load_torch


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
