"""Measuring and rewriting weights in C++: against numpy, the file format's own library, and what models say."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny_gguf

from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine, LlamaVocabulary
from coder_lsp.errors import EngineError, ModelCorrupt, ModelNotFound, ModelUnsupported
from coder_lsp.optimise import native, vocabulary
from coder_lsp.prompt import templates

native.load()
from coder_lsp.optimise import _requantise  # noqa: E402  # importable once the engine's libraries are there

ROOT = Path(__file__).parents[2]
TEXTS = [[1, 2, 3, 40, 50, 60, 70, 80] * 6, [9, 8, 7, 6, 5, 4, 3, 2] * 4]
FOREIGN = ("да", "нет", "世界", "δ", *map(chr, range(0x4E00, 0x4E50)))
LATIN = ("é", "naïve")


def tool(*arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def tensors(path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def requantise(source, target, **values):
    job = _requantise.Requantisation()
    job.source, job.target = str(source), str(target)
    for name, value in values.items():
        setattr(job, name, value)
    _requantise.requantise(job)
    return target


def foreign_tokens():
    """The byte-level vocabulary with words of other scripts, each made of the bytes by merges, left to right."""
    tokens = tiny_gguf.bpe_tokens()
    merges, words = list(tokens.merges), []
    for word in (*FOREIGN, *LATIN):
        spelled = tiny_gguf.spell(word.encode())
        for end in range(2, len(spelled) + 1):
            if spelled[:end] not in words:
                words.append(spelled[:end])
                merges.append(f"{spelled[: end - 1]} {spelled[end - 1]}")
    normal = 256 + len(tiny_gguf.MERGES)
    # Unused ones at the end, as model files pad their tables with.
    padding = [f"[PAD{i}]" for i in range(96)]
    texts = tokens.texts[:normal] + words + tokens.texts[normal:] + padding
    types = [1] * (normal + len(words)) + tokens.types[normal:] + [5] * len(padding)
    return tiny_gguf.Tokens("gpt2", texts, types, merges, eos=tokens.eos + len(words))


def trim(source, target, used=()):
    table = _requantise.read_vocabulary(str(source))
    trimmed = vocabulary.choose(table.model, table.tokens, table.types, table.merges, used)
    _requantise.copy_model(str(source), str(target), list(trimmed.kept), {})
    return trimmed


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    source = tiny_gguf.write_random(folder / "whole.gguf", foreign_tokens())
    trimmed = trim(source, folder / "trimmed.gguf")
    return source, folder / "trimmed.gguf", trimmed.kept


def test_the_stub_in_the_tree_is_the_one_the_module_has(tmp_path):
    """After a change of the bindings: run these three on coder_lsp/optimise/_requantise.pyi."""
    stub = tmp_path / "_requantise.pyi"
    tool("nanobind.stubgen", "-q", "-D", "--exclude-values", "-m", "coder_lsp.optimise._requantise", "-o", str(stub))
    tool("ruff", "format", "-q", "--config", str(ROOT / "pyproject.toml"), str(stub))
    tool("ruff", "check", "-q", "--fix", "--select", "I", "--config", str(ROOT / "pyproject.toml"), str(stub))
    assert stub.read_text() == (Path(native.__file__).parent / "_requantise.pyi").read_text()


# Rewriting


def test_named_matrices_get_their_formats_and_all_others_stay_bit_for_bit(models, tmp_path):
    formats = {"blk.0.attn_q.weight": "q8_0", "blk.1.ffn_up.weight": "q4_0", "output.weight": "iq4_nl"}
    target = requantise(models.random, tmp_path / "new.gguf", formats=formats)
    before, after = tensors(models.random), tensors(target)
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        if name in formats:
            assert tensor.tensor_type.name.lower() == formats[name]
            assert np.allclose(gguf.dequantize(tensor.data, tensor.tensor_type), before[name].data, atol=1.2)
        else:
            assert np.array_equal(tensor.data, before[name].data)


def test_a_name_that_is_the_beginning_of_another_means_only_itself(models, tmp_path):
    target = requantise(models.random, tmp_path / "new.gguf", formats={"output.weight": "q8_0"})
    found = {name: tensor.tensor_type.name for name, tensor in tensors(target).items()}
    assert found["output.weight"] == "Q8_0"
    assert found["blk.0.attn_output.weight"] == "F32"


def test_a_copy_has_facts_added_and_all_else_as_it_was(models, tmp_path):
    facts = {"coder_lsp.derived_from": "tiny", "coder_lsp.formats": "Größe " * 100}
    _requantise.copy_model(str(models.random), str(tmp_path / "copy.gguf"), [], facts)
    before, after = gguf.GGUFReader(models.random), gguf.GGUFReader(tmp_path / "copy.gguf")
    assert {key: after.fields[key].contents() for key in facts} == facts
    kept = [key for key in before.fields if not key.startswith("GGUF.")]
    assert [after.fields[key].contents() for key in kept] == [before.fields[key].contents() for key in kept]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, old.tensor_type) == (new.name, new.tensor_type)
        assert np.array_equal(old.data, new.data)


def test_a_copy_that_cannot_be_written_is_an_error(models):
    with pytest.raises(EngineError, match="could not be written"):
        _requantise.copy_model(str(models.random), "/dev/full", [], {})


def test_importance_moves_the_error_to_where_it_matters_less(models, tmp_path):
    name = "blk.0.ffn_down.weight"
    columns = tensors(models.random)[name].data.shape[1]
    heavy = np.where(np.arange(columns) % 2 == 0, 100.0, 0.01)
    plain = requantise(models.random, tmp_path / "a.gguf", formats={name: "q4_0"})
    weighted = requantise(models.random, tmp_path / "b.gguf", formats={name: "q4_0"}, importance={name: heavy.tolist()})
    true = tensors(models.random)[name].data

    def error(path):
        tensor = tensors(path)[name]
        return float(((gguf.dequantize(tensor.data, tensor.tensor_type) - true) ** 2 * heavy).sum())

    assert error(weighted) < error(plain)


def test_what_cannot_be_is_refused_with_the_reason(models, tmp_path):
    with pytest.raises(EngineError, match="whole blocks"):
        requantise(models.random, tmp_path / "x.gguf", formats={"output.weight": "q4_K"})
    with pytest.raises(EngineError, match="no format of weights is called q3"):
        requantise(models.random, tmp_path / "x.gguf", formats={"output.weight": "q3"})
    with pytest.raises(ModelNotFound):
        requantise(tmp_path / "missing.gguf", tmp_path / "x.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(models.random.read_bytes()[:300])
    with pytest.raises(ModelCorrupt):
        requantise(damaged, tmp_path / "x.gguf")


def test_an_architecture_nobody_knows_cannot_be_quantised(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.add_tensor("output.weight", np.ones((64, 64), np.float32))
    tiny_gguf._save(writer)
    with pytest.raises(ModelUnsupported, match="no-such-architecture"):
        requantise(tmp_path / "odd.gguf", tmp_path / "x.gguf", formats={"output.weight": "q8_0"})


# Measuring


def test_importance_is_the_mean_square_of_what_flows_into_a_matrix(models):
    """The first layer's input, computed by hand: the embedding over its root mean square, times ones."""
    model = _requantise.MeasuredModel(str(models.random), 1)
    importance = _requantise.collect_importance(model, TEXTS)
    rows = tensors(models.random)["token_embd.weight"].data[[token for text in TEXTS for token in text]]
    normed = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-5)
    expected = (normed**2).mean(axis=0)
    for name in ("attn_q", "attn_k", "attn_v"):
        assert np.allclose(importance[f"blk.0.{name}.weight"], expected, rtol=1e-4)
    assert len(importance["blk.1.ffn_down.weight"]) == tiny_gguf.Shape().inner
    assert len(importance["output.weight"]) == tiny_gguf.Shape().width


