"""Evaluated places on disk: whole or not there, private, bounded."""

from __future__ import annotations

import os
import stat

import pytest

from coder_lsp.host.saved import SavedPlaces

TOKENS = tuple(range(100, 400))
STATE = bytes(range(256)) * 64


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "places" / "model"


def test_what_was_saved_comes_back(folder):
    assert SavedPlaces(folder, 4).save("file:///a.py", TOKENS, STATE)
    again = SavedPlaces(folder, 4)
    assert again.shared("file:///a.py", (*TOKENS[:50], 7)) == 50
    assert again.load("file:///a.py").tokens == TOKENS
    assert again.load("file:///a.py").state == STATE


def test_an_unknown_document_shares_nothing(folder):
    places = SavedPlaces(folder, 4)
    assert places.shared("file:///a.py", TOKENS) == 0
    assert places.load("file:///a.py") is None


def test_only_the_user_can_read_it(folder):
    SavedPlaces(folder, 4).save("file:///a.py", TOKENS, STATE)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("at", [0, 10, 40, 200, 1500, 5000])
def test_a_changed_byte_is_noticed_and_the_file_removed(folder, at):
    SavedPlaces(folder, 4).save("file:///a.py", TOKENS, STATE)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert SavedPlaces(folder, 4).load("file:///a.py") is None
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 3, 39, 60, 2000])
def test_a_cut_file_is_no_place(folder, length):
    SavedPlaces(folder, 4).save("file:///a.py", TOKENS, STATE)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:length])
    again = SavedPlaces(folder, 4)
    assert again.shared("file:///a.py", TOKENS) == 0
    assert again.load("file:///a.py") is None


def test_the_oldest_go_over_all_models(folder):
    """A place of another model, unused for long, is as old as any other."""
    other = folder.parent / "other"
    SavedPlaces(other, 3).save("file:///x.py", TOKENS, STATE)
    places = SavedPlaces(folder, 3)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        places.save(name, TOKENS, STATE)
        path = places._path(name)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    (path,) = other.iterdir()
    os.utime(path, (1, 1))
    places.save("d", TOKENS, STATE)
    assert not path.exists()
    assert [bool(SavedPlaces(folder, 3).load(name)) for name in "abcd"] == [False, True, True, True]


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path):
    (tmp_path / "places").write_text("in the way")
    places = SavedPlaces(tmp_path / "places" / "model", 4)
    assert not places.save("file:///a.py", TOKENS, STATE)
    assert places.load("file:///a.py") is None


def test_nothing_half_written_is_left(folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("coder_lsp.host.saved.os.fsync", full)
    assert not SavedPlaces(folder, 4).save("file:///a.py", TOKENS, STATE)
    assert list(folder.iterdir()) == []
