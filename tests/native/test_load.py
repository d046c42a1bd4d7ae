"""Loading: options, adapters, progress, and a clear error for each way it can fail."""

from __future__ import annotations

import importlib.metadata
import os
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from support import tiny_gguf

from coder_lsp.engine import hardware
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine, MemoryNeed, check_version, resolve
from coder_lsp.errors import (
    EngineError,
    EngineVersionError,
    ModelCorrupt,
    ModelError,
    ModelNotFound,
    ModelUnsupported,
    OutOfMemory,
)

OPTIONS = EngineOptions(context_tokens=256, sequences=1, threads=1)


def generate(engine, text="def f(self):\n    return"):
    return engine.generate(GenerateRequest(tokens=engine.tokenize(text), max_tokens=12, sequence=0)).token_ids


def fails(path, error, match, options=OPTIONS):
    with pytest.raises(error, match=match) as caught:
        LlamaEngine.load(path, options)
    assert caught.value.hint
    assert str(path) in caught.value.message or path.name in caught.value.message
    return caught.value


def test_facts_come_from_the_file(load, models):
    engine = load(models.random)
    assert engine.name == "llama"
    assert "as configured" not in engine.reason
    assert engine.info.architecture == "llama"
    assert engine.info.vocab_size == len(tiny_gguf.bpe_tokens().texts)
    assert engine.info.train_context == 1024
    assert not engine.info.recurrent
    assert engine.info.path == str(models.random)


def test_options_are_resolved(load, models):
    engine = load(models.random, threads=0, threads_batch=0, slice_tokens=0)
    assert engine.options.threads == engine.options.threads_batch == hardware.cores().count
    assert engine.options.slice_tokens > 0
    assert hardware.cores().reason in engine.reason


def test_a_context_beyond_the_trained_one_is_narrowed(load, models):
    assert load(models.random, context_tokens=9999).options.context_tokens == 1024


@pytest.mark.parametrize("use_mmap", [True, False])
def test_with_and_without_mmap(load, models, use_mmap):
    assert generate(load(models.random, use_mmap=use_mmap)) == generate(load(models.random))


def test_progress_is_reported_up_to_one(models):
    seen = []
    LlamaEngine.load(models.random, OPTIONS, seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_what_progress_raises_ends_the_load(models):
    def progress(_fraction):
        raise ZeroDivisionError("given up")

    with pytest.raises(ZeroDivisionError, match="given up"):
        LlamaEngine.load(models.random, OPTIONS, progress)


def test_no_such_file(tmp_path):
    fails(tmp_path / "missing.gguf", ModelNotFound, "No such file")


def test_a_folder(tmp_path):
    fails(tmp_path, ModelError, r"[a-z]")


@pytest.mark.parametrize("content", [b"", b"GG", b"<html>not found</html>", b"ggjt" + bytes(100)])
def test_not_a_gguf(tmp_path, content):
    path = tmp_path / "page.gguf"
    path.write_bytes(content)
    fails(path, ModelCorrupt, "not a GGUF")


@pytest.mark.parametrize("kept", [4, 30, 2000, 0.5, 0.99, -1])
def test_truncated(models, tmp_path, kept):
    data = models.random.read_bytes()
    length = int(len(data) * kept) if isinstance(kept, float) else kept if kept > 0 else len(data) + kept
    path = tmp_path / "part.gguf"
    path.write_bytes(data[:length])
    fails(path, ModelCorrupt, "truncated")


@pytest.mark.parametrize("at", range(4, 200, 17))
def test_a_damaged_header_never_crashes(models, tmp_path, at):
    data = bytearray(models.random.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data)
    try:
        LlamaEngine.load(path, OPTIONS).close()
    except (ModelError, EngineError) as error:
        assert path.name in error.message  # noqa: PT017  (some of these are still readable)


@pytest.mark.parametrize("layers", [0, 513, 2**31])
def test_layers_that_no_model_has(models, tmp_path, layers):
    """llama.cpp ends the process over them. Found by the campaign gguf-model."""
    key = b"llama.block_count"
    data = bytearray(models.random.read_bytes())
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = layers.to_bytes(4, "little")
    path = tmp_path / "layers.gguf"
    path.write_bytes(data)
    fails(path, ModelCorrupt, f"a model of {layers} layers")


def test_a_vocabulary_with_a_token_twice(models, tmp_path):
    """llama.cpp ends the process over that, too. One bit of a file's vocabulary is enough."""
    data = models.random.read_bytes()
    path = tmp_path / "twice.gguf"
    path.write_bytes(data.replace(b"<|fim_prefix|>", b"<|fim_suffix|>", 1))
    fails(path, ModelCorrupt, "its vocabulary has a token twice")


def test_no_debugger_looks_at_a_process_that_ends(load, models):
    load(models.random)
    assert os.environ["GGML_NO_BACKTRACE"] == "1"


def test_unknown_architecture(models, tmp_path):
    path = tmp_path / "alien.gguf"
    path.write_bytes(models.random.read_bytes().replace(b"llama", b"alien"))
    error = fails(path, ModelUnsupported, "architecture")
    assert "alien" in error.message


def test_unknown_pre_tokenizer(models, tmp_path):
    path = tmp_path / "pre.gguf"
    path.write_bytes(models.random.read_bytes().replace(b"qwen2", b"qwen9"))
    fails(path, ModelUnsupported, "pre-tokenizer")


def test_a_gguf_without_a_model(models, tmp_path):
    fails(models.lora, ModelError, r"[a-z]")


def test_a_vocabulary_that_loses_text(tmp_path):
    tokens = tiny_gguf.Tokens("bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"], [3, 3, 3, 3, 1, 1], eos=3)
    tokens = tiny_gguf.Tokens(tokens.kind, tokens.texts, tokens.types, scores=[0.0] * 6, eos=3)
    path = tiny_gguf.write_random(tmp_path / "bert.gguf", tokens)
    fails(path, ModelUnsupported, "tokenizer")


