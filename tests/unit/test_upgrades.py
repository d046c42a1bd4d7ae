"""What other versions left on disk: older state is read or made again, newer state is left as it is, and
docs/upgrades.md says so. ``support/old_state`` was written by the code of the commits that first had these formats.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import tiny_gguf
from support.model_files import write_gguf

from coder_lsp import configuration, paths
from coder_lsp.cli.main import run
from coder_lsp.completion import show_filter
from coder_lsp.engine import tuned
from coder_lsp.host import protocol, saved
from coder_lsp.models import adapters, record, store
from coder_lsp.retrieval import database
from coder_lsp.retrieval.database import APPLICATION_ID, database_path
from coder_lsp.retrieval.store import Store
from coder_lsp.stats import store as statistics
from coder_lsp.stats.events import Fate
from coder_lsp.stats.store import History, HistoryError, history_path
from coder_lsp.train import dataset
from coder_lsp.train.run import record as run_record

OLD = Path(__file__).parents[1] / "support" / "old_state"
PAGE = Path(__file__).parents[2] / "docs" / "upgrades.md"
WRITTEN_AT = 1_790_000_000.0
"""When the old statistics were."""


def restore(dump, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as old:
        old.executescript((OLD / dump).read_text(encoding="utf-8"))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def models(tmp_path):
    """A model and an adapter in the store, with records as version 0.1.0 wrote them: without a number."""
    model = store.add(write_gguf(tmp_path / "mine.gguf"), "mine")
    adapter = adapters.add(tiny_gguf.write_lora(tmp_path / "lora.gguf"), "mine")
    for path in (model.path.parent / "model.json", adapter.path.parent / "adapter.json"):
        table = json.loads(path.read_text())
        del table["format"]
        path.write_text(json.dumps(table, indent=2) + "\n")
    return model, adapter


def test_the_first_index_is_built_anew_and_that_is_said(root):
    restore("index-1.sql", database_path(root))
    with closing(Store.open(database_path(root), root=root, made_by="now")) as opened:
        assert opened.replaced == f"it had the format 1, and this version knows {database.SCHEMA_VERSION}"
        assert opened.load_skipped() == []


def test_the_first_statistics_keep_every_row():
    restore("suggestions-1.sql", history_path())
    with closing(History(on_notice=pytest.fail, clock=lambda: WRITTEN_AT)) as history:
        rows = history.read()
        assert [(row.key, row.fate, row.accepted_characters) for row in rows] == [
            (1, Fate.ACCEPTED, 24),
            (2, Fate.REJECTED, 0),
            (3, Fate.TYPED, 24),
        ]
        assert all(len(row.features) == len(show_filter.FEATURES) for row in rows)


def test_models_and_adapters_without_a_number_are_read(models):
    model, adapter = models
    assert store.resolve("mine") == model
    assert adapters.resolve("mine") == adapter


@pytest.mark.parametrize(
    "command", [("stats",), ("models", "list"), ("models", "list", "--adapters"), ("index", "--status")]
)
def test_no_command_changes_a_byte_of_what_a_newer_version_left(command, models, root, capsys, monkeypatch):
    """And none of them crashes."""
    monkeypatch.chdir(root)
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text('[completion]\nmood = "good"\n\n[dreams]\nvivid = true\n')
    for path in (models[0].path.parent / "model.json", models[1].path.parent / "adapter.json"):
        path.write_text(json.dumps({"format": record.FORMAT + 1, "entirely": ["different"]}))
    with closing(sqlite3.connect(history_path())) as newer:
        newer.executescript(f"CREATE TABLE told (all_new); PRAGMA user_version = {statistics.SCHEMA_VERSION + 1};")
    show_filter.weights_path().write_text(
        json.dumps({"feature_version": show_filter.FEATURE_VERSION + 1, "weights": {}})
    )
    tuned.file().write_text(json.dumps({"key": {"threads": "many"}}))
    before = digests()
    status = run(list(command))
    said = capsys.readouterr()
    assert digests() == before
    assert "Traceback" not in said.err
    if command == ("stats",):
        assert status == 1
        assert "newer coder-lsp" in said.err
        assert len(said.err.strip().splitlines()) == 2, "the fact, and the next step"
    elif command[0] == "models":
        assert "newer coder-lsp" in said.out + said.err


def digests():
    home = paths.data_dir().parent
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_settings_of_a_newer_version_cost_only_themselves(tmp_path):
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('[completion]\nmood = "good"\nmultiline = false\n\n[dreams]\nvivid = true\n')
    loaded = configuration.load()
    assert not loaded.config.completion.multiline
    told = "\n".join(fault.message for fault in loaded.faults)
    assert len(loaded.faults) == 2
    assert "completion.mood" in told
    assert "dreams" in told


def test_a_newer_index_is_built_anew_without_a_word_of_damage(root):
    path = database_path(root)
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as newer:
        newer.executescript(
            f"CREATE TABLE everything (x); PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99;"
        )
    with closing(Store.open(path, root=root, made_by="now")) as opened:
        assert opened.replaced == f"it had the format 99, and this version knows {database.SCHEMA_VERSION}"


def test_statistics_of_a_newer_version_can_be_neither_read_nor_forgotten():
    path = history_path()
    restore("suggestions-1.sql", path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {statistics.SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with closing(History(on_notice=pytest.fail)) as history:
        for use in (history.read, history.forget):
            with pytest.raises(HistoryError, match="newer coder-lsp"):
                use()
    assert path.read_bytes() == before


def test_every_format_has_a_file_of_its_time():
    """Who changes a format adds what the version before made."""
    assert {path.name for path in OLD.iterdir()} >= {
        *(f"index-{version}.sql" for version in range(1, database.SCHEMA_VERSION)),
        *(f"suggestions-{version}.sql" for version in range(1, statistics.SCHEMA_VERSION + 1)),
    }


def test_the_page_has_the_numbers_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    rows = dict(
        re.findall(r"^\| ([\w ]+) \| [^|]+ \| (`[^|]+) \|", page.partition("## Editors")[0], flags=re.MULTILINE)
    )
    said = {what: re.findall(r"`(\w+)`(?: (\d+))?", version) for what, version in rows.items()}
    assert said == {
        "index of a workspace": [("user_version", str(database.SCHEMA_VERSION))],
        "statistics": [("user_version", str(statistics.SCHEMA_VERSION))],
        "features within the statistics": [("feature_version", str(show_filter.FEATURE_VERSION))],
        "trained show filter": [("feature_version", str(show_filter.FEATURE_VERSION))],
        "models": [("format", str(record.FORMAT))],
        "adapters": [("format", str(record.FORMAT))],
        "places read ahead": [(saved._MAGIC.decode().strip(), "")],
        "prepared training data": [("format", str(dataset.FORMAT))],
        "training runs": [("format", str(run_record.FORMAT))],
    }
    assert f"(version {protocol.PROTOCOL_VERSION} now)" in page
