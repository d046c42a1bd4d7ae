"""Which worker a host has for which settings, and what is said where there can be none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.model_server import ModelServer, absent
from support.tiny_gguf import write_random

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import ConfigError, ModelError, RemoteUnreachable
from coder_lsp.host.fallback import FallbackWorker
from coder_lsp.host.loading import connect, load_worker
from coder_lsp.host.protocol import HostSettings
from coder_lsp.host.worker import ModelWorker

NOBODY = "http://127.0.0.1:1"
ENGINE = EngineOptions(context_tokens=256, threads=1, kind="auto")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("models") / "tiny.gguf", ascii_only=True)


@pytest.fixture(scope="module")
def server(model):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", model, context=256)
    yield server
    server.close()


def settings(model, kind="auto", **remote):
    return HostSettings(str(model or ""), "here", None, replace(ENGINE, kind=kind), remote=RemoteConfig(**remote))


@pytest.fixture
def loaded():
    """``loaded(settings)``: its worker, which ends with the test."""
    workers = []

    def loaded(settings):
        workers.append(load_worker(settings))
        return workers[-1]

    yield loaded
    for worker in workers:
        worker.close()


def test_without_a_server_the_model_is_loaded_here(model, loaded):
    worker = loaded(settings(model))
    assert isinstance(worker, ModelWorker)
    assert (worker.engine, worker.model) == ("llama", "here")


def test_an_engine_that_is_named_asks_no_server(model, loaded):
    assert isinstance(loaded(settings(model, "llama", url=NOBODY)), ModelWorker)


@pytest.mark.parametrize("kind", ["auto", "remote"])
def test_a_server_completes_and_the_model_here_stands_in(model, loaded, server, kind):
    worker = loaded(settings(model, kind, url=server.url))
    assert isinstance(worker, FallbackWorker)
    assert (worker.engine, worker.model, worker.notice) == ("remote", "tiny.gguf", "")


def test_no_model_is_needed_here(loaded, server):
    assert loaded(settings(None, url=server.url)).engine == "remote"


def test_a_server_that_is_away_is_stood_in_for(model, loaded):
    worker = loaded(settings(model, url=NOBODY))
    assert (worker.engine, worker.model) == ("llama", "here")
    assert worker.notice.startswith("http://127.0.0.1:1 cannot be reached")
    assert worker.notice.endswith("completing with here on this machine")


@pytest.mark.parametrize("with_model", [True, False])
def test_with_nobody_to_stand_in_it_is_an_error(model, with_model):
    nobody = settings(model, url=NOBODY, fallback=False) if with_model else settings(None, url=NOBODY)
    with pytest.raises(RemoteUnreachable, match="cannot be reached"):
        load_worker(nobody)


def test_a_model_that_cannot_be_loaded_stands_in_for_nobody(tmp_path, loaded, server):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    worker = loaded(settings(broken, url=server.url))
    assert worker.engine == "remote"
    with pytest.raises(RemoteUnreachable):
        load_worker(settings(broken, url=NOBODY))
    with pytest.raises(ModelError):
        load_worker(settings(broken))


def test_remote_without_an_address_is_a_fault_of_the_settings(model):
    with pytest.raises(ConfigError, match="there is no server") as raised:
        load_worker(settings(model, "remote"))
    assert "remote.url" in raised.value.hint


def test_a_template_that_is_none_is_named_with_those_there_are(server):
    with pytest.raises(ConfigError, match="'qwenn' is unknown") as raised:
        connect(settings(None, url=server.url, template="qwenn"))
    assert "qwen" in raised.value.hint


def test_a_template_may_be_none_at_all(server):
    worker = connect(settings(None, url=server.url, template="none"))
    try:
        assert worker.describe_format().startswith("template none")
    finally:
        worker.close()
