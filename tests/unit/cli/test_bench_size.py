"""``coder-lsp bench size`` as a user runs it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from coder_lsp.cli.bench import bench


def run(*arguments: str) -> str:
    done = CliRunner().invoke(bench, ["size", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_all_models_on_all_gpus_and_json_last():
    lines = run().splitlines()
    assert len([line for line in lines if line.startswith(("qwen", "deepseek"))]) == 16
    assert len(json.loads(lines[-1])["estimates"]) == 16


def test_gpus_are_enough_for_those_who_type():
    (only,) = json.loads(run("--model", "qwen2.5-coder-1.5b", "--gpu", "a10", "--developers", "300", "--json"))[
        "estimates"
    ]
    assert (only["gpus"] - 1) * only["typing"] < 300 * 0.3 <= only["gpus"] * only["typing"]


def test_a_gpu_that_is_too_slow_has_no_number():
    output = run("--model", "qwen2.5-coder-7b", "--gpu", "l4")
    assert output.splitlines()[2].split()[2:] == ["0", "time", "2050", "-"]
    assert json.loads(output.splitlines()[-1])["estimates"][0]["gpus"] is None
