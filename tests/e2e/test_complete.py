"""``coder-lsp complete`` on real files."""

from __future__ import annotations

import json

import pytest

SOURCE = "import json\n\n\ndef load(path):\n    with open(path) as f:\n        return json.\n"


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "load.py"
    file.write_text(SOURCE)
    return file


def test_json_has_what_was_promised(run, source):
    finished = run("complete", str(source), "--line", "5", "--column", "20", "--json")
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert answer["text"] == "load(f)"
    assert answer["model"] == "qwen2.5-coder-0.5b-instruct"
    assert answer["engine"] == "llama"
    assert answer["finish_reason"] in ("stop_token", "stop_string", "enough", "length")
    tokens = answer["tokens"]
    assert tokens["prompt"] == tokens["reused"] + tokens["evaluated"]
    assert tokens["generated"] > 0
    assert answer["timings_ms"]["total"] > 0


def test_a_second_request_reuses_what_was_evaluated(run, source):
    run("complete", str(source), "--line", "5", "--column", "20", "--json")
    answer = json.loads(run("complete", str(source), "--line", "5", "--column", "20", "--json").stdout)
    assert answer["tokens"]["evaluated"] == 0


def test_plain_output_is_the_text_alone(run, source):
    assert run("complete", str(source), "-l", "5", "-c", "20").stdout == "load(f)\n"


def test_max_tokens_are_kept(run, source):
    answer = json.loads(run("complete", str(source), "-l", "5", "-c", "20", "--json", "--max-tokens", "1").stdout)
    assert answer["tokens"]["generated"] == 1


@pytest.mark.parametrize(
    ("line", "column", "said"), [("99", "0", "lines 0 to 6"), ("5", "99", "columns 0 to 20"), ("-1", "0", "line -1")]
)
def test_a_place_that_is_not_there_is_refused_with_what_is(run, source, line, column, said):
    finished = run("complete", str(source), "--line", line, "--column", column)
    assert finished.returncode == 2
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_file_that_is_not_text_is_refused(run, tmp_path):
    (tmp_path / "x.py").write_bytes(b"\xff\xfe\x00")
    finished = run("complete", str(tmp_path / "x.py"), "-l", "0", "-c", "0")
    assert finished.returncode == 2
    assert "not UTF-8" in finished.stderr


def test_the_offline_switch_forbids_pulling(run):
    finished = run("models", "pull", "smollm2-135m-instruct", "--offline")
    assert finished.returncode == 1
    assert "offline" in finished.stderr
