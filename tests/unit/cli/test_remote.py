"""``coder-lsp remote``: keeping a key, and what is said where there is no server."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner
from support.model_server import ModelServer, absent
from support.tiny_gguf import write_random

from coder_lsp.cli.remote import remote
from coder_lsp.errors import CoderLspError, ConfigError, InputError
from coder_lsp.paths import config_file


class Ring(dict):
    def get_password(self, *key):
        return self.get(key)

    def set_password(self, service, user, password):
        self[service, user] = password

    def delete_password(self, *key):
        del self[key]


@pytest.fixture
def ring(monkeypatch):
    ring = Ring()
    monkeypatch.setitem(sys.modules, "keyring", ring)
    return ring


@pytest.fixture
def configured():
    """``configured(url)`` makes it the user's server."""

    def configured(url):
        config_file().parent.mkdir(parents=True, exist_ok=True)
        config_file().write_text(f'[remote]\nurl = "{url}"\n')

    return configured


def run(*arguments, given=""):
    result = CliRunner().invoke(remote, list(arguments), input=given)
    if isinstance(result.exception, CoderLspError):
        raise result.exception
    return result


def test_a_key_is_kept_shown_by_its_place_alone_and_deleted(configured, ring):
    configured("https://models.example/v1")
    assert run("key", "status").output == "there is no key\n"
    assert run("key", "status").exit_code == 1
    kept = run("key", "set", given="sk-secret\n")
    assert kept.output == "kept for https://models.example\n"
    assert ring == {("coder-lsp", "https://models.example"): "sk-secret"}
    assert run("key", "status").output == "from the system's keyring\n"
    assert run("key", "status").exit_code == 0
    assert run("key", "delete").output == "deleted for https://models.example\n"
    assert ring == {}


@pytest.mark.parametrize("given", ["", "\n", "  \n"])
def test_no_key_is_none(configured, ring, given):
    configured("https://models.example/v1")
    with pytest.raises(InputError, match="no key was given"):
        run("key", "set", given=given)
    assert ring == {}


@pytest.mark.parametrize("verb", ["set", "delete", "status"])
def test_without_a_server_there_is_nothing_to_keep_a_key_for(verb):
    with pytest.raises(InputError, match="no server is set") as raised:
        run("key", verb, given="x\n")
    assert str(config_file()) in raised.value.hint


def test_what_is_not_there_cannot_be_deleted(configured, ring):
    configured("https://models.example/v1")
    with pytest.raises(ConfigError, match="could not forget"):
        run("key", "delete")
    assert ring == {}


def test_check_without_a_server_is_well():
    result = run("check", "--json")
    assert result.exit_code == 0
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["detail"] == "none is set: nothing leaves this machine"


def test_check_of_a_server_says_what_it_is_and_of_none_that_it_is_away(configured, tmp_path):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", write_random(tmp_path / "tiny.gguf"), context=512)
    try:
        configured(server.url)
        there = run("check", "--json")
        assert there.exit_code == 0
        assert json.loads(there.stdout)["ok"]
        assert "tiny.gguf" in run("check").output
        server.kill()
        away = run("check", "--json")
        assert away.exit_code == 1
        (finding,) = json.loads(away.stdout)["findings"]
        assert "cannot be reached" in finding["detail"]
    finally:
        server.close_pipes()
