from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import tomlkit
from support.model_files import catalog_text, sha256, write_gguf

from coder_lsp import paths
from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.errors import (
    DiskFull,
    InputError,
    ModelCorrupt,
    ModelFromNewerVersion,
    ModelNotFound,
    ModelNotInstalled,
)
from coder_lsp.models import files, store


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return write_gguf(folder / "My Model_Q4.gguf")


def test_an_added_file_is_copied_recorded_and_found_by_name(gguf_file):
    added = store.add(gguf_file)
    assert added.name == "my-model-q4"
    assert added.path == paths.models_dir() / "my-model-q4" / "My Model_Q4.gguf"
    assert added.path.read_bytes() == gguf_file.read_bytes()
    assert added.sha256 == sha256(gguf_file.read_bytes())
    assert added.template == "qwen"
    assert not added.verified
    assert store.resolve("my-model-q4") == added
    assert store.installed() == [added]


def test_an_added_folder_gives_the_one_gguf_in_it(gguf_file):
    assert store.add(gguf_file.parent, "mine").path.name == gguf_file.name


def test_a_folder_with_none_or_several_ggufs_is_refused(gguf_file, tmp_path):
    with pytest.raises(ModelNotFound, match="no GGUF"):
        store.add(tmp_path / "downloads" / "..")
    write_gguf(gguf_file.parent / "other.gguf")
    with pytest.raises(InputError, match="2 GGUF files") as caught:
        store.add(gguf_file.parent)
    assert "other.gguf" in caught.value.hint


def test_a_linked_file_stays_where_it_is_even_when_the_model_is_removed(gguf_file):
    added = store.add(gguf_file, "mine", link=True)
    assert (added.path, added.linked) == (gguf_file, True)
    assert store.resolve("mine").path == gguf_file
    removed = store.remove("mine")
    assert (removed.freed_bytes, removed.left) == (0, ())
    assert gguf_file.exists()
    with pytest.raises(ModelNotFound):
        store.resolve("mine")


def test_a_linked_file_that_went_away_is_reported_with_its_path(gguf_file):
    store.add(gguf_file, "mine", link=True)
    gguf_file.unlink()
    with pytest.raises(ModelCorrupt, match=r"gone.*My Model_Q4"):
        store.resolve("mine")


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "UPPER CASE", "sub\\x", ".hidden"])
def test_a_name_that_is_not_one_plain_component_is_refused(gguf_file, name):
    with pytest.raises(InputError, match="cannot name a model"):
        store.add(gguf_file, name)
    assert list(paths.models_dir().iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "", ".", "..", ".locks"])
def test_removing_by_such_a_name_touches_nothing(name):
    with pytest.raises(ModelNotFound):
        store.remove(name)


def test_what_is_not_a_whole_gguf_is_not_added(tmp_path, gguf_file):
    text = tmp_path / "readme.gguf"
    text.write_text("hello")
    with pytest.raises(ModelCorrupt, match="not a GGUF"):
        store.add(text)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_file.read_bytes()[:-1])
    with pytest.raises(ModelCorrupt, match="truncated"):
        store.add(cut)
    assert store.installed() == []


def test_a_name_that_is_taken_is_refused(gguf_file):
    store.add(gguf_file, "mine")
    with pytest.raises(InputError, match="already"):
        store.add(gguf_file, "mine")


def test_no_room_is_found_out_before_a_byte_is_copied(gguf_file, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match=r"needed, 1\.0 kB free"):
        store.add(gguf_file, "mine")
    assert store.installed() == []


def test_a_file_with_a_catalogue_name_must_have_the_catalogue_digest(tiny, tmp_path, use_catalog):
    use_catalog(catalog_text("tiny", "tiny-q4.gguf", tiny))
    good = tmp_path / "tiny-q4.gguf"
    good.write_bytes(tiny)
    added = store.add(good)
    assert (added.name, added.verified, added.template) == ("tiny", True, "qwen")
    store.remove("tiny")

    good.write_bytes(write_gguf(tmp_path / "other.gguf", name="Other").read_bytes())
    with pytest.raises(ModelCorrupt, match="expected") as caught:
        store.add(good)
    assert sha256(tiny) in caught.value.message
    assert store.add(good, "own-name").verified is False


