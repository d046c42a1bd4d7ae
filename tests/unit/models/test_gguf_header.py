from __future__ import annotations

import contextlib

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.model_files import write_gguf

from coder_lsp.errors import CoderLspError, ModelCorrupt, ModelUnsupported
from coder_lsp.models import gguf_header


def test_the_header_states_what_the_file_says_of_itself(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", architecture="qwen2", name="Tiny Coder")
    header = gguf_header.read(path)
    assert (header.architecture, header.name, header.context) == ("qwen2", "Tiny Coder", 4096)
    assert header.fim_tokens == {"<|fim_prefix|>"}


def test_the_needed_length_is_the_whole_file(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", values=4096)
    assert gguf_header.read(path).needed_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("tokens", "architecture", "name", "template"),
    [
        (("<|fim_prefix|>",), "qwen2", "Qwen", "qwen"),
        (("<|fim_prefix|>",), "gemma", "codegemma-2b", "codegemma"),
        (("<｜fim▁begin｜>",), "llama", "deepseek", "deepseek"),
        (("<fim_prefix>", "<filename>"), "llama", "Mellum 4b base", "mellum"),
        (("<fim_prefix>", "<filename>"), "starcoder2", "starcoder2-3b", "starcoder2"),
        (("<fim_prefix>",), "starcoder", "starcoderbase-1b", "starcoder"),
        (("<fim_prefix>",), "llama", "Granite 8b Code", "granite"),
        (("<fim-prefix>",), "gpt2", "santacoder", "santacoder"),
        (("▁<PRE>",), "llama", "codellama", "codellama"),
        (("[PREFIX]",), "llama", "Codestral", "codestral"),
        (("<[fim-prefix]>",), "llama", "Seed-Coder", "seed"),
        (("hello",), "llama", "SmolLM2", "none"),
    ],
)
def test_the_template_is_guessed_from_the_vocabulary(tmp_path, tokens, architecture, name, template):
    path = write_gguf(tmp_path / "m.gguf", tokens=("a", *tokens), architecture=architecture, name=name)
    assert gguf_header.read(path).guess_template() == template


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"GG", b"<html>not found</html>"])
def test_what_is_not_a_gguf_is_refused(tmp_path, data):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelCorrupt, match="not a GGUF"):
        gguf_header.read(path)


def test_a_file_cut_anywhere_is_refused_as_truncated(tmp_path):
    whole = write_gguf(tmp_path / "m.gguf", values=64).read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelCorrupt, match="truncated"):
            gguf_header.read(path)


def test_one_file_of_a_split_model_is_refused_with_the_way_to_join_it(tmp_path):
    path = write_gguf(tmp_path / "m-00001-of-00003.gguf", split=3)
    with pytest.raises(ModelUnsupported, match="one of 3 files") as caught:
        gguf_header.read(path)
    assert "llama-gguf-split" in caught.value.hint


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + (9).to_bytes(4, "little") + bytes(16))
    with pytest.raises(ModelUnsupported, match="version 9"):
        gguf_header.read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.integers(4, 400), st.integers(0, 255), max_size=6))
def test_a_damaged_header_gives_an_error_of_ours_or_a_header(tmp_path, changes):
    data = bytearray(write_gguf(tmp_path / "m.gguf", values=8).read_bytes())
    for offset, value in changes.items():
        if offset < len(data):
            data[offset] = value
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data)
    with contextlib.suppress(CoderLspError):
        gguf_header.read(path)


def test_the_table_of_tensor_types_agrees_with_the_gguf_package():
    for kind, blocks in gguf.GGML_QUANT_SIZES.items():
        if kind.name != "Q8_1":  # an intermediate of ggml's, in no file
            assert gguf_header._TENSOR_BLOCKS.get(kind.value, blocks) == blocks, kind


def test_a_folder_is_refused_as_one(tmp_path):
    """Models may be folders of safetensors; what needs a header says that it does."""
    with pytest.raises(ModelUnsupported, match="folder") as caught:
        gguf_header.read(tmp_path)
    assert "GGUF" in caught.value.hint
