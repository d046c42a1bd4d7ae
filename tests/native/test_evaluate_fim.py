"""``eval crossfile`` and ``eval fim --through plain`` over the compiled engine, with a tiny random model."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from coder_lsp.cli.evaluate import eval as verb
from coder_lsp.engine.llama import LlamaVocabulary

CHUNK = "def area(x):\n    return x * x"
ROWS = [
    {
        "prompt": "value = 1\n" * (40 * number) + f"size_{number} = area(",
        "groundtruth": "1)",
        "metadata": {"task_id": f"p/{number}", "repository": "r", "file": "main.py"},
        "crossfile_context": {"list": [{"retrieved_chunk": CHUNK, "filename": "a.py", "score": 1.0}]},
    }
    for number in range(3)
]


def run(*arguments):
    result = CliRunner().invoke(verb, [str(each) for each in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def samples(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sequence_is_never_longer_than_the_protocol_says(models, tmp_path):
    path, out = write(tmp_path / "tasks.jsonl", ROWS), tmp_path / "samples.jsonl"
    limits = ("--sequence", 384, "--budget", 200, "--new", 8)
    run("crossfile", path, "--model", models.random, *limits, "-o", out)
    found = samples(out)
    assert [(row["task_id"], row["recipe"]) for row in found] == [
        (f"p/{number}", recipe) for number in range(3) for recipe in ("none", "given")
    ]
    tokenize = LlamaVocabulary.load(models.random).tokenize
    for row, task in zip(found, [task for task in ROWS for _ in range(2)], strict=True):
        own = len(tokenize(task["prompt"]))
        assert row["prompt_tokens"] == min(own + row["context_tokens"], 384 - 8), row["task_id"]
        assert (row["context_tokens"] > 0) == (row["recipe"] == "given")
        assert row["context_tokens"] <= 200


def test_the_same_again_is_the_same_text(models, tmp_path):
    path = write(tmp_path / "tasks.jsonl", ROWS[:1])
    limits = ("--sequence", 384, "--budget", 200, "--new", 8)
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for out in (first, second):
        run("crossfile", path, "--model", models.random, *limits, "-o", out)
    assert [row["text"] for row in samples(first)] == [row["text"] for row in samples(second)]


@pytest.mark.parametrize(
    ("way", "before", "behind"), [("plain", "def f(x):", "f(1)"), ("cursor", "def f(x):\n", "\nf(1)")]
)
def test_a_gap_is_filled_by_the_bare_prompt(models, tmp_path, way, before, behind):
    task = {
        "name": "n",
        "language": "py",
        "prompt": "def f(x):",
        "suffix": "f(1)",
        "canonical_solution": "    return x",
    }
    path, out = write(tmp_path / "tasks.jsonl", [task]), tmp_path / "samples.jsonl"
    run("fim", path, "--through", way, "--model", models.random, "--max-tokens", 8, "-o", out)
    (row,) = samples(out)
    tokenize = LlamaVocabulary.load(models.random).tokenize
    assert row["prompt_tokens"] == len(tokenize(before)) + len(tokenize(behind)) + 3
