"""``coder-lsp eval repo`` as its users start it: a real repository, a tiny model, a real host."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support import tiny_gguf
from support.repositories import git, project

SHAPE = tiny_gguf.Shape(width=64, layers=2, heads=4, kv_heads=2, inner=96, context=4096)
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gguf.write_random(tmp_path_factory.mktemp("model") / "tiny.gguf", shape=SHAPE)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return tiny_gguf.write_lora(tmp_path_factory.mktemp("adapter") / "team.gguf", shape=SHAPE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return project(tmp_path_factory.mktemp("repositories") / "shop", files=24)


@pytest.fixture
def home(coder_lsp_home):
    yield coder_lsp_home
    subprocess.run([sys.executable, "-m", "coder_lsp", "host", "--stop"], check=False, timeout=60, capture_output=True)


def evaluate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "coder_lsp", "eval", "repo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_model_and_an_adapter_side_by_side_and_nothing_twice(home, shop, model, adapter, tmp_path):
    before = git(shop, "status", "--porcelain", "--ignored")
    command = (shop, "--model", model, "--adapter", adapter, "--limit", "6", "-o", tmp_path / "out")
    done = evaluate(*command, "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert [row["name"] for row in table["subjects"]] == ["tiny", "tiny + team"]
    assert sum(table["places"].values()) == 6
    for row in table["subjects"]:
        assert row["recipes"]["ours"]["all"]["context_tokens"] > 0
        assert row["recipes"]["none"]["all"]["context_tokens"] == 0
        assert row["recipes"]["ours"]["all"]["ms"]["p50"] > 0
    samples = (tmp_path / "out" / "samples.jsonl").read_text()
    assert len(samples.splitlines()) == 2 * 2 * 6
    texts = [
        [row["text"] for row in map(json.loads, samples.splitlines()) if ("+" in row["subject"]) is laid]
        for laid in (False, True)
    ]
    assert texts[0] != texts[1], "the adapter changes what is said"
    assert "<script" not in (tmp_path / "out" / "report.html").read_text()
    assert git(shop, "status", "--porcelain", "--ignored") == before

    again = evaluate(*command, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == table
    assert (tmp_path / "out" / "samples.jsonl").read_text() == samples


def test_the_same_words_from_the_same_seed(home, shop, model, tmp_path):
    rows = []
    for name in ("one", "two"):
        done = evaluate(shop, "--model", model, "--limit", "3", "--seed", "7", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "report:" in done.stdout
        lines = (tmp_path / name / "samples.jsonl").read_text().splitlines()
        rows.append([{**json.loads(line), "ms": 0.0} for line in lines])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 6


def test_a_folder_without_a_history_is_one_line_and_the_next_step(home, model, tmp_path):
    done = evaluate(tmp_path, "--model", model)
    assert done.returncode == 2
    assert "there is no git repository at" in done.stderr
    assert "name the folder that has .git in it" in done.stderr
    assert "Traceback" not in done.stderr
