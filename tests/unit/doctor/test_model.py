"""The model's file, digest and appetite, on small files made here."""

from __future__ import annotations

import hashlib
import os

import gguf
import pytest

from coder_lsp.doctor import model as checks
from coder_lsp.doctor.finding import Status, run
from coder_lsp.models.store import InstalledModel

GB = 1 << 30
QWEN = ["a", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


@pytest.fixture
def make(tmp_path):
    """Writes a GGUF file without weights; returns it as an installed model."""

    def write(architecture="qwen2", tokens=QWEN, **facts) -> InstalledModel:
        path = tmp_path / "m.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_context_length(2048)
        writer.add_token_list(tokens)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return InstalledModel("m", path, **{"sha256": None, "template": None, "entry": None, **facts})

    return write


def by_name(findings):
    return {finding.name: finding for finding in findings}


def sha256(model):
    return hashlib.sha256(model.path.read_bytes()).hexdigest()


def test_facts_of_a_good_file(make):
    found = by_name(checks.check_file(make()))
    assert all(finding.status is Status.OK for finding in found.values())
    assert "qwen2, trained for 2,048 tokens" in found["model file"].detail
    assert "template qwen" in found["fill-in-the-middle"].detail
    assert "<|fim_prefix|>" in found["fill-in-the-middle"].detail


def test_a_model_that_does_not_see_what_follows(make):
    finding = by_name(checks.check_file(make(tokens=["a"])))["fill-in-the-middle"]
    assert finding.status is Status.WARN
    assert "models list" in finding.fix


@pytest.mark.parametrize("architecture", ["mamba2", "rwkv7", "nemotron_h", "granitehybrid"])
def test_a_model_whose_cache_cannot_roll_back(make, architecture):
    finding = by_name(checks.check_file(make(architecture)))["prompt cache"]
    assert finding.status is Status.WARN


def test_a_truncated_file_is_one_failure(make):
    model = make()
    os.truncate(model.path, 40)
    (finding,) = run("model file", lambda: checks.check_file(model))
    assert finding.status is Status.FAIL
    assert "truncated" in finding.detail
    assert finding.fix


def test_digest_as_expected_is_computed_once(make):
    model = make()
    model = make(sha256=sha256(model))
    (first,) = checks.check_digest(model, full=False)
    (second,) = checks.check_digest(model, full=False)
    (third,) = checks.check_digest(model, full=True)
    assert {first.status, second.status, third.status} == {Status.OK}
    assert "computed now" in first.detail
    assert "computed before" in second.detail
    assert "computed now" in third.detail


def test_a_changed_file_is_hashed_again_and_refused(make):
    model = make()
    model = make(sha256=sha256(model))
    list(checks.check_digest(model, full=False))
    with model.path.open("ab") as stream:
        stream.write(b"x")
    (finding,) = checks.check_digest(model, full=False)
    assert finding.status is Status.FAIL
    assert sha256(model) in finding.detail
    assert "models pull m" in finding.fix


def test_a_damaged_digest_cache_is_made_anew(make):
    model = make()
    checks.digest(model.path)
    from coder_lsp import paths

    (paths.cache_dir() / "digests.json").write_text("[", encoding="utf-8")
    assert checks.digest(model.path) == (sha256(model), True)


@pytest.mark.parametrize(
    ("available_gb", "total_gb", "status"), [(4, 8, Status.OK), (0.25, 8, Status.WARN), (0.25, 0.3, Status.FAIL)]
)
def test_memory(make, available_gb, total_gb, status):
    """A file of nearly nothing needs the half gigabyte of buffers."""
    (finding,) = checks.check_memory_need(make(), int(available_gb * GB), int(total_gb * GB))
    assert finding.status is status
    assert "0.5 GiB needed" in finding.detail
