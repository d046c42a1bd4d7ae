"""The demo and the doctor with the real model, and the demo cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.demo.places import load_places


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("coder-lsp-demo-*"))


def test_demo_completes_its_places_and_leaves_nothing(run, tmp_path, monkeypatch):
    """Expected: a suggestion at most places (the model decides), the digest verified, no files left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run("demo", "--json", "--offline")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"] == DEFAULT_MODEL
    assert report["verified"] is True
    assert report["engine"] == "llama"
    assert len(report["places"]) == len(load_places())
    answered = [place for place in report["places"] if place["ghost"]]
    assert len(answered) >= len(load_places()) - 2
    assert all(place["keystroke_ms"] is not None for place in answered)
    assert leftovers(tmp_path) == []


def test_an_interrupted_demo_ends_its_server_and_removes_its_files(real_home, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        (sys.executable, "-m", "coder_lsp", "demo", "--offline"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert any("Ready after" in line for line in process.stdout)
        servers = [child for child in psutil.Process(process.pid).children() if "serve" in child.cmdline()]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert len(servers) == 1
    assert not servers[0].is_running()
    assert leftovers(tmp_path) == []


def test_doctor_finds_a_working_installation(run):
    """A busy machine may make the timed completion slow, which is a warning; nothing may fail."""
    done = run("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert [name for name, finding in findings.items() if finding["status"] == "fail"] == []
    assert "as it should be" in findings["model digest"]["detail"]
    assert findings["engine"]["detail"].startswith("llama")
    assert "one line in" in findings["completion"]["detail"]
