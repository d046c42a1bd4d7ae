"""``coder-lsp models``, through the same entry point as the command."""

from __future__ import annotations

import json

import pytest
import tomlkit
from support.model_files import catalog_text, serving, write_gguf

from coder_lsp import paths
from coder_lsp.cli.main import run
from coder_lsp.models import catalog

FILE = "tiny-q4.gguf"
REPO = "owner/tiny-GGUF"


@pytest.fixture
def command(capsys):
    """Runs ``coder-lsp models …``; gives exit status, stdout and stderr."""

    def models(*arguments):
        status = run(["models", *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return models


@pytest.fixture
def hub(tiny, monkeypatch, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    with serving({f"/{REPO}/resolve/main/{FILE}": tiny}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def gguf_file(tmp_path):
    return write_gguf(tmp_path / "mine.gguf", tokens=("a", "b"))


def test_list_shows_every_model_of_the_catalogue_and_marks_the_served_one(command):
    status, out, _ = command("list")
    assert status == 0
    assert all(entry.name in out for entry in catalog.load().entries)
    (marked,) = (line for line in out.splitlines() if line.startswith("*"))
    assert "qwen2.5-coder-0.5b-instruct" in marked


def test_list_as_json_puts_what_is_here_first(command, gguf_file):
    command("add", "mine", gguf_file)
    rows = json.loads(command("list", "--json")[1])
    assert [row["installed"] for row in rows] == sorted((row["installed"] for row in rows), reverse=True)
    assert rows[0] | {"name": "mine", "template": "none", "verified": False, "fault": ""} == rows[0]
    assert rows[0]["path"] == str(paths.models_dir() / "mine" / "mine.gguf")
    default = next(row for row in rows if row["default"])
    assert default["name"] == "qwen2.5-coder-0.5b-instruct"
    assert default["licence"] == "Apache-2.0"
    assert default["min_memory_gb"] > 0


def test_list_says_which_model_is_damaged_and_still_lists_the_rest(command, gguf_file):
    command("add", "mine", gguf_file)
    (paths.models_dir() / "mine" / "model.json").write_text("{")
    status, out, err = command("list")
    assert status == 0
    assert "damaged" in out
    assert "record of mine is damaged" in err
    assert "codestral-22b" in out


def test_pull_then_verify_then_path(command, hub, tiny):
    status, out, _ = command("pull", "tiny")
    assert (status, "verified" in out) == (0, True)
    assert command("verify", "tiny")[0] == 0
    path = command("path", "wee")[1].strip()
    assert path == str(paths.models_dir() / "tiny" / FILE)
    with open(path, "r+b") as stream:  # noqa: PTH123  (what a user's other program would do)
        stream.seek(len(tiny) - 1)
        stream.write(b"!")
    status, out, _ = command("verify", "--all")
    assert status == 1
    assert "WRONG" in out


def test_pull_as_json_ends_with_the_model(command, hub):
    lines = [json.loads(line) for line in command("pull", "tiny", "--json")[1].splitlines()]
    assert lines[0]["event"] == "begin"
    assert lines[-1]["event"] == "done"
    assert lines[-1]["model"]["verified"] is True


@pytest.mark.parametrize("how", ["flag", "environment", "settings"])
def test_offline_is_honoured_wherever_it_is_said(command, hub, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("CODER_LSP_OFFLINE", "1")
    if how == "settings":
        paths.config_file().parent.mkdir(parents=True, exist_ok=True)
        paths.config_file().write_text("offline = true\n")
    status, out, err = command("pull", "tiny", *(["--offline"] if how == "flag" else []))
    assert (status, out) == (1, "")
    assert err.startswith("error: tiny is not on this machine and the network is forbidden")
    assert len(err.splitlines()) == 2
    assert hub.gets == []


def test_an_unverified_model_needs_the_flag_where_nobody_can_be_asked(command, hub, tiny, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, digest=None))
    status, _, err = command("pull", "tiny")
    assert status == 1
    assert "--allow-unverified" in err
    status, out, _ = command("pull", "tiny", "--allow-unverified")
    assert status == 0
    assert "unverified" in out


def test_add_link_use_and_remove(command, gguf_file):
    status, out, err = command("add", "--link", gguf_file)
    assert (status, out.startswith("mine: ")) == (0, True)
    assert "no fill-in-the-middle tokens" in err
    assert command("use", "mine")[0] == 0
    assert tomlkit.parse(paths.config_file().read_text())["model"] == "mine"
    assert command("path")[1].strip() == str(gguf_file)
    assert command("remove", "mine", "--yes")[0] == 0
    assert gguf_file.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("add", "no/such/file.gguf"), 1, "no file at"),
        (("add", "a", "b", "c"), 2, "3 arguments"),
        (("path", "codestral"), 1, "not on this machine"),
        (("use", "codestral"), 1, "not on this machine"),
        (("remove", "../../etc"), 1, "cannot be the name"),
        (("pull", "qwen"), 1, "no model named"),
        (("verify", "mine", "--all"), 2, "both a name and --all"),
    ],
)
def test_a_mistake_is_one_line_and_a_next_step(command, arguments, status, message):
    got, out, err = command(*arguments)
    assert (got, out) == (status, "")
    assert message in err
    assert len(err.splitlines()) == 2


def test_names_are_completed(hub):
    from click.shell_completion import ShellComplete

    from coder_lsp.cli.models import models

    completions = ShellComplete(models, {}, "models", "_X").get_completions(["pull"], "ti")
    assert [item.value for item in completions] == ["tiny"]
