"""An editor session whose completions come from a server: what is sent where, and what is seen when it is away."""

from __future__ import annotations

import pytest
from support.faulty_proxy import FaultyProxy
from support.model_server import ModelServer, absent
from support.session import session
from support.tiny_gguf import write_chain

from coder_lsp.paths import config_file

TEXT = "\n\ndef after():\n    pass\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    model = write_chain(tmp_path_factory.mktemp("models") / "theirs.gguf", [b"their", b"s", b" =", b" 1", b"\n"])
    server = ModelServer("llama.cpp", model, context=1024)
    yield server
    server.close()


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    return root


@pytest.fixture
def configured(proxy, tmp_path, monkeypatch):
    """The user's settings name the server, and a model that is here; the key is in the environment."""
    ours = write_chain(tmp_path / "ours.gguf", [b"our", b"s", b" =", b" 2", b"\n"])
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(f'model = "{ours}"\n[remote]\nurl = "{proxy.url}/v1"\npatience_ms = 20000\n')
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", "sk-of-the-user")


@pytest.mark.usefixtures("configured")
async def test_the_server_completes_and_the_model_here_while_it_is_away(root, proxy):
    async with session(root) as it:
        for name in "abcd":
            it.open(f"{name}.py", TEXT)
        assert await it.ghost("a.py", 0, 0) == "theirs = 1"
        assert (it.statuses[-1]["engine"], it.statuses[-1]["model"]) == ("remote", "theirs.gguf")
        assert not it.statuses[-1]["message"]

        proxy.fault = "close"
        assert await it.ghost("b.py", 0, 0) == "ours = 2"
        await it.until_told("on this machine")
        assert it.statuses[-1]["engine"] == "llama"
        assert f"{proxy.url} broke off; completing with" in it.statuses[-1]["message"]

        proxy.fault = "none"
        assert await it.ghost("c.py", 0, 0) == "theirs = 1"
        await it.until_told("")
        assert it.statuses[-1]["engine"] == "remote"
    assert all(b"Authorization: Bearer sk-of-the-user" in head for head in proxy.seen)


@pytest.mark.usefixtures("configured")
async def test_neither_a_workspace_nor_an_editor_says_where_code_is_sent(root, proxy):
    other = FaultyProxy(proxy.target)
    try:
        (root / ".coder-lsp.toml").write_text(f'[remote]\nurl = "{other.url}"\n')
        async with session(root, settings={"remote": {"url": other.url, "ca_file": "/x"}}) as it:
            it.open("a.py", TEXT)
            assert await it.ghost("a.py", 0, 0) == "theirs = 1"
        assert other.seen == []
        assert proxy.seen
    finally:
        other.close()


@pytest.mark.usefixtures("configured")
async def test_a_project_may_forbid_the_network_but_not_what_is_on_this_machine(root, proxy):
    (root / ".coder-lsp.toml").write_text("offline = true\n")
    async with session(root) as it:
        it.open("a.py", TEXT)
        assert await it.ghost("a.py", 0, 0) == "theirs = 1"
    assert proxy.seen
