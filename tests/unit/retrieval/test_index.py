"""The index in memory: layers of what a file is, questions about it, and that nothing raises."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest

from coder_lsp.retrieval.bm25 import tokenize
from coder_lsp.retrieval.index import Index
from coder_lsp.retrieval.record import make_record
from coder_lsp.retrieval.store import Store

ROOT = Path("/project")
ONE = "import os\n\n\ndef load_order(number):\n    return os.path.join(number)\n"
TWO = "class Basket:\n    def add_label(self, label):\n        self.labels.append(label)\n"
FILLER = Path("/filler")
"""Another root: BM25 gives words nothing that are in every second chunk, so there must be other chunks."""
THREE = "def load_order(price):\n    raise NotImplementedError(price)\n"


@pytest.fixture
def damaged():
    return []


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "index.sqlite3", root=ROOT, made_by="test")
    yield opened
    opened.close()


@pytest.fixture
def index(store, damaged):
    made = Index(on_damage=lambda root, _: damaged.append(root))
    made.attach(ROOT, store)
    fill(made)
    return made


def fill(index):
    index.attach(FILLER, None)
    index.put(FILLER, [make_record(f"{n}.py", f"other{n} = thing{n}\n") for n in range(20)], stored=False)


def files(index):
    return [file for _, file in index.files() if file.root != FILLER]


def put(index, store, **texts):
    records = [make_record(f"{name}.py", text) for name, text in texts.items()]
    store.write(records)
    index.put(ROOT, records, stored=True)


def hold(index, **texts):
    index.put(ROOT, [make_record(f"{name}.py", text) for name, text in texts.items()], stored=False)


def found(index, query):
    return sorted({index.file(hit.file).path for hit in index.search(tokenize(query), 99)})


def defined(index, *names):
    return {
        name: sorted((index.file(file).path, definition.signature) for file, definition in found)
        for name, found in index.definitions(names).items()
    }


def test_a_file_can_be_searched_named_and_read(index, store):
    put(index, store, one=ONE, two=TWO)
    [hit] = index.search(tokenize("load order"), 9)
    file = index.file(hit.file)
    assert (file.path, file.root, file.language, file.lines) == ("one.py", ROOT, "python", 6)
    assert hit.chunk in file.chunks
    assert index.lines(hit.file, hit.chunk.start_line, hit.chunk.end_line)[0] == "import os"
    assert defined(index, "load_order", "add_label", "nothing") == {
        "load_order": [("one.py", "def load_order(number):")],
        "add_label": [("two.py", "def add_label(self, label):")],
    }
    assert [imported.module for imported in index.imports(hit.file)] == ["os"]
    assert [definition.name for definition in index.definitions_in(hit.file)] == ["load_order"]


@pytest.mark.parametrize("layer", [put, lambda index, store, **texts: hold(index, **texts)], ids=["stored", "held"])
def test_an_overlay_hides_the_disk_and_leaves_nothing(index, store, layer):
    layer(index, store, one=ONE, two=TWO)
    file = index.number(ROOT, "one.py")
    index.lines(file)
    index.set_overlay(ROOT, make_record("one.py", TWO))
    assert (found(index, "load order"), found(index, "basket")) == ([], ["one.py", "two.py"])
    assert set(defined(index, "load_order", "Basket")) == {"Basket"}
    assert "\n".join(index.lines(file)) == TWO
    assert (index.imports(file), index.number(ROOT, "one.py")) == ([], file)
    assert index.clear_overlay(ROOT, "one.py")
    assert (found(index, "load order"), found(index, "basket")) == (["one.py"], ["two.py"])
    assert defined(index, "Basket", "load_order")["load_order"] == [("one.py", "def load_order(number):")]
    assert "\n".join(index.lines(file)) == ONE
    assert index.stats().overlays == 0


def test_a_change_on_disk_waits_beneath_the_overlay(index, store):
    put(index, store, one=ONE)
    index.set_overlay(ROOT, make_record("one.py", TWO))
    put(index, store, one=THREE)
    assert set(defined(index, "load_order", "Basket")) == {"Basket"}
    index.clear_overlay(ROOT, "one.py")
    assert defined(index, "load_order", "Basket") == {"load_order": [("one.py", "def load_order(price):")]}


def test_a_new_document_is_there_until_it_is_closed(index, store):
    index.set_overlay(ROOT, make_record("new.py", ONE))
    assert found(index, "load order") == ["new.py"]
    assert index.clear_overlay(ROOT, "new.py")
    assert (found(index, "load order"), index.number(ROOT, "new.py"), files(index)) == ([], None, [])


def test_a_new_document_that_is_saved_and_closed_stays(index, store):
    index.set_overlay(ROOT, make_record("new.py", ONE))
    put(index, store, new=ONE)
    index.clear_overlay(ROOT, "new.py")
    assert found(index, "load order") == ["new.py"]


def test_a_file_that_is_deleted_stays_as_long_as_it_is_open(index, store):
    put(index, store, one=ONE)
    index.set_overlay(ROOT, make_record("one.py", TWO))
    store.write(removed=["one.py"])
    index.remove(ROOT, ["one.py"])
    assert found(index, "basket") == ["one.py"]
    index.clear_overlay(ROOT, "one.py")
    assert files(index) == []


def test_the_disk_has_to_be_read_if_the_store_lost_what_was_beneath(index, store):
    put(index, store, one=ONE)
    index.set_overlay(ROOT, make_record("one.py", TWO))
    store.write(removed=["one.py"])
    assert not index.clear_overlay(ROOT, "one.py")
    assert files(index) == []


def test_what_is_held_is_found_beside_what_is_stored_and_then_stored(index, store):
    put(index, store, one=ONE)
    hold(index, three=THREE)
    expected = [("one.py", "def load_order(number):"), ("three.py", "def load_order(price):")]
    assert defined(index, "load_order") == {"load_order": expected}
    put(index, store, three=THREE)
    assert defined(index, "load_order") == {"load_order": expected}
    hold(index, one=TWO)
    assert defined(index, "load_order") == {"load_order": expected[1:]}


def test_without_a_store_everything_is_held(damaged):
    index = Index(on_damage=lambda root, _: damaged.append(root))
    index.attach(ROOT, None)
    fill(index)
    hold(index, one=ONE, two=TWO)
    file = index.number(ROOT, "one.py")
    assert (found(index, "basket"), index.lines(file)[3]) == (["two.py"], "def load_order(number):")
    index.remove(ROOT, ["one.py"])
    assert (defined(index, "load_order"), index.lines(file), index.definitions_in(file)) == ({}, [], [])
    assert index.stats().roots[0].database is None


def test_a_removed_root_takes_its_files_and_no_others(index, store):
    other = Path("/other")
    index.attach(other, None)
    index.put(other, [make_record("one.py", ONE)], stored=False)
    put(index, store, one=ONE, two=TWO)
    index.set_overlay(ROOT, make_record("two.py", THREE))
    index.detach(ROOT)
    assert [(file.root, file.path) for file in files(index)] == [(other, "one.py")]
    assert defined(index, "load_order", "Basket") == {"load_order": [("one.py", "def load_order(number):")]}


def test_excluded_files_are_no_hits(index, store):
    put(index, store, one=ONE, three=THREE)
    mine = index.number(ROOT, "one.py")
    hits = index.search(tokenize("load_order"), 9, exclude=[mine])
    assert {index.file(hit.file).path for hit in hits} == {"three.py"}


def test_numbers_are_never_used_again(index, store):
    put(index, store, one=ONE)
    before = index.number(ROOT, "one.py")
    index.remove(ROOT, ["one.py"])
    put(index, store, one=ONE)
    assert index.number(ROOT, "one.py") > before
    assert index.file(before) is None


def test_every_change_is_another_generation(index, store):
    seen = [index.generation]
    for change in (
        lambda: put(index, store, one=ONE),
        lambda: put(index, store, one=TWO),
        lambda: index.set_overlay(ROOT, make_record("one.py", THREE)),
        lambda: index.clear_overlay(ROOT, "one.py"),
        lambda: index.remove(ROOT, ["one.py"]),
        lambda: index.detach(ROOT),
    ):
        change()
        seen.append(index.generation)
    assert sorted(set(seen)) == seen


def test_loading_gives_what_was_put(index, store, damaged):
    put(index, store, one=ONE, two=TWO, three=THREE)
    again = Index(on_damage=lambda root, _: damaged.append(root))
    again.attach(ROOT, store)
    fill(again)
    assert again.load(ROOT, store.load()) == []
    assert (found(again, "load order"), defined(again, "Basket")) == (
        found(index, "load order"),
        defined(index, "Basket"),
    )
    assert files(again) == files(index)


def test_loading_leaves_out_damaged_terms_and_says_which(index, store, damaged):
    put(index, store, one=ONE, two=TWO)
    store._writer.execute("UPDATE terms SET terms = x'00ff00ff' WHERE file = 1")
    again = Index(on_damage=lambda root, _: damaged.append(root))
    again.attach(ROOT, store)
    fill(again)
    assert again.load(ROOT, store.load()) == ["one.py"]
    assert [file.path for file in files(again)] == ["two.py"]
    assert again.number(ROOT, "one.py") is None


def test_a_damaged_text_is_reported_and_missing(index, store, damaged):
    put(index, store, one=ONE)
    store._writer.execute("UPDATE texts SET text = x'00ff00ff'")
    assert (index.lines(index.number(ROOT, "one.py")), damaged) == ([], [ROOT])


def test_a_closed_store_answers_nothing(index, store, damaged):
    put(index, store, one=ONE)
    store.close()
    file = index.number(ROOT, "one.py")
    assert (index.lines(file), index.definitions_in(file), index.definitions(["load_order"])) == ([], [], {})
    assert damaged == []


def test_ranges_are_cut_to_the_lines_there_are(index, store):
    put(index, store, one=ONE)
    file = index.number(ROOT, "one.py")
    assert index.lines(file, 4, 99) == ["    return os.path.join(number)", ""]
    assert (index.lines(file, 50, 60), index.lines(12345)) == ([], [])


def test_notes_on_a_text_go_with_it(index, store):
    put(index, store, one=ONE)
    file = index.number(ROOT, "one.py")
    assert index.notes(file) == {}
    index.lines(file)
    index.notes(file)["seen"] = frozenset({1})
    assert index.notes(file) == {"seen": {1}}
    put(index, store, one=TWO)
    index.lines(file)
    assert index.notes(file) == {}


def test_texts_are_kept_until_they_are_many_or_long(index, store):
    """Bug: up to 128 were kept, however long, which could be hundreds of megabytes."""
    put(index, store, **{f"long{n}": f"value{n} = 1\n" * 55_000 for n in range(3)}, short=ONE)
    by_name = {known.path: file for file, known in index.files() if known.root == ROOT}
    first, second, third, short = (by_name[f"{name}.py"] for name in ("long0", "long1", "long2", "short"))
    for file in (short, first, second):
        index.lines(file, 0, 1)
        index.notes(file)["seen"] = frozenset()
    assert [bool(index.notes(file)) for file in (short, first, second)] == [True] * 3
    index.prefetch([third])
    assert [bool(index.notes(file)) for file in (short, first, second)] == [False, False, True]
    assert index.lines(first, 54_999, 55_000) == ["value0 = 1"]


def test_answers_while_another_thread_changes_everything(index, store):
    """Two threads for a while: no exception, and each answer is a file as it was before or after a change."""
    texts = [ONE, TWO, THREE]
    lines = {line for text in texts for line in text.split("\n")}
    done = threading.Event()
    faults = []

    def change():
        chance = random.Random(1)
        try:
            for _ in range(400):
                name = f"f{chance.randrange(20)}"
                match chance.randrange(4):
                    case 0 | 1:
                        put(index, store, **{name: chance.choice(texts)})
                    case 2:
                        index.set_overlay(ROOT, make_record(f"{name}.py", chance.choice(texts)))
                    case _:
                        index.clear_overlay(ROOT, f"{name}.py")
        except Exception as error:  # noqa: BLE001  # shown below
            faults.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=change)
    thread.start()
    for _ in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
        with index.request():
            for hit in index.search(tokenize("load order label basket"), 20):
                assert set(index.lines(hit.file, hit.chunk.start_line, hit.chunk.end_line)) <= lines
            for found_ in index.definitions(["load_order", "Basket", "add_label"]).values():
                assert all(definition.name in {"load_order", "Basket", "add_label"} for _, definition in found_)
            index.stats()
    thread.join()
    assert faults == []
