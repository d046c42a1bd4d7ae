"""``bench retrieval`` on small workspaces: every figure is there, the goals are judged by them, the user's index is not
touched, and the search index answers as rank_bm25 does."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import coder_lsp
from coder_lsp.bench import bm25, busy_front, indexing
from coder_lsp.bench.bm25 import Bm25Options
from coder_lsp.bench.retrieval import RetrievalOptions, measure_retrieval
from coder_lsp.bench.retrieval_report import GOALS
from coder_lsp.bench.workspaces import default_folders, synthetic_files, write_workspace
from coder_lsp.cli.bench import bench
from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.retrieval.bm25 import unpack

SOURCES = [Path(coder_lsp.__file__).parent / name for name in ("engine", "prompt")]
SMALL = RetrievalOptions(
    files=(60,),
    starts=1,
    places=10,
    updates=2,
    requests=4,
    bm25=Bm25Options(queries=20, peer_queries=4, updates=10, loads=2),
)


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """Where temporary folders go: empty again when all are gone."""
    folder = tmp_path_factory.mktemp("t")  # Short: the paths of sockets depend on it.
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_every_figure_is_there(temporary, coder_lsp_home):
    notes = []
    figures = measure_retrieval(SMALL, SOURCES, notes.append)
    json.dumps(figures)
    assert figures["hardware"]
    (size,) = figures["sizes"]
    assert size["files"] == size["first_index"]["files"] == size["warm_start"]["files"] == 60
    assert size["first_index"]["chunks"] == size["in_use"]["chunks"] > 60
    assert size["in_use"]["resident_mb"]["peak"] >= size["in_use"]["resident_mb"]["asked"] > 0
    assert size["in_use"]["update"]["count"] == 2
    assert size["front"]["idle"]["requests"] == 4
    assert size["front"]["idle"]["index"] == "ready"
    assert size["bm25"]["peer"]["same_top"] == size["bm25"]["peer"]["queries"] == 4
    judged = {goal["figure"] for goal in size["goals"]}
    # So small a workspace may be indexed before the first request that counts.
    assert {sized.goal.figure for sized in GOALS} - judged <= {"front.indexing.request_ms.p95"}
    assert all(note.startswith("60 files: ") for note in notes)
    assert list(temporary.iterdir()) == []
    assert not (coder_lsp_home / "cache").exists()


def test_the_last_line_is_json(temporary):
    arguments = ["retrieval", "--files", "30", "--files", "20", "--bm25-only", "--no-reference"]
    arguments += [part for folder in SOURCES for part in ("--folder", str(folder))]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.strip().splitlines()
    sizes = json.loads(last)["sizes"]
    assert [size["bm25"]["files"] for size in sizes] == [30, 20]
    assert all("first_index" not in size and "left_out" in size["bm25"]["peer"] for size in sizes)
    assert any(line.startswith("30 files, ") and "load average" in line for line in lines)
    only = CliRunner().invoke(bench, [*arguments, "--json"])
    assert [size["files"] for size in json.loads(only.stdout)["sizes"]] == [30, 20]


def test_a_part_that_fails_says_why(temporary):
    words = replace(SMALL, bm25_only=True, bm25=Bm25Options(queries=-1))
    with pytest.raises(CoderLspError, match="bm25:measure_folder ended with status 1") as failed:
        measure_retrieval(words, SOURCES)
    assert "ZeroDivisionError" in failed.value.hint
    assert list(temporary.iterdir()) == []


def test_a_place_is_in_the_middle_of_a_line_of_another_file_each(tmp_path, coder_lsp_home):
    write_workspace(20, tmp_path, 1, SOURCES)
    with indexing._indexer(str(tmp_path), 20) as indexer:
        indexing._settle(indexer)
        places = indexing._places(indexer.index, tmp_path, indexing.random.Random(0), 15)
    assert len({path for path, _, _ in places}) == len(places) > 10
    for path, text, cursor in places:
        assert text == (tmp_path / path).read_text()
        before = text[:cursor].rpartition("\n")[2]
        assert before.strip()


def test_documents_to_type_in_are_beginnings_of_files(tmp_path):
    write_workspace(20, tmp_path, 1, SOURCES)
    documents = busy_front._documents(tmp_path, 0)
    assert documents
    for path, text in documents.items():
        whole = (tmp_path / path).read_text()
        assert whole.startswith(text)
        assert len(text) < len(whole)
    with pytest.raises(InputError, match="no Python file"):
        busy_front._documents(tmp_path / "nowhere", 0)


def test_memory_is_that_of_this_process():
    assert indexing._peak_mb() >= indexing._resident_mb() > 1


def test_a_corpus_is_cut_as_the_index_does_it(tmp_path):
    write_workspace(10, tmp_path, 1, SOURCES)
    corpus = bm25.read_corpus(path.read_text() for path in filter(Path.is_file, tmp_path.rglob("*")))
    assert len(corpus.chunks) == 10
    assert [len(unpack(packed)) for packed in corpus.packed] == [len(chunks) for chunks in corpus.chunks]


def test_the_same_seed_makes_the_same_files():
    files = list(synthetic_files(40, 1, SOURCES))
    assert files == list(synthetic_files(40, 1, SOURCES)) != list(synthetic_files(40, 2, SOURCES))
    assert len({file.path for file in files}) == 40


def test_copies_share_common_names_only(tmp_path):
    for number in range(3):
        lines = [f"def rare{number}(shared_name): # {word}" for word in ("many", "words", "here") * 4]
        (tmp_path / f"file{number}.py").write_text("\n".join(lines))
    files = list(synthetic_files(9, 1, [tmp_path]))
    copies = [[file.text for file in files if file.path.startswith(f"copy{copy}/")] for copy in range(3)]
    assert [len(set(texts)) for texts in copies] == [3, 3, 3]
    assert sorted(copies[0]) == [path.read_text() for path in sorted(tmp_path.iterdir())]
    for one, other in pairwise(copies):
        assert not set(one) & set(other)
        assert all("(shared_name)" in text and "def rare" in text for text in other)
        assert not any(name in text for text in other for name in ("rare0(", "rare1(", "rare2("))


def test_a_workspace_is_written(tmp_path):
    size_bytes = write_workspace(25, tmp_path, 1, SOURCES)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 25
    assert sum(path.stat().st_size for path in written) == size_bytes


def test_folders_without_source_are_refused(tmp_path):
    with pytest.raises(InputError, match="no source files"):
        list(synthetic_files(5, 1, [tmp_path]))


def test_by_default_the_standard_library_is_used():
    assert any((folder / "json" / "decoder.py").is_file() for folder in default_folders())
