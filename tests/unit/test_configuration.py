"""The loader: precedence, every fault at once, a workspace file that can only narrow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp import paths
from coder_lsp.config import Config, RemoteConfig
from coder_lsp.configuration import WORKSPACE_FILE, config_reference, config_rows, load


@pytest.fixture
def user(tmp_path):
    """Writes the user's file and returns its path."""

    def write(text: str) -> Path:
        file = tmp_path / "user.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def root(tmp_path):
    """Writes a workspace file and returns its folder."""

    def write(text: str, name: str = "repo") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / ".coder-lsp.toml").write_text(text, encoding="utf-8")
        return folder

    return write


def messages(loaded) -> list[str]:
    return [fault.message for fault in loaded.faults]


def test_nothing_given_is_the_defaults():
    loaded = load(environment={})
    assert (loaded.config, loaded.faults) == (Config(), ())


def test_the_users_file_is_where_paths_says():
    file = paths.config_file()
    file.parent.mkdir(parents=True)
    file.write_text('model = "mine"\n')
    assert load(environment={}).config.model == "mine"


def test_process_environment_counts_when_none_is_given(monkeypatch):
    monkeypatch.setenv("CODER_LSP_MODEL", "from-env")
    assert load().config.model == "from-env"


def test_later_sources_win(user):
    file = user('model = "file"\n[completion]\nmax_tokens_line = 10\nmax_tokens_block = 20\n')
    loaded = load(file, {"CODER_LSP_MODEL": "env"}, {"completion": {"maxTokensBlock": 30}})
    assert loaded.faults == ()
    assert loaded.config.model == "env"
    assert (loaded.config.completion.max_tokens_line, loaded.config.completion.max_tokens_block) == (10, 30)
    assert load(file, {"CODER_LSP_MODEL": "env"}, {"model": "editor"}).config.model == "editor"


@pytest.mark.parametrize(
    "editor",
    [
        {"completion": {"disabledLanguages": ["go"]}},
        {"completion": {"disabled_languages": ["go"]}},
        {"completion.disabledLanguages": ["go"]},
        {"coder-lsp": {"completion": {"disabledLanguages": ["go"]}}},
        {"coderLsp": {"completion": {"disabledLanguages": ["go"], "maxTokensLine": None}}},
    ],
)
def test_editor_spellings(editor):
    loaded = load(environment={}, editor=editor)
    assert loaded.config.completion.disabled_languages == ("go",)
    assert loaded.faults == ()


def test_every_fault_is_reported_at_once_and_good_keys_still_count(user):
    file = user(
        'model = ""\noffline = "yes"\nengnie = 3\nhost = 1\n'
        '[completion]\nmax_tokens_line = 0\nmultiline = 1\nexclude = ["a", 2]\nmax_tokens_block = 99\n'
        '[engine]\nkv_type = "q8"\nthreads = 1.5\nidle_seconds = 3\n'
    )
    loaded = load(file, {})
    assert len(loaded.faults) == 10
    assert loaded.config.completion.max_tokens_block == 99
    assert loaded.config == load(user("[completion]\nmax_tokens_block = 99\n"), {}).config
    text = "\n".join(str(fault) for fault in loaded.faults)
    assert "completion.max_tokens_line: 0 is less than 1" in text
    assert "completion.multiline: an integer given, boolean expected" in text
    assert "engine.threads: a number given, integer expected" in text
    assert 'engine.kv_type: "q8" is none of f16, q8_0, f32; did you mean q8_0?' in text
    assert "engnie: no such setting\n  Did you mean engine?" in text
    assert "Did you mean host.idle_seconds?" in text
    assert str(file) in loaded.faults[0].message


def test_a_faulty_key_keeps_the_value_of_the_source_before(user):
    loaded = load(user("[completion]\nmax_tokens_line = 7\n"), {}, {"completion": {"maxTokensLine": "many"}})
    assert loaded.config.completion.max_tokens_line == 7
    assert messages(loaded) == ["editor settings: completion.max_tokens_line: a string given, integer expected"]


def test_toml_syntax_error_names_the_line(user):
    loaded = load(user('model = "x"\n[completion\nenabled = true\n'), {})
    assert loaded.config == Config()
    assert len(loaded.faults) == 1
    assert "line 2" in loaded.faults[0].message


def test_not_utf8_names_the_line(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b'model = "x"\n# caf\xe9\n')
    assert "not UTF-8 at line 2" in load(file, {}).faults[0].message


def test_a_file_named_on_purpose_must_exist(tmp_path):
    assert "cannot be read" in load(tmp_path / "absent.toml", {}).faults[0].message
    assert load(tmp_path, {}).faults, "a folder is no settings file"


def test_absurdly_large_file_is_not_read(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b"#" * 1_000_001)
    assert "larger than" in load(file, {}).faults[0].message


