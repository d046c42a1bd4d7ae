"""Where the key of a server comes from. ``keyring`` is the test's own: none of the user's keys is touched."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from coder_lsp.engine import remote_key
from coder_lsp.errors import ConfigError

URL = "https://models.example/v1"


class Ring:
    """What ``keyring`` does, in memory."""

    def __init__(self):
        self.kept = {}

    def get_password(self, service, user):
        return self.kept.get((service, user))

    def set_password(self, service, user, password):
        self.kept[service, user] = password

    def delete_password(self, service, user):
        del self.kept[service, user]


@pytest.fixture
def ring(monkeypatch):
    ring = Ring()
    monkeypatch.setitem(sys.modules, "keyring", ring)
    return ring


@pytest.fixture
def no_ring(monkeypatch):
    # None in sys.modules makes the import fail.
    monkeypatch.setitem(sys.modules, "keyring", None)


def test_the_environment_comes_first(ring, monkeypatch):
    remote_key.keep(URL, "of the ring")
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", " of the environment\n")
    assert remote_key.find(URL) == ("of the environment", "the environment (CODER_LSP_REMOTE_KEY)")


@pytest.mark.usefixtures("ring")
def test_then_the_keyring_by_origin():
    remote_key.keep(URL, "secret")
    assert remote_key.find("https://models.example/another/path") == ("secret", "the system's keyring")
    for other in ("http://models.example/v1", "https://models.example:8443/v1", "https://example/v1"):
        assert remote_key.find(other) == ("", "")


def test_what_is_forgotten_is_gone(ring):
    remote_key.keep(URL, "secret")
    remote_key.forget(URL)
    assert remote_key.find(URL) == ("", "")
    assert ring.kept == {}


@pytest.mark.usefixtures("no_ring")
def test_without_a_keyring_there_is_no_key_and_keeping_one_says_what_to_do():
    assert remote_key.find(URL) == ("", "")
    with pytest.raises(ConfigError, match="keyring is not installed") as raised:
        remote_key.keep(URL, "secret")
    assert "coder-lsp[remote]" in raised.value.hint
    assert "CODER_LSP_REMOTE_KEY" in raised.value.hint


def test_a_keyring_that_fails_is_no_key_and_is_not_quoted(monkeypatch):
    def fail(*values):
        raise RuntimeError(f"locked: {values}")

    monkeypatch.setitem(
        sys.modules, "keyring", SimpleNamespace(get_password=fail, set_password=fail, delete_password=fail)
    )
    assert remote_key.find(URL) == ("", "")
    for change in (lambda: remote_key.keep(URL, "secret"), lambda: remote_key.forget(URL)):
        with pytest.raises(ConfigError, match="RuntimeError") as raised:
            change()
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None