def test_missing_tensors(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "empty.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fails(tmp_path / "empty.gguf", ModelCorrupt, "cannot be loaded")


def test_more_memory_than_there_is(models, monkeypatch):
    monkeypatch.setattr(hardware, "memory", lambda: hardware.Memory(2**20, 2**21, "cgroup memory limit"))
    error = fails(models.random, OutOfMemory, "GiB")
    assert "cgroup memory limit" in error.message
    assert "smaller model" in error.hint


def test_the_estimate_counts_weights_cache_and_compute(models):
    """Cache: 256 cells x 2 sequences x 2 layers x 2 heads x (16 + 16) x 2 bytes."""
    from coder_lsp.engine import _native

    facts = _native.inspect_gguf(str(models.random))
    options = EngineOptions(context_tokens=256, sequences=2, threads=1, slice_tokens=64)
    need = MemoryNeed.of(facts, options)
    assert need.weights == models.random.stat().st_size
    assert need.cache == 256 * 2 * 2 * 2 * 32 * 2
    assert need.total > need.weights + need.cache
    assert MemoryNeed.of(facts, EngineOptions(**{**vars(options), "kv_type": "f32"})).cache == 2 * need.cache


def test_another_llama_cpp_python_is_refused_before_anything_native_loads(tmp_path):
    """In a process of its own: metadata of another version comes first on the path."""
    info = tmp_path / "llama_cpp_python-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 0.0.1\n")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.errors import EngineVersionError
from pathlib import Path
try:
    LlamaEngine.load(Path("x.gguf"), EngineOptions())
except EngineVersionError as error:
    print(error)
print("coder_lsp.engine._native" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *message, loaded = done.stdout.splitlines()
    compiled = check_version()
    assert "llama-cpp-python 0.0.1 is installed" in message[0]
    assert f"pip install llama-cpp-python=={compiled}" in "\n".join(message)
    assert loaded == "False"


def test_no_llama_cpp_python_at_all(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(EngineVersionError, match="not installed"):
        check_version()


def test_the_version_compiled_in_is_the_one_installed():
    from coder_lsp.engine import _native

    assert check_version() == _native.LLAMA_CPP_PYTHON_VERSION == importlib.metadata.version("llama-cpp-python")


def test_nothing_is_written_to_the_terminal(models, tmp_path):
    """llama.cpp logs pages while it loads; none of it may reach stdout, which belongs to the protocol, or stderr."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(models.random.read_bytes()[:-100])
    script = f"""
from pathlib import Path
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.errors import ModelCorrupt
engine = LlamaEngine.load(Path({str(models.random)!r}), EngineOptions(context_tokens=256, threads=1))
engine.generate(GenerateRequest(tokens=engine.tokenize("def f"), max_tokens=3))
engine.close()
try:
    LlamaEngine.load(Path({str(bad)!r}), EngineOptions(threads=1))
except ModelCorrupt:
    pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_path_that_is_not_ascii(models, tmp_path):
    folder = tmp_path / "Modèle 模型"
    folder.mkdir()
    path = Path(folder / "tiny model.gguf")
    path.write_bytes(models.random.read_bytes())
    LlamaEngine.load(path, OPTIONS).close()


def test_an_array_of_heads_counts_its_largest(tmp_path):
    from coder_lsp.engine import _native

    writer = gguf.GGUFWriter(tmp_path / "arrays.gguf", "llama")
    writer.add_head_count_kv([2, 8, 4])
    writer.add_string("general.name", "arrays")
    writer.add_array("llama.mixed", [1.5, 2.5])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = _native.inspect_gguf(str(tmp_path / "arrays.gguf"))
    assert facts.numbers["llama.attention.head_count_kv"] == 8
    assert facts.texts["general.name"] == "arrays"
    assert struct.calcsize("<Q") <= facts.needed_bytes <= facts.file_bytes


@pytest.mark.parametrize(
    ("width", "inner", "expected"), [(896, 4864, 256), (1536, 8960, 128), (3584, 18944, 16), (8192, 28672, 16)]
)
def test_wide_models_are_evaluated_in_smaller_slices(tmp_path, width, inner, expected):
    """Qwen2.5-Coder 0.5B, 1.5B, 7B and a 70B on two threads."""
    from coder_lsp.engine import _native

    writer = gguf.GGUFWriter(tmp_path / "wide.gguf", "llama")
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = _native.inspect_gguf(str(tmp_path / "wide.gguf"))
    assert resolve(EngineOptions(threads=2), facts)[0].slice_tokens == expected


def test_options_that_make_no_sense(models):
    for changes in ({"sequences": 0}, {"context_tokens": 0}, {"threads": -1}):
        with pytest.raises(EngineError, match="positive"):
            LlamaEngine.load(models.random, EngineOptions(**{**vars(OPTIONS), **changes}))