@pytest.mark.parametrize(("text", "offline"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("", False)])
def test_offline_from_the_environment(text, offline):
    loaded = load(environment={"CODER_LSP_OFFLINE": text})
    assert (loaded.config.offline, loaded.faults) == (offline, ())


def test_offline_that_is_not_understood_is_on_and_a_fault():
    loaded = load(environment={"CODER_LSP_OFFLINE": "maybe"})
    assert loaded.config.offline
    assert len(loaded.faults) == 1


def test_offline_cannot_be_taken_back(user, root):
    """A prohibition holds whichever source says it."""
    assert load(environment={"CODER_LSP_OFFLINE": "1"}, editor={"offline": False}).config.offline
    assert load(user("offline = true\n"), {"CODER_LSP_OFFLINE": "0"}).config.offline
    loaded = load(user("offline = true\n"), {}, {}, [root("offline = false\n")])
    assert loaded.config.offline
    assert "would undo" in loaded.faults[0].message


def test_workspace_narrows(user, root):
    one = root('offline = true\n[completion]\nexclude = ["*.sql", "mine"]\ndisabled_languages = ["go"]\n', "one")
    two = root("[completion]\nenabled = false\nmultiline = false\n", "two")
    loaded = load(user('[completion]\nexclude = ["mine"]\n'), {}, {}, [one, two])
    assert loaded.faults == ()
    config = loaded.config
    assert config.offline
    assert config.completion.exclude == ("mine", "*.sql")
    assert config.completion.disabled_languages == ("go",)
    assert (config.completion.enabled, config.completion.multiline) == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        'model = "/tmp/evil.gguf"\n',
        'url = "http://evil"\n',
        'command = "rm"\n',
        "[completion]\nenabled = true\n",
        "[completion]\nmax_tokens_line = 9\n",
        '[completion]\nexclude = ["!secret.py"]\n',
        '[engine]\nloras = ["x.gguf"]\n',
        "[host]\nidle_seconds = 5\n",
        "[prompt]\nprefix_tokens = 99\n",
    ],
)
def test_workspace_can_do_nothing_else(user, root, text):
    """A cloned repository must not widen what the user set, nor name anything that is run or loaded."""
    file = user('[completion]\nenabled = false\nexclude = ["secret.py"]\n')
    loaded = load(file, {}, {}, [root(text)])
    assert len(loaded.faults) == 1
    assert loaded.config == load(file, {}).config


def test_reference_has_every_setting_with_its_meaning():
    rows = config_rows()
    assert len(rows) == len({key for key, *_ in rows}) >= 20
    assert ("engine.kv_type", "string", '"f16"') in {row[:3] for row in rows}
    assert all(doc for *_, doc in rows)
    assert all(f"`{key}`" in config_reference() for key, *_ in rows)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from(["completion", "engine", "model", "offline", "host", "x"]) | st.text(max_size=5)


@given(st.dictionaries(_keys, _json, max_size=5))
def test_no_editor_setting_can_break_loading(editor):
    loaded = load(environment={}, editor=editor)
    assert isinstance(loaded.config, Config)
    assert isinstance(loaded.config.model, str)
    assert loaded.config.model.strip()


def test_where_code_is_sent_is_for_the_users_own_file_to_say(user, root):
    """An editor passes on what a workspace's settings say, and a cloned repository must not choose a server."""
    editor = {"remote": {"url": "https://elsewhere.example/v1", "concurrent": 9}, "model": "other"}
    loaded = load(environment={}, editor=editor)
    assert (loaded.config.remote, loaded.config.model) == (RemoteConfig(), "other")
    assert [fault.message for fault in loaded.faults] == [
        f"editor settings: remote.{key}: only the user's own file may set this" for key in ("url", "concurrent")
    ]
    folder = root('[remote]\nurl = "https://elsewhere.example/v1"\n')
    assert load(environment={}, workspace_roots=[folder]).config.remote == RemoteConfig()
    mine = user('[remote]\nurl = "https://own.example/v1"\nconcurrent = 9\n')
    assert load(mine, {}).config.remote == RemoteConfig(url="https://own.example/v1", concurrent=9)
    own = {"CODER_LSP_REMOTE_URL": "http://localhost:8080"}
    assert load(environment=own).config.remote.url == "http://localhost:8080"


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random"])
def test_a_repository_cannot_have_a_device_read(tmp_path, device):
    """A link to a device that never ends filled the memory: its size is 0."""
    (tmp_path / WORKSPACE_FILE).symlink_to(device)
    loaded = load(environment={}, workspace_roots=[tmp_path])
    assert loaded.config == Config()
    assert [fault.message.rpartition(": ")[2] for fault in loaded.faults] == ["not a file"]


@pytest.mark.parametrize("key", ["adapters", "completion.max_tokens_line", "host.idle_seconds"])
def test_a_number_larger_than_any_float_is_a_fault(key):
    """It was compared as a float, which raised."""
    loaded = load(environment={}, editor={key: 10**400})
    assert loaded.config == Config()
    assert len(loaded.faults) == 1
