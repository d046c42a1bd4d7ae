"""Instructions as documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.vocabulary import WordVocabulary

from coder_lsp.errors import InputError
from coder_lsp.prompt import chat
from coder_lsp.prompt.templates import bind
from coder_lsp.train.prepare.base import Base
from coder_lsp.train.run import instruct
from coder_lsp.train.run.instruct import Example

FIM = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")


def base(specials=(*FIM, "<|EOT|>"), bos="<s>", end=("</s>",)):
    vocabulary = WordVocabulary(specials, bos=bos, end=end)
    bound = bind(vocabulary, None, "llama")
    return Base("tiny", Path("tiny.gguf"), vocabulary, bound, vocabulary.special(end[0]), "digest")


def lines(tmp_path, *rows):
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_the_text_is_deepseeks_and_only_the_response_counts():
    made = base()
    example = Example(" Write add.\n", "def add(a, b):\n    return a + b")
    tokens, loss = instruct.document(example, made, "A system line.", made.vocabulary.special("<|EOT|>"))
    shown = made.vocabulary.show(tokens.tolist())
    assert shown == (
        "<s>A system line.\n### Instruction:\nWrite add.\n### Response:\ndef add(a, b):\n    return a + b\n<|EOT|>"
    )
    learned = [token for token, counts in zip(tokens.tolist(), loss.tolist(), strict=True) if counts]
    assert made.vocabulary.show(learned) == "def add(a, b):\n    return a + b\n<|EOT|>"


def test_a_control_token_in_the_text_stays_text():
    made = base()
    tokens, _ = instruct.document(Example("x", "print('<|EOT|>')"), made, "", made.vocabulary.special("<|EOT|>"))
    assert tokens.tolist().count(made.vocabulary.special("<|EOT|>")) == 1


def test_a_model_without_eot_ends_as_it_ends_documents():
    made = base(specials=FIM)
    (documents, _), _ = instruct.tokenised([Example("a", "b")] * 2, made, system="", seed=0)
    assert documents.document(0)[0][-1] == made.vocabulary.special("</s>")


def test_deepseek_gets_its_own_system_line_and_others_do_not_say_they_are_deepseek():
    examples = [Example("a", "b")] * 2
    assert instruct.tokenised(examples, base(), system=None, seed=0)[1]["system"] == chat.DEEPSEEK_SYSTEM
    plain = base(specials=())
    assert "DeepSeek" not in instruct.tokenised(examples, plain, system=None, seed=0)[1]["system"]
    assert instruct.tokenised(examples, base(), system="Mine.", seed=0)[1]["system"] == "Mine."


def test_one_in_twenty_is_held_out_by_the_seed():
    made = base()  # one for all: it numbers words as they come
    examples = [Example(f"task{number}", "answer") for number in range(100)]
    (train, held), described = instruct.tokenised(examples, made, system="", seed=0)
    assert (len(train), len(held), described["examples_held_out"]) == (95, 5, 5)
    (_, same), _ = instruct.tokenised(examples, made, system="", seed=0)
    (_, other), _ = instruct.tokenised(examples, made, system="", seed=1)
    first = [held.document(number)[0].tolist() for number in range(5)]
    assert [same.document(number)[0].tolist() for number in range(5)] == first
    assert [other.document(number)[0].tolist() for number in range(5)] != first


def test_both_names_of_a_response_are_read_and_blank_lines_passed_over(tmp_path):
    path = lines(
        tmp_path, {"instruction": "a", "response": "b"}, "", {"instruction": "c", "output": "d", "more": 1}, "  "
    )
    assert instruct.read(path, skip_invalid=False, note=print) == [Example("a", "b"), Example("c", "d")]


BAD = (
    ("{", "not JSON"),
    ("[1]", "list, not an object"),
    ({"response": "b"}, "no instruction"),
    ({"instruction": "a"}, "no response"),
    ({"instruction": 3, "response": "b"}, "instruction is no text"),
    ({"instruction": "a", "response": "  "}, "response is empty"),
)


def test_every_invalid_line_is_named_by_its_number(tmp_path):
    path = lines(tmp_path, {"instruction": "a", "response": "b"}, *(row for row, _ in BAD))
    with pytest.raises(InputError) as refused:
        instruct.read(path, skip_invalid=False, note=print)
    for number, (_, words) in enumerate(BAD, start=2):
        assert f"line {number}: {words}" in refused.value.message
    assert "--skip-invalid" in refused.value.hint


def test_a_line_in_another_encoding_is_named_and_costs_no_other(tmp_path):
    good = json.dumps({"instruction": "a", "response": "b"}).encode()
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n".join([good, '{"instruction": "größer", "response": "b"}'.encode("latin-1"), good]))
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        instruct.read(path, skip_invalid=False, note=print)
    assert len(instruct.read(path, skip_invalid=True, note=lambda _: None)) == 2


def test_a_byte_order_mark_before_the_first_line_is_no_fault(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps({"instruction": "a", "response": "b"}), encoding="utf-8-sig")
    assert instruct.read(path, skip_invalid=False, note=print) == [Example("a", "b")]


def test_invalid_lines_can_be_left_out(tmp_path):
    path = lines(tmp_path, {"instruction": "a", "response": "b"}, *(row for row, _ in BAD))
    notes = []
    assert instruct.read(path, skip_invalid=True, note=notes.append) == [Example("a", "b")]
    assert "6 lines" in notes[0]


def test_of_many_invalid_lines_ten_are_shown(tmp_path):
    path = lines(tmp_path, *(["{"] * 30))
    with pytest.raises(InputError, match="and 20 more"):
        instruct.read(path, skip_invalid=False, note=print)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe{}"])
def test_a_file_without_instructions_is_refused(tmp_path, content):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError):
        instruct.read(path, skip_invalid=False, note=print)
