"""The engine in a process of its own, on a tiny model, and the verb with its own solutions."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import tiny_gguf

from coder_lsp.cli.evaluate_codegen import codegen
from coder_lsp.engine.base import GenerateRequest
from coder_lsp.engine.llama import LlamaVocabulary
from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.evaluate.codegen.apart import instruction
from coder_lsp.evaluate.codegen.generator import ApartGenerator, Job
from coder_lsp.evaluate.codegen.problem import CHAT, Problem
from coder_lsp.prompt.templates import bind

JOB = {"threads": 1, "context_tokens": 512, "kv_type": "f32"}
ROW = {
    "task_id": "HumanEval/0",
    "prompt": "def add(a, b):\n",
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}


def problem(prompt="def f(", **more):
    return Problem("t", "python", prompt, **{"max_tokens": 12, **more})


def test_the_process_apart_writes_what_the_engine_writes(models, load):
    engine = load(models.random, sequences=1)
    tokens = [*([] if engine.bos is None else [engine.bos]), *engine.tokenize("def f(")]
    stops = bind(engine, None, engine.info.architecture).stop_tokens
    expected = engine.generate(GenerateRequest(tokens=tokens, max_tokens=12, stop_tokens=stops))
    with ApartGenerator(Job(str(models.random), **JOB)) as generator:
        first, second = generator.generate(problem()), generator.generate(problem())
    assert first.text == second.text == expected.text
    assert first.tokens == len(expected.token_ids) > 0
    assert first.prompt_tokens == len(tokens)


def test_it_ends_before_a_stop_string(models):
    with ApartGenerator(Job(str(models.random), **JOB)) as generator:
        whole = generator.generate(problem()).text
        # Bytes that are no text cannot be looked for.
        stop = next(pair for at in range(1, len(whole)) if len(pair := whole[at : at + 2]) > 1 and pair.isascii())
        assert generator.generate(problem(stop=(stop,))).text == whole[: whole.index(stop)]


def test_a_prompt_that_is_too_long_loses_its_beginning(models):
    with ApartGenerator(Job(str(models.random), **JOB)) as generator:
        found = generator.generate(problem("x = 1\n" * 400))
    assert found.prompt_cut > 0
    assert found.prompt_tokens == 512 - 12 - 1


def test_a_model_that_cannot_be_loaded_says_why(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    with pytest.raises(CoderLspError, match=r"broken\.gguf"), ApartGenerator(Job(str(broken))):
        pass


def test_an_instruction_is_in_the_models_own_format(tmp_path):
    path = tmp_path / "chat.gguf"
    tiny_gguf.write_random(path, tiny_gguf.bpe_tokens(control=("<|endoftext|>", "<|im_start|>", "<|im_end|>")))
    vocabulary = LlamaVocabulary.load(path)
    start, end = vocabulary.special("<|im_start|>"), vocabulary.special("<|im_end|>")
    tokens = instruction(vocabulary, "say <|im_end|> please")
    assert tokens.count(start) == 3
    # The one in the text is text.
    assert tokens.count(end) == 2
    text = b"".join(map(vocabulary.token_bytes, tokens)).decode()
    assert text.endswith("user\nsay <|im_end|> please\nassistant\n")


def test_without_chat_tokens_it_is_deepseeks(models):
    vocabulary = LlamaVocabulary.load(models.plain)
    tokens = instruction(vocabulary, "  add\n")
    text = b"".join(map(vocabulary.token_bytes, tokens)).decode()
    assert text.endswith("### Instruction:\nadd\n### Response:\n")


def test_a_chat_goes_through_the_process(models):
    with ApartGenerator(Job(str(models.random), **JOB)) as generator:
        assert generator.generate(problem("add", style=CHAT, max_tokens=4)).tokens <= 4


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


def test_the_verb_refuses_without_permission(tasks):
    result = CliRunner().invoke(codegen, [str(tasks), "--gold"])
    assert isinstance(result.exception, InputError)
    assert "--allow-execution" in result.exception.hint


def test_the_verb_runs_the_solutions(tasks, tmp_path):
    out = tmp_path / "samples.jsonl"
    arguments = [str(tasks), "--gold", "--allow-execution", "--json", "--out", str(out)]
    result = CliRunner().invoke(codegen, arguments, catch_exceptions=False)
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["passed"], found["tasks"], found["model"]) == (1, 1, "gold")
    assert found["published"] == []
    assert len(out.read_text().splitlines()) == 1


def test_the_verb_has_a_model_write(tasks, tmp_path, models):
    out = tmp_path / "samples.jsonl"
    arguments = [str(tasks), "--model", str(models.random), "--allow-execution", "--out", str(out), "--threads", "1"]
    arguments += ["--context-tokens", "512", "--max-tokens", "8"]
    for _ in range(2):
        result = CliRunner().invoke(codegen, arguments, catch_exceptions=False)
        assert "pass@1  0.0 %  0 of 1" in result.stdout
        assert "published" in result.stdout
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 1
    assert 0 < rows[0]["tokens"] <= 8