def test_a_model_is_at_no_distance_from_itself_and_coarser_ones_are_further(models, tmp_path):
    model = _requantise.MeasuredModel(str(models.random), 1)
    reference = _requantise.predict(model, TEXTS, 4)
    same = _requantise.compare(model, TEXTS, 4, reference)
    assert same.places == len(reference) == sum(len(text) - 5 for text in TEXTS)
    assert same.divergence == pytest.approx(0, abs=1e-5)
    assert same.agreement == 1.0
    assert same.loss == pytest.approx(same.reference_loss)
    names = [name for name, tensor in tensors(models.random).items() if len(tensor.shape) == 2 and "embd" not in name]
    found = []
    for form in ("q8_0", "q4_0"):
        path = requantise(models.random, tmp_path / f"{form}.gguf", formats=dict.fromkeys(names, form))
        found.append(_requantise.compare(_requantise.MeasuredModel(str(path), 1), TEXTS, 4, reference).divergence)
    assert 0 < found[0] < found[1]


def test_divergence_and_loss_are_those_of_numpy(models, tmp_path):
    """A chain model says one token for sure: with half its weights, the same token with another probability."""
    path = models.chain(b"a", b"b")
    source = _requantise.MeasuredModel(str(path), 1)
    engine = LlamaEngine.load(path, EngineOptions(context_tokens=256, sequences=1, threads=1, kv_type="f32"))
    text = [engine.special("<|fim_middle|>"), *engine.tokenize("ab"), engine.tokenize("c")[0]]
    size = engine.info.vocab_size
    engine.close()
    table = tensors(path)["output.weight"].data
    scale = float(np.sqrt(table.shape[1]))  # a one-hot embedding after normalisation

    def log_softmax(logits):
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    wanted = [-log_softmax(table[:, token] * scale)[following] for token, following in itertools.pairwise(text)]
    measured = _requantise.compare(source, [text], 0, _requantise.predict(source, [text], 0))
    assert measured.places == len(wanted)
    assert measured.loss == pytest.approx(float(np.mean(wanted)), rel=2e-3)
    assert size == table.shape[0]


