"""``coder-lsp train all`` as its users start it: a real repository, a tiny model, a real host; killed, gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tiny_gguf
from support.repositories import project

from coder_lsp import configuration, paths
from coder_lsp.models import adapters

pytest.importorskip("datasketch", reason="the extra 'train' is not installed")

SHAPE = tiny_gguf.Shape(width=64, layers=2, heads=4, kv_heads=2, inner=96, context=4096)
SMALL = ("--tasks", "3", "--general-tasks", "3", "--threads", "1", "--learning-rate", "5e-3", "--precision", "fp32")
"""With a precision: which one is quicker for so small a model may be measured either way, from run to run."""
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_gguf.write_random(tmp_path_factory.mktemp("model") / "tiny.gguf", shape=SHAPE, architecture="qwen2")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return project(tmp_path_factory.mktemp("repositories") / "shop", files=40)


@pytest.fixture
def home(coder_lsp_home):
    yield coder_lsp_home
    subprocess.run([sys.executable, "-m", "coder_lsp", "host", "--stop"], check=False, timeout=60, capture_output=True)


def command(shop, model, out, *more):
    places = (str(shop), "--model", str(model), "-o", str(out))
    return [sys.executable, "-m", "coder_lsp", "train", "all", *places, *SMALL, *more]


def train_all(*arguments):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
    )


def test_from_a_repository_to_an_adapter_that_is_used(home, shop, model, tmp_path):
    done = train_all(shop, model, tmp_path / "out", "--use", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ended"] == "done"
    assert report["loss"]["heldout_time"]["change"] < 0
    assert report["held_out"]["all"]["tasks"] >= 4
    assert report["general"]["tasks"] == 3
    assert report["export"]["comparison"]["same_greedy"] == 1.0
    (adapter,) = adapters.installed()
    assert adapter.name == "shop"
    assert adapter.sha256 == report["export"]["sha256"]
    assert configuration.load().config.adapters == ((str(shop), "shop"),)
    assert "## On held-out code, before and after" in (tmp_path / "out" / "run" / "export" / "README.md").read_text()
    assert "<script" not in Path(report["page"]).read_text()

    began = time.monotonic()
    again = train_all(shop, model, tmp_path / "out", "--no-use", "--json")
    assert again.returncode == 0, again.stderr
    assert {**json.loads(again.stdout), "used_for": [str(shop)]} == report, "nothing was done anew"
    assert time.monotonic() - began < TIMEOUT_S / 2


def test_nobody_who_could_say_yes_means_no(home, shop, model, tmp_path):
    done = train_all(shop, model, tmp_path / "out", "--general-tasks", "0")
    assert done.returncode == 0, done.stderr
    assert "not used; use it later: coder-lsp train export" in done.stdout
    assert adapters.installed() == []
    assert not paths.config_file().exists()


def test_a_kill_in_the_run_costs_nothing_but_time(home, shop, model, tmp_path):
    out = tmp_path / "out"
    flags = ("--epochs", "3", "--general-tasks", "0", "--json")
    with subprocess.Popen(
        command(shop, model, out, *flags),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("after step") and not line.startswith("after step 0"):
                    break
            else:
                pytest.fail("the run took no step")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert not (out / "report.json").exists()
    done = train_all(shop, model, out, *flags)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ended"] == "done"
    whole = train_all(shop, model, tmp_path / "whole", *flags)
    assert whole.returncode == 0, whole.stderr
    killed, straight = json.loads(done.stdout), json.loads(whole.stdout)
    assert killed["loss"] == straight["loss"]
    assert killed["export"]["sha256"] == straight["export"]["sha256"]


def test_ten_files_are_needed_to_know_whether_it_helped(home, model, tmp_path):
    few = project(tmp_path / "few", files=4)
    done = train_all(few, model, tmp_path / "out")
    assert done.returncode == 2
    assert "nothing could be held out" in done.stderr
    assert "Traceback" not in done.stderr
