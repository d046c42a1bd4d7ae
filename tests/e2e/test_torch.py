"""The real default model with torch, through the host: on the processor, where any machine can show it."""

from __future__ import annotations

import json

import pytest

from coder_lsp.paths import config_file

pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")

SOURCE = "import json\n\n\ndef load(path):\n    with open(path) as f:\n        return json.\n"


@pytest.fixture
def on_the_processor(real_home):
    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('[engine]\nkind = "torch"\ndevice = "cpu"\ncontext_tokens = 2048\nsequences = 1\n')


def test_the_same_completion_as_with_llama_cpp(run, tmp_path, on_the_processor):
    source = tmp_path / "load.py"
    source.write_text(SOURCE)
    finished = run("complete", str(source), "--line", "5", "--column", "20", "--json")
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert (answer["engine"], answer["text"]) == ("torch", "load(f)")


def test_the_doctor_says_which_engine_and_why(run, on_the_processor):
    found = json.loads(run("doctor", "--json", "--no-completion").stdout)["findings"]
    (engine,) = [finding for finding in found if finding["name"] == "engine"]
    assert (engine["status"], engine["detail"]) == ("ok", "torch: cpu, as configured, f32")