def test_texts_of_another_vocabulary_and_another_length_are_refused(models):
    model = _requantise.MeasuredModel(str(models.random), 1)
    with pytest.raises(EngineError, match="another vocabulary"):
        _requantise.predict(model, [[10**6]], 0)
    with pytest.raises(EngineError, match="another vocabulary"):
        _requantise.collect_importance(model, [[]])
    reference = _requantise.predict(model, TEXTS, 4)
    with pytest.raises(EngineError, match="reference"):
        _requantise.compare(model, TEXTS[:1], 4, reference)


def test_what_progress_raises_ends_the_measuring(models):
    model = _requantise.MeasuredModel(str(models.random), 1)

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _requantise.collect_importance(model, TEXTS, stop)
    with pytest.raises(KeyboardInterrupt):
        _requantise.predict(model, TEXTS, 4, stop)


def test_coarser_formats_lose_more(models):
    names = ["blk.0.ffn_up.weight", "output.weight"]
    errors = _requantise.quantisation_errors(
        str(models.random), {name: ["q8_0", "iq4_nl", "q4_0"] for name in names}, {}, 32, 2
    )
    for name in names:
        assert 0 < errors[name, "q8_0"] < errors[name, "iq4_nl"] < errors[name, "q4_0"] < 0.1


def test_a_whole_model_and_a_single_product_take_time(models):
    options = _requantise.RunOptions()
    options.prefill_tokens, options.decode_tokens = 32, 4
    model = _requantise.TimedModel(str(models.slow), options)
    options.kv_type = "q8_0"
    for each in (model, model.otherwise(options)):
        run = each.run()
        assert run.prefill_ms > 0
        assert run.decode_ms > 0
    times = _requantise.time_product("q4_0", 64, 64, 16, 0.001)
    assert times.one_us > 0
    assert times.batch_us > 0
    with pytest.raises(EngineError, match="no such product"):
        _requantise.time_product("q4_K", 64, 64, 16, 0.001)


def test_the_engine_still_explains_its_own_failures_after_a_measurement(models, tmp_path):
    """Both extensions take llama.cpp's one log; it is given back."""
    _requantise.MeasuredModel(str(models.random), 1)
    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.add_tensor("weight", np.ones((64, 64), np.float32))
    tiny_gguf._save(writer)
    with pytest.raises(ModelUnsupported, match="unknown model architecture"):
        LlamaEngine.load(tmp_path / "odd.gguf", EngineOptions(context_tokens=64, sequences=1, threads=1))


