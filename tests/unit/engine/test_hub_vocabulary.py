"""The vocabulary of a hub folder."""

from __future__ import annotations

import json

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="the extra 'train' is not installed")

from coder_lsp.engine.hub_vocabulary import HubVocabulary  # noqa: E402
from coder_lsp.errors import InputError, ModelUnsupported  # noqa: E402
from coder_lsp.train.prepare.base import find_base, load_base  # noqa: E402

CONTROL = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|repo_name|>", "<|file_sep|>"]


@pytest.fixture
def folder(tmp_path):
    """A byte-level vocabulary as Qwen has it: only the first added token calls itself special."""
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = byte_level(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    made.train_from_iterator(["def area(width, height):\n    return width * height\n"] * 3, trainer)
    made.add_special_tokens([tokenizers.AddedToken(CONTROL[0], special=True)])
    made.add_tokens([tokenizers.AddedToken(spelling, special=False) for spelling in CONTROL[1:]])
    path = tmp_path / "hub"
    path.mkdir()
    made.save(str(path / "tokenizer.json"))
    config = {"eos_token": {"content": CONTROL[0]}, "bos_token": None, "add_bos_token": False}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    (path / "config.json").write_text(json.dumps({"model_type": "qwen2", "eos_token_id": [7, 8]}))
    return path


@pytest.mark.parametrize(
    "text", ["def area(width):\n", "größe = '世界' 🙂\r\n\t\x00", "<|fim_middle|> and <|endoftext|>", ""]
)
def test_any_text_is_what_its_tokens_spell(folder, text):
    vocabulary = HubVocabulary.load(folder)
    assert b"".join(map(vocabulary.token_bytes, vocabulary.tokenize(text))).decode() == text


def test_a_text_that_spells_control_tokens_has_none(folder):
    vocabulary = HubVocabulary.load(folder)
    control = {vocabulary.special(spelling) for spelling in CONTROL}
    assert None not in control
    assert control.isdisjoint(vocabulary.tokenize(" ".join(CONTROL)))
    assert vocabulary.special("def") is None
    assert vocabulary.token_bytes(vocabulary.special("<|fim_middle|>")) == b""


def test_ends_and_beginnings_come_from_the_configuration(folder):
    vocabulary = HubVocabulary.load(folder)
    assert vocabulary.bos is None
    assert vocabulary.end_tokens == {7, 8, vocabulary.special(CONTROL[0])}
    config = {"eos_token": CONTROL[0], "bos_token": CONTROL[0], "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert HubVocabulary.load(folder).bos == vocabulary.special(CONTROL[0])


def test_a_hub_folder_is_a_base(folder):
    path, name, template = find_base(str(folder))
    assert (path, name, template) == (folder.resolve(), "hub", None)
    base = load_base(path, name)
    assert base.template.template.name == "qwen"
    assert base.end == base.vocabulary.special("<|endoftext|>")


def test_folders_that_are_no_bases(tmp_path):
    with pytest.raises(InputError, match="has no tokenizer"):
        find_base(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="has no tokenizer"):
        HubVocabulary.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "?"}}')
    with pytest.raises(ModelUnsupported, match="cannot be read"):
        HubVocabulary.load(tmp_path)
