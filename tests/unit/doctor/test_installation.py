"""What is installed."""

from __future__ import annotations

from importlib import metadata

import pytest

from coder_lsp.doctor import installation
from coder_lsp.doctor.finding import Status


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("pygls<3,>=2.1", "pygls"),
        ("llama-cpp-python==0.3.36", "llama-cpp-python"),
        ("coder-lsp[torch]", "coder-lsp"),
        ('gguf>=0.17; extra == "dev"', None),
        ('tomli>=2.0; python_version < "3.11"', None),
    ],
)
def test_names_of_requirements(requirement, name):
    assert installation.required_name(requirement) == name


def test_packages_are_named_with_their_versions():
    findings = list(installation.check_packages())
    assert all(finding.status is Status.OK for finding in findings)
    assert f"pygls {metadata.version('pygls')}" in findings[-1].detail


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(installation.metadata, "requires", lambda _: ["no-such-thing>=1", "click"])
    finding = list(installation.check_packages())[-1]
    assert finding.status is Status.FAIL
    assert finding.detail == "missing: no-such-thing"
    assert "scripts/setup" in finding.fix


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("print('built for x')", Status.OK, "built for x"),
        ("print('loads with AMX')", Status.WARN, "prompts are read more slowly"),
        ("raise ImportError('no libllama')", Status.FAIL, "ImportError: no libllama"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", Status.FAIL, "SIGILL"),
    ],
)
def test_engine_is_tried_in_a_process_of_its_own(monkeypatch, program, status, words):
    """A library for another processor ends its process, and the doctor lives on to say so."""
    monkeypatch.setattr(installation, "ENGINE_PROGRAM", program)
    (finding,) = installation.check_native_engine()
    assert finding.status is status
    assert words in finding.detail
