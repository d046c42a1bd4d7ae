"""What doctor says of a server: a real one, none, one that is away, one that is not to be used."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.faulty_proxy import FaultyProxy
from support.model_server import ModelServer, absent
from support.tiny_gguf import write_random

from coder_lsp.config import Config, EngineConfig, RemoteConfig
from coder_lsp.doctor.finding import Status
from coder_lsp.doctor.remote import check_remote


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", write_random(tmp_path_factory.mktemp("models") / "tiny.gguf"), context=1024)
    yield server
    server.close()


def config(url, **changes):
    return Config(remote=RemoteConfig(url=url), **changes)


def found(config):
    return {finding.name: finding for finding in check_remote(config)}


def test_none_is_set():
    (finding,) = check_remote(Config())
    assert (finding.status, finding.detail) == (Status.OK, "none is set: nothing leaves this machine")


def test_a_server_that_is_there_is_described(server):
    findings = found(config(server.url))
    assert all(finding.status is Status.OK for finding in findings.values())
    assert "llama.cpp" in findings["server"].detail
    assert "1,024 tokens" in findings["server"].detail
    assert "tiny.gguf" in findings["server"].detail
    assert findings["round trip"].detail.endswith(")")
    assert "template qwen" in findings["fill-in-the-middle"].detail
    assert findings["key"].detail == "none is sent"


def test_a_key_is_named_by_its_place_alone(server, monkeypatch):
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", "sk-secret")
    findings = found(config(server.url))
    assert findings["key"].detail == "from the environment (CODER_LSP_REMOTE_KEY)"
    assert "sk-secret" not in str(findings)


def test_another_format_than_the_models_is_a_warning(server):
    findings = found(Config(remote=RemoteConfig(url=server.url, template="deepseek")))
    assert findings["fill-in-the-middle"].status is Status.WARN
    assert "deepseek" in findings["fill-in-the-middle"].detail


def test_an_adapter_that_the_server_does_not_have_is_a_warning(server):
    findings = found(config(server.url, engine=EngineConfig(loras=("acme",))))
    assert findings["adapter"].status is Status.WARN
    assert "acme" in findings["adapter"].detail


def test_a_model_that_the_server_does_not_have_is_a_failure(server):
    findings = found(Config(remote=RemoteConfig(url=server.url, model="gpt-9")))
    assert findings["server"].status is Status.FAIL
    assert "gpt-9" in findings["server"].detail
    assert "tiny.gguf" in findings["server"].fix


@pytest.mark.parametrize(("fault", "words"), [("close", "broke"), ("401", "refuses the key"), ("500", "500")])
def test_one_that_does_not_answer_is_a_failure_with_a_fix(server, fault, words):
    proxy = FaultyProxy(server.url)
    try:
        proxy.fault = fault
        findings = found(config(proxy.url))
        assert findings.keys() == {"server"}
        assert findings["server"].status is Status.FAIL
        assert words in findings["server"].detail
        assert findings["server"].fix
    finally:
        proxy.close()


def test_one_that_is_not_to_be_used_is_not_asked(server):
    proxy = FaultyProxy(server.url)
    try:
        native = config(proxy.url, engine=EngineConfig(kind="llama"))
        assert found(native)["server"].status is Status.WARN
        away = replace(Config(offline=True), remote=RemoteConfig(url="https://models.example/v1"))
        assert "offline" in found(away)["server"].detail
        assert proxy.seen == []
    finally:
        proxy.close()


@pytest.mark.parametrize("url", ["models.example/v1", "ftp://models.example", "http://user:pw@models.example/"])
def test_an_address_that_is_none_is_a_failure(url):
    findings = found(config(url))
    assert findings["server"].status is Status.FAIL
    assert "pw" not in findings["server"].detail
