"""From settings to what a host is told: which model, and whether a server is asked at all."""

from __future__ import annotations

import pytest
from support.tiny_gguf import write_random

from coder_lsp.app import host_settings
from coder_lsp.config import Config, EngineConfig, RemoteConfig
from coder_lsp.errors import ModelError, OfflineError

AWAY = RemoteConfig(url="https://models.example/v1")


@pytest.fixture
def model(tmp_path):
    return str(write_random(tmp_path / "tiny.gguf"))


def test_a_server_is_asked_where_one_is_set(model):
    assert host_settings(Config(model=model, remote=AWAY)).remote == AWAY


def test_without_one_a_model_must_be_here():
    with pytest.raises(ModelError):
        host_settings(Config(model="/nowhere.gguf"))


def test_with_one_it_need_not():
    told = host_settings(Config(model="/nowhere.gguf", remote=AWAY))
    assert (told.model_path, told.remote) == ("", AWAY)


@pytest.mark.parametrize("kind", ["llama", "torch"])
def test_an_engine_that_is_named_leaves_the_server_out(model, kind):
    config = Config(model=model, engine=EngineConfig(kind=kind), remote=AWAY)
    assert host_settings(config).remote == RemoteConfig()
    with pytest.raises(ModelError):
        host_settings(Config(model="/nowhere.gguf", engine=EngineConfig(kind=kind), remote=AWAY))


def test_offline_nothing_is_sent(model, caplog):
    assert host_settings(Config(model=model, offline=True, remote=AWAY)).remote == RemoteConfig()
    assert "offline" in caplog.text
    with pytest.raises(ModelError):
        host_settings(Config(model="/nowhere.gguf", offline=True, remote=AWAY))


def test_offline_and_a_server_by_name_contradict_each_other(model):
    config = Config(model=model, offline=True, engine=EngineConfig(kind="remote"), remote=AWAY)
    with pytest.raises(OfflineError, match=r"engine\.kind asks for a server"):
        host_settings(config)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.8.9.1"])
def test_a_server_on_this_machine_is_no_network(model, host):
    here = RemoteConfig(url=f"http://{host}/v1")
    assert host_settings(Config(model=model, offline=True, remote=here)).remote == here


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example", "10.0.0.1", "[fe80::1]", "", "[", "@"])
def test_what_only_looks_like_this_machine_is_not(model, host):
    there = RemoteConfig(url=f"http://{host}/v1")
    assert host_settings(Config(model=model, offline=True, remote=there)).remote == RemoteConfig()