def test_remove_deletes_what_the_store_made_and_reports_the_rest(gguf_file):
    model = store.add(gguf_file, "mine")
    notes = model.path.parent / "notes.txt"
    notes.write_text("keep me")
    removed = store.remove("mine")
    assert removed.freed_bytes == gguf_file.stat().st_size
    assert removed.left == (notes,)
    assert not model.path.exists()
    with pytest.raises(ModelNotFound):
        store.resolve("mine")


def test_a_folder_linked_into_the_store_by_hand_is_a_model_that_the_store_does_not_delete(gguf_file):
    (paths.models_dir() / "shared").symlink_to(gguf_file.parent)
    model = store.resolve("shared")
    assert model.path.name == gguf_file.name
    assert model.sha256 is None
    with pytest.raises(InputError, match="is a link"):
        store.remove("shared")
    assert gguf_file.exists()


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"name": 1}',
        lambda good: good.replace("mine", "other"),
        lambda good: good.replace("My Model_Q4.gguf", "../../../etc/passwd"),
        lambda good: good.replace('"bytes": ', '"bytes": "x'),
        lambda good: json.dumps(json.loads(good) | {"bytes": "many"}),
        # What no file system has as a name, or what is no name; and what is too deep for the parser.
        lambda good: json.dumps(json.loads(good) | {"file": "a\0.gguf"}),
        lambda good: json.dumps(json.loads(good) | {"file": ".."}),
        lambda good: json.dumps(json.loads(good) | {"file": "x" * 300}),
        "[" * 100_000,
    ],
)
def test_a_damaged_record_is_a_clear_error_and_does_not_hide_the_others(gguf_file, damage):
    model = store.add(gguf_file, "mine")
    other = store.add(gguf_file, "other-one")
    record = model.path.parent / "model.json"
    record.write_text(damage(record.read_text()) if callable(damage) else damage)
    with pytest.raises(ModelCorrupt, match="record of mine is damaged") as caught:
        store.resolve("mine")
    assert "coder-lsp models remove mine" in caught.value.hint
    broken, good = store.installed()
    assert isinstance(broken, store.BrokenModel)
    assert (broken.name, good) == ("mine", other)
    # The advice works: the record goes, and what it may have named is left and reported.
    assert store.remove("mine").left == (model.path,)


def test_a_linked_record_that_names_no_possible_file_is_an_error(gguf_file):
    store.add(gguf_file, "mine", link=True)
    record = store.folder("mine") / "model.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"file": "/a\0.gguf"}))
    with pytest.raises(ModelCorrupt, match="is gone"):
        store.resolve("mine")


def test_a_folder_in_place_of_a_record_is_left_by_a_removal(gguf_file):
    model = store.add(gguf_file, "mine")
    record = model.path.parent / "model.json"
    record.unlink()
    record.mkdir()
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        store.resolve("mine")
    assert store.remove("mine").left == (model.path, record)


def test_a_record_of_an_earlier_version_is_read_and_one_of_a_newer_version_left_alone(gguf_file):
    """Earlier ones had no number of their form. What a newer one merely adds is passed over."""
    model = store.add(gguf_file, "mine")
    path = model.path.parent / "model.json"
    written = json.loads(path.read_text())
    assert written.pop("format") == 1
    path.write_text(json.dumps(written))
    assert store.resolve("mine") == model
    path.write_text(json.dumps(written | {"format": 1, "quality": {"gate": 0.5}}))
    assert store.resolve("mine") == model
    newer = json.dumps(written | {"format": 2, "bytes": "all of them"})
    path.write_text(newer)
    with pytest.raises(
        ModelFromNewerVersion, match=r"model\.json was written by a newer coder-lsp \(format 2"
    ) as refused:
        store.resolve("mine")
    assert refused.value.hint == "update coder-lsp"
    [found] = store.installed()
    assert isinstance(found, store.BrokenModel)
    assert path.read_text() == newer


