"""The store of adapters, its commands, and which adapter the settings mean for a document."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tomlkit
from support import tiny_gguf
from support.model_files import write_gguf

from coder_lsp import configuration, paths
from coder_lsp.cli.main import run
from coder_lsp.errors import InputError, ModelCorrupt, ModelFromNewerVersion, ModelNotFound
from coder_lsp.models import adapters
from coder_lsp.models.chosen_adapters import ChosenAdapters
from coder_lsp.types import Adapter, CompletionRequest


@pytest.fixture
def lora(tmp_path):
    return tiny_gguf.write_lora(tmp_path / "My Lora.gguf", base="tiny-coder")


@pytest.fixture
def other(tmp_path):
    return tiny_gguf.write_lora(tmp_path / "other.gguf", seed=2)


@pytest.fixture
def command(capsys):
    """Runs ``coder-lsp models …``; gives exit status, stdout and stderr."""

    def models(*arguments):
        status = run(["models", *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return models


def settings():
    return tomlkit.parse(paths.config_file().read_text()).unwrap()


# The store


def test_an_added_adapter_is_found_with_what_its_file_says(lora):
    added = adapters.add(lora)
    assert (added.name, added.architecture, added.rank, added.alpha) == ("my-lora", "llama", 4, 4.0)
    assert (added.base, added.matrices) == ("tiny-coder", 2)
    assert adapters.resolve("My-Lora") == added == adapters.installed()[0]
    assert added.path.read_bytes() == lora.read_bytes()
    assert added.path.is_relative_to(paths.adapters_dir())
    assert added.path.stat().st_mode & 0o077 == 0 or added.path.parent.stat().st_mode & 0o077 == 0


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(lora, other):
    first = adapters.add(lora, "mine")
    with pytest.raises(InputError, match="already"):
        adapters.add(other, "mine")
    second = adapters.add(other, "mine", replace=True)
    assert second.path != first.path
    assert not first.path.exists()
    assert adapters.resolve("mine").sha256 == second.sha256


def test_replacing_with_the_same_file_keeps_it(lora):
    adapters.add(lora, "mine")
    assert adapters.add(lora, "mine", replace=True).path.exists()


@pytest.mark.parametrize("what", ["a model", "no gguf", "cut off", "nothing"])
def test_what_is_no_adapter_is_refused_and_leaves_nothing(tmp_path, lora, what):
    path = tmp_path / "x.gguf"
    if what == "a model":
        write_gguf(path)
    elif what == "no gguf":
        path.write_bytes(b"hello")
    elif what == "cut off":
        path.write_bytes(lora.read_bytes()[:-100])
    with pytest.raises((ModelCorrupt, ModelNotFound)):
        adapters.add(path, "x")
    assert adapters.installed() == []
    assert not adapters.folder("x").exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 90])
def test_names_that_could_be_paths_are_refused(lora, name):
    with pytest.raises(InputError, match="cannot name"):
        adapters.add(lora, name)


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", "[" * 100_000, '{"file": "../../x"}', '{"file": ".."}', "name", "size", "gone", "type", "file"],
)
def test_a_damaged_adapter_is_reported_and_hurts_no_other(lora, other, damage):
    adapters.add(other, "good")
    bad = adapters.add(lora, "bad")
    record = adapters.folder("bad") / adapters.RECORD
    if damage == "gone":
        bad.path.unlink()
    elif damage == "size":
        bad.path.write_bytes(b"x")
    elif damage == "name":
        record.write_text(record.read_text().replace('"name": "bad"', '"name": "good"'))
    elif damage in {"type", "file"}:
        # The digest went on to the host as it was, and each request with it was refused there.
        wrong = {"type": {"sha256": 5}, "file": {"file": "a\0.gguf"}}[damage]
        record.write_text(json.dumps(json.loads(record.read_text()) | wrong))
    else:
        record.write_text(damage)
    found = adapters.installed()
    assert [type(each).__name__ for each in found] == ["BrokenAdapter", "InstalledAdapter"]
    with pytest.raises(ModelCorrupt, match="bad"):
        adapters.resolve("bad")
    adapters.remove("bad")
    assert [each.name for each in adapters.installed()] == ["good"]


def test_a_record_of_an_earlier_version_is_read_and_one_of_a_newer_version_left_alone(lora):
    """A bug once: a field that a newer version had added was damage, and the advice was to remove the adapter."""
    adapter = adapters.add(lora, "mine")
    record = adapters.folder("mine") / adapters.RECORD
    written = json.loads(record.read_text())
    assert written.pop("format") == 1
    record.write_text(json.dumps(written))
    assert adapters.resolve("mine") == adapter
    record.write_text(json.dumps(written | {"trained_on": 12, "path": "/elsewhere"}))
    assert adapters.resolve("mine") == adapter
    newer = json.dumps(written | {"format": 2, "file": ["several"]})
    record.write_text(newer)
    with pytest.raises(ModelFromNewerVersion, match=r"adapter\.json was written by a newer coder-lsp") as refused:
        adapters.resolve("mine")
    assert refused.value.hint == "update coder-lsp"
    assert isinstance(adapters.installed()[0], adapters.BrokenAdapter)
    assert record.read_text() == newer


def test_a_path_is_an_adapter_too(lora):
    found = adapters.resolve(str(lora))
    assert (found.path, found.rank) == (lora, 4)
    os.utime(lora, ns=(1, 1))
    assert adapters.resolve(str(lora)).sha256 != found.sha256, "another time of change is another file"
    with pytest.raises(ModelNotFound):
        adapters.resolve(str(lora) + "x.gguf")


# The commands


def test_add_list_use_remove(command, lora, tmp_path):
    status, out, _ = command("add", "--adapter", "mine", lora)
    assert (status, out.startswith("mine: llama adapter for tiny-coder, rank 4, 2 matrices")) == (0, True)
    assert command("use", "--adapter", "mine")[0] == 0
    assert settings() == {"engine": {"loras": ["mine"]}}
    folder = tmp_path / "project"
    folder.mkdir()
    assert command("use", "--adapter", "mine", "--workspace", folder, "--scale", "0.5")[0] == 0
    assert settings()["adapters"] == {str(folder.resolve()): "mine@0.5"}
    (row,) = json.loads(command("list", "--adapters", "--json")[1])
    assert (row["name"], row["rank"], row["used"]) == ("mine", 4, ["everywhere", str(folder.resolve())])
    status, out, _ = command("list", "--adapters")
    assert out.splitlines()[1].split()[:3] == ["mine", "tiny-coder", "4"]
    status, out, err = command("remove", "--adapter", "mine")
    assert status == 0
    assert "still name it" in err
    assert adapters.installed() == []


def test_verify_tells_a_changed_byte_and_exits_with_1(command, lora, other):
    command("add", "--adapter", "mine", lora)
    command("add", "--adapter", "theirs", other)
    status, out, _ = command("verify", "--adapter", "mine")
    assert (status, out) == (
        0,
        f"adapter mine: ok, sha256 {adapters.resolve('mine').sha256} as in the record made when it was added\n",
    )
    path = adapters.resolve("mine").path
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)
    status, out, _ = command("verify", "--adapter", "mine")
    assert status == 1
    assert out.startswith("adapter mine: WRONG: sha256 ")
    status, out, _ = command("verify", "--all", "--adapter", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 1
    assert {name: (row["ok"], row["adapter"]) for name, row in rows.items()} == {
        "mine": (False, True),
        "theirs": (True, True),
    }


def test_verifying_everything_has_the_adapters_with_it_and_goes_on_behind_a_damaged_one(command, lora, other, tmp_path):
    command("add", "coder", write_gguf(tmp_path / "coder.gguf"))
    command("add", "--adapter", "bad", lora)
    command("add", "--adapter", "good", other)
    adapters.resolve("bad").path.unlink()
    status, out, _ = command("verify", "--all")
    assert status == 1
    assert [line.split(":")[0] for line in out.splitlines()] == ["coder", "adapter bad", "adapter good"]
    assert "is gone" in out
    adapters.remove("bad")
    assert command("verify", "--all")[0] == 0


def test_a_file_by_its_path_is_read_and_compared_with_nothing(command, lora):
    status, out, _ = command("verify", "--adapter", lora)
    assert status == 0
    assert "there is none to compare it with" in out


def test_the_list_of_models_says_what_lies_over_the_one_that_is_served(command, lora, tmp_path):
    command("add", "--adapter", "mine", lora)
    assert "over it" not in command("list")[2]
    command("use", "--adapter", "mine", "--scale", "0.5")
    command("use", "--adapter", "mine", "--workspace", tmp_path)
    status, out, err = command("list")
    assert status == 0
    assert "mine" not in out
    assert f"over it, by the settings: mine (everywhere), mine ({tmp_path.resolve()})" in err
    assert isinstance(json.loads(command("list", "--json")[1]), list)


def test_use_without_one(command, lora, tmp_path):
    command("add", "--adapter", "mine", lora)
    command("use", "--adapter", "mine")
    assert command("use", "--no-adapter", "--workspace", tmp_path)[0] == 0
    assert settings() == {"engine": {"loras": ["mine"]}, "adapters": {str(tmp_path.resolve()): ""}}
    assert command("use", "--no-adapter")[0] == 0
    assert settings()["engine"] == {"loras": []}


def test_the_rest_of_the_settings_stays(command, lora):
    file = paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('# mine\nmodel = "x"  # keep\n\n[engine]\nthreads = 2 # two\n')
    command("add", "--adapter", "mine", lora)
    command("use", "--adapter", "mine")
    text = file.read_text()
    assert text.startswith('# mine\nmodel = "x"  # keep\n')
    assert "threads = 2 # two" in text
    assert configuration.load(file, {}).config.engine.loras == ("mine",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("use", "--adapter"), "exclude each other"),
        (("use", "--no-adapter", "mine"), "exclude each other"),
        (("use",), "no model was named"),
        (("use", "x", "--workspace", "."), "are for adapters"),
        (("use", "--adapter", "unknown"), "there is no adapter named"),
        (("add", "--replace", "x.gguf"), "--replace is for adapters"),
        (("add", "--adapter", "--link", "x.gguf"), "always copied"),
        (("remove", "--adapter", "unknown"), "there is no adapter named"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(command, arguments, words):
    status, out, err = command(*arguments)
    assert status != 0
    assert (out, words in err) == ("", True)
    assert len(err.splitlines()) == 2


def test_an_adapter_is_not_taken_for_a_model_nor_a_model_for_an_adapter(command, lora, tmp_path):
    status, _, err = command("add", lora)
    assert status == 2
    assert f"coder-lsp models add --adapter {lora}" in err
    status, _, err = command("add", "--adapter", write_gguf(tmp_path / "model.gguf"))
    assert status == 1
    assert "no LoRA adapter but a model" in err


def test_a_folder_that_is_not_there(command, lora, tmp_path):
    command("add", "--adapter", "mine", lora)
    status, _, err = command("use", "--adapter", "mine", "--workspace", tmp_path / "nowhere")
    assert status == 2
    assert "no folder" in err


def test_engine_that_is_no_table(command, lora):
    paths.config_file().parent.mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text("engine = 3\n")
    command("add", "--adapter", "mine", lora)
    status, _, err = command("use", "--adapter", "mine")
    assert (status, "engine is no table" in err) == (2, True)
    assert paths.config_file().read_text() == "engine = 3\n"


# The settings


def test_the_table_of_folders_in_the_settings(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[adapters]\n"/b" = "two"\n"/a" = "one@0.5"\n')
    loaded = configuration.load(file, {})
    assert loaded.faults == ()
    assert loaded.config.adapters == (("/a", "one@0.5"), ("/b", "two"))
    assert configuration.load(environment={}, editor={"adapters": {"/c": "x"}}).config.adapters == (("/c", "x"),)


@pytest.mark.parametrize("text", ['adapters = ["a"]', "adapters = 1", "[adapters]\nx = 1"])
def test_a_table_that_is_none_is_a_fault(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    loaded = configuration.load(file, {})
    assert loaded.config.adapters == ()
    assert [fault.message for fault in loaded.faults if "adapters" in fault.message] != []


def test_a_repository_cannot_choose_an_adapter(tmp_path):
    (tmp_path / configuration.WORKSPACE_FILE).write_text('[adapters]\n"/" = "theirs"\n')
    loaded = configuration.load(environment={}, workspace_roots=[tmp_path])
    assert loaded.config.adapters == ()
    assert len(loaded.faults) == 1


# Which one is meant


def at(path):
    return CompletionRequest(Path(path).as_uri(), "", 0)


def chosen(editor, told=None):
    config = configuration.load(environment={}, editor=editor).config
    return ChosenAdapters(config, (told if told is not None else []).append)


def test_the_longest_folder_counts_and_an_empty_name_means_none(lora, other, tmp_path):
    one, two = adapters.add(lora, "one"), adapters.add(other, "two")
    project = tmp_path / "project"
    (project / "vendor" / "ours").mkdir(parents=True)
    choice = chosen(
        {
            "engine": {"loras": ["one"]},
            "adapters": {str(project): "two@0.5", str(project / "vendor"): "", str(project / "vendor/ours"): "one"},
        }
    )
    mine = Adapter(str(one.path), 1.0, one.sha256)
    assert choice(at(tmp_path / "elsewhere.py")) == (mine,)
    assert choice(at(project / "src" / "a b.py")) == (Adapter(str(two.path), 0.5, two.sha256),)
    assert choice(at(project / "vendor" / "x.py")) == ()
    assert choice(at(project / "vendor" / "ours" / "x.py")) == (mine,)
    assert choice(at(f"{project}-2/x.py")) == (mine,), "a folder whose name only begins alike"


def test_a_folder_that_is_reached_by_a_link_is_that_folder(lora, tmp_path):
    added = adapters.add(lora, "one")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    choice = chosen({"adapters": {str(tmp_path / "link"): "one"}})
    assert [each.path for each in choice(at(tmp_path / "real" / "x.py"))] == [str(added.path)]


def test_a_notebook_cell_and_a_document_without_a_file(lora, tmp_path):
    adapters.add(lora, "one")
    choice = chosen({"adapters": {str(tmp_path): "one"}})
    assert len(choice(CompletionRequest(f"vscode-notebook-cell:{tmp_path}/n.ipynb#W0", "", 0))) == 1
    assert choice(CompletionRequest("untitled:Untitled-1", "", 0)) == ()
    for no_file in ("file:///a%00.py", "file://[::1/a.py", "file:///\ud800.py"):
        assert choice(CompletionRequest(no_file, "", 0)) == ()


def test_an_adapter_that_is_replaced_or_comes_later_is_taken_at_the_next_request(lora, other, tmp_path):
    told = []
    choice = chosen({"engine": {"loras": ["late"]}}, told)
    assert choice(at("/x.py")) == choice(at("/y.py")) == ()
    assert len(told) == 1
    assert "late" in told[0]
    assert "coder-lsp models add --adapter" in told[0]
    first = adapters.add(lora, "late")
    assert [each.version for each in choice(at("/x.py"))] == [first.sha256]
    second = adapters.add(other, "late", replace=True)
    assert [each.version for each in choice(at("/x.py"))] == [second.sha256]
    adapters.remove("late")
    assert choice(at("/x.py")) == ()
    assert len(told) == 2, "told again, since it was there in between"


def test_a_file_by_its_path_is_another_adapter_when_it_changes(lora):
    choice = chosen({"engine": {"loras": [f"{lora}@2"]}})
    (first,) = choice(at("/x.py"))
    assert (first.path, first.scale) == (str(lora), 2.0)
    os.utime(lora, ns=(5, 5))
    (second,) = choice(at("/x.py"))
    assert second.version != first.version


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("a", ("a", 1.0)),
        ("a@0.5", ("a", 0.5)),
        ("a@b", ("a@b", 1.0)),
        ("/x@y/z.gguf@2", ("/x@y/z.gguf", 2.0)),
        ("@1", ("@1", 1.0)),
    ],
)
def test_a_scale_behind_a_name(setting, expected):
    assert adapters.split_scale(setting) == expected