# A smaller vocabulary


def test_every_text_has_the_same_bytes_by_the_smaller_vocabulary(foreign):
    source, trimmed, kept = foreign
    before, after = LlamaVocabulary.load(source), LlamaVocabulary.load(trimmed)
    assert len(kept) < len(_requantise.read_vocabulary(str(source)).tokens)

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text() | st.lists(st.sampled_from([*FOREIGN, *LATIN, " return", "def", "\n", "🙂"])).map("".join))
    def check(text):
        tokens = after.tokenize(text)
        assert b"".join(after.token_bytes(token) for token in tokens) == text.encode("utf-8", "replace")
        if all(ord(character) < 0x250 for character in text):
            assert [kept[token] for token in tokens] == before.tokenize(text)

    check()


def test_words_of_other_scripts_fall_back_to_smaller_tokens(foreign):
    source, trimmed, kept = foreign
    before, after = LlamaVocabulary.load(source), LlamaVocabulary.load(trimmed)
    gone = [word for word in FOREIGN if before.tokenize(word)[0] not in kept]
    # A few stay, to make the number of rows even.
    assert len(gone) > len(FOREIGN) - vocabulary.ROWS
    for word in FOREIGN:
        assert len(before.tokenize(word)) == 1
        assert (len(after.tokenize(word)) > 1) == (word in gone)
    for word in LATIN:
        assert len(after.tokenize(word)) == 1


def test_templates_find_their_tokens_under_new_numbers(foreign):
    source, trimmed, kept = foreign
    before, after = LlamaVocabulary.load(source), LlamaVocabulary.load(trimmed)
    old, new = templates.bind(before, None, "llama"), templates.bind(after, None, "llama")
    assert new.template == old.template
    assert new.fills_middle
    assert {control: kept[token] for control, token in new.ids.items()} == old.ids
    assert [kept[token] for token in sorted(after.end_tokens)] == sorted(before.end_tokens)
    assert sorted(after.end_tokens) != sorted(before.end_tokens)


def test_rows_of_kept_tokens_are_copied_and_all_else_is_as_it_was(foreign):
    source, trimmed, kept = foreign
    before, after = tensors(source), tensors(trimmed)
    for name, tensor in after.items():
        whole = before[name].data
        assert np.array_equal(tensor.data, whole[list(kept)] if "embd" in name or name == "output.weight" else whole)
    fields = gguf.GGUFReader(trimmed).fields
    assert fields["llama.vocab_size"].contents() == len(kept)


def test_a_model_says_the_same_by_the_smaller_vocabulary(models, tmp_path):
    path = models.chain(b"return", " é".encode(), b"x")
    trim(path, tmp_path / "trimmed.gguf")
    said = []
    for each in (path, tmp_path / "trimmed.gguf"):
        engine = LlamaEngine.load(each, EngineOptions(context_tokens=256, sequences=1, threads=1, kv_type="f32"))
        said.append(engine.generate(GenerateRequest(tokens=[engine.special("<|fim_middle|>")], max_tokens=8)).text)
        engine.close()
    assert said == ["return éx"] * 2


def test_a_token_that_the_metadata_names_must_be_kept(foreign, tmp_path):
    source, _, kept = foreign
    end = _requantise.read_vocabulary(str(source)).tokens.index(b"<|endoftext|>")
    without = [token for token in kept if token != end]
    with pytest.raises(ModelUnsupported, match="eos_token_id"):
        _requantise.copy_model(str(source), str(tmp_path / "x.gguf"), without, {})


def test_a_file_without_a_vocabulary_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "bare.gguf", "llama")
    writer.add_tensor("weight", np.ones((4, 4), np.float32))
    tiny_gguf._save(writer)
    with pytest.raises(ModelUnsupported, match="no vocabulary"):
        _requantise.read_vocabulary(str(tmp_path / "bare.gguf"))