def test_a_model_file_that_became_shorter_is_refused(gguf_file):
    model = store.add(gguf_file, "mine")
    with model.path.open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(ModelCorrupt, match="has 100 bytes instead of"):
        store.resolve("mine")
    assert isinstance(store.installed()[0], store.BrokenModel)


def test_verify_finds_a_changed_byte(gguf_file):
    model = store.add(gguf_file, "mine")
    assert store.verify("mine").ok
    data = bytearray(model.path.read_bytes())
    data[-1] ^= 1
    model.path.write_bytes(data)
    result = store.verify("mine")
    assert not result.ok
    assert (result.actual, result.expected) == (sha256(bytes(data)), model.sha256)


def test_verify_records_a_file_that_proves_to_be_the_catalogues(tiny, use_catalog):
    use_catalog(catalog_text("tiny", "tiny-q4.gguf", tiny))
    folder = paths.models_dir() / "tiny"
    folder.mkdir()
    (folder / "tiny-q4.gguf").write_bytes(tiny)
    assert store.resolve("tiny").verified is False
    assert store.verify("tiny").ok
    assert store.resolve("tiny").verified is True


def test_a_path_is_a_model_too(gguf_file, monkeypatch):
    model = store.resolve(str(gguf_file))
    assert (model.name, model.path, model.template) == ("My Model_Q4", gguf_file, None)
    monkeypatch.chdir(gguf_file.parent)
    assert store.resolve(gguf_file.name).path == gguf_file
    with pytest.raises(ModelNotFound, match="no file at"):
        store.resolve("./missing.gguf")


def test_a_known_model_that_is_absent_says_how_to_get_it():
    with pytest.raises(ModelNotInstalled) as caught:
        store.resolve("default")
    assert caught.value.hint == f"run: coder-lsp models pull {DEFAULT_MODEL}"


def test_use_changes_one_key_and_keeps_the_rest_of_the_settings(gguf_file):
    store.add(gguf_file, "mine")
    settings = paths.config_file()
    settings.parent.mkdir(parents=True)
    before = "# my settings\noffline = true  # no network here\n\n[engine]\nthreads = 2 # two\n"
    settings.write_text(before)
    settings.chmod(0o640)
    store.use("mine")
    text = settings.read_text()
    assert tomlkit.parse(text)["model"] == "mine"
    assert text.replace('model = "mine"\n', "") == before
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640
    store.use(str(gguf_file))
    assert tomlkit.parse(settings.read_text())["model"] == str(gguf_file)


def test_use_makes_the_settings_file_and_follows_a_link_to_it(gguf_file, tmp_path):
    store.add(gguf_file, "mine")
    store.use("mine")
    assert paths.config_file().read_text() == 'model = "mine"\n'
    paths.config_file().unlink()
    dotfile = tmp_path / "dotfiles.toml"
    dotfile.write_text("offline = true\n")
    paths.config_file().symlink_to(dotfile)
    store.use("mine")
    assert paths.config_file().is_symlink()
    assert "mine" in dotfile.read_text()


def test_use_refuses_what_is_not_here_and_settings_that_are_not_toml(gguf_file):
    with pytest.raises(ModelNotInstalled):
        store.use("default")
    assert not paths.config_file().exists()
    store.add(gguf_file, "mine")
    paths.config_file().parent.mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text("model = [")
    with pytest.raises(InputError, match="not valid TOML"):
        store.use("mine")
    assert paths.config_file().read_text() == "model = ["


def test_the_store_is_for_the_user_alone(gguf_file):
    model = store.add(gguf_file, "mine")
    assert stat.S_IMODE(paths.models_dir().stat().st_mode) == 0o700
    assert stat.S_IMODE((model.path.parent / "model.json").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_replaced_leaves_no_temporary_one(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(OSError):
        files.write_text(tmp_path / "target", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
