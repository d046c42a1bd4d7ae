"""The search index: the same scores as rank_bm25.BM25Okapi, whatever happened to the files before."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from coder_lsp.retrieval import bm25
from coder_lsp.retrieval.bm25 import Bm25Index, Hit, pack, pack_tokens, tokenize, unpack

ROOT = Path(__file__).parents[2]

TOKENS = [
    ("", []),
    ("foo", ["foo"]),
    ("foo foo", ["foo", "foo"]),
    ("Foo", ["Foo", "foo"]),
    ("_foo", ["_foo", "foo"]),
    ("fooBar", ["fooBar", "foo", "bar"]),
    ("foo_bar", ["foo_bar", "foo", "bar"]),
    ("FOO_BAR", ["FOO_BAR", "foo", "bar"]),
    ("HTTPServer", ["HTTPServer", "http", "server"]),
    ("parseXML", ["parseXML", "parse", "xml"]),
    ("XMLHttpRequest2", ["XMLHttpRequest2", "xml", "http", "request"]),
    ("utf8_to_16", ["utf8_to_16", "utf", "to", "16"]),
    ("sha256sum", ["sha256sum", "sha", "256", "sum"]),
    ("HTTP2Server", ["HTTP2Server", "http", "server"]),
    ("aB", ["aB"]),
    ("x", ["x"]),
    ("X", ["X"]),
    ("_", ["_"]),
    ("__", ["__"]),
    ("__init__", ["__init__", "init"]),
    ("1", []),
    ("0xFF 12ab 3.14e5", []),
    ("a.b->c(d)[e]", ["a", "b", "c", "d", "e"]),
    ("$name @name #name", ["name", "name", "name"]),
    ("größe", ["größe"]),
    ("größeMax", ["größeMax", "größe", "max"]),
    ("é", ["é"]),
    ("éA", ["éA", "é"]),
    ("Ärger", ["Ärger"]),
    ("世界 _世", ["世界", "_世", "世"]),
    ("世、界。「世」", ["世", "界", "世"]),
    ("a\u00a0b\u2028c\u3000d\u2014e\u201cf\u201d\ufeffg", ["a", "b", "c", "d", "e", "f", "g"]),
    ("──── ok ══▶", ["ok"]),
    ("a\ud800b\udfffc", ["a", "b", "c"]),
    ("a\0b", ["a", "b"]),
    ("a" * 64, ["a" * 64]),
    ("a" * 65 + " b", ["b"]),
    ("é" * 32, ["é" * 32]),
    ("é" * 33, []),
]


@pytest.mark.parametrize(("text", "tokens"), TOKENS)
def test_terms_are_identifiers_and_their_words(text, tokens):
    assert tokenize(text) == tokens


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(codec=None), max_size=80))
@example("".join(map(chr, range(0x3100))))
@example("\U0010ffff\udc80\ud83d")
def test_any_text_has_terms_of_valid_characters(text):
    for token in tokenize(text):
        assert token.encode()
        assert 1 <= len(token.encode()) <= 64
        assert not token[0].isascii() or not token[0].isspace()
    assert [sum(chunk.values()) for chunk in unpack(pack([text, ""]))] == [len(tokenize(text)), 0]


@given(st.text("abAB12_é ", max_size=30), st.text("abAB12_é ", max_size=30))
def test_terms_of_one_line_do_not_depend_on_the_next(one, other):
    assert tokenize(f"{one}\n{other}") == tokenize(one) + tokenize(other)


WORD = st.one_of(st.sampled_from("abcdefg"), st.sampled_from(["x", "long_word", "", "é", "\ud800"]))
DOCUMENT = st.lists(WORD, max_size=12)
FILE = st.lists(DOCUMENT, max_size=5)


@settings(deadline=None)
@given(st.lists(st.lists(st.text(st.characters(codec=None), max_size=6), max_size=20), max_size=6))
@example([["a"] * 3, [], ["a"] * 70_000, ["b"]])
@example([[]] * 300)
def test_what_is_packed_comes_back(documents):
    assert unpack(pack_tokens(documents)) == [Counter(document) for document in documents]


@given(st.lists(st.text("abAB_1é .\n", max_size=40), max_size=5))
def test_packing_texts_is_packing_their_terms(texts):
    assert pack(texts) == pack_tokens([tokenize(text) for text in texts])


def test_the_same_terms_make_the_same_bytes():
    assert pack(["one two", "two three"]) == pack(["two; one", "three. two"])


def test_packed_code_is_smaller_than_the_code():
    text = Path(subprocess.__file__).read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(pack(["\n".join(lines[at : at + 10]) for at in range(0, len(lines), 10)])) < len(text) / 2


SAMPLE = pack(["def first(self): return self.second", "", "class Second: pass " * 20])


def with_checksum(body: bytes) -> bytes:
    """A body as an attacker would send it: the checksum is right."""
    total = 0xCBF29CE484222325 ^ len(body)
    for at in range(0, len(body), 8):
        total = (total ^ int.from_bytes(body[at : at + 8], "little")) * 0x100000001B3 % 2**64
        total ^= total >> 29
    return SAMPLE[:3] + total.to_bytes(8, "little") + body


def refused(packed: bytes) -> bool:
    """Whether ``unpack`` and the index agree that these bytes are bad, the index staying as it was."""
    index = Bm25Index()
    index.set_file(1, SAMPLE)
    before = (index.search(["self", "class"], 9), index.files, index.documents, index.terms, index.memory_bytes)
    try:
        index.set_file(1, packed)
    except ValueError:
        after = (index.search(["self", "class"], 9), index.files, index.documents, index.terms, index.memory_bytes)
        assert after == before
        with pytest.raises(ValueError):
            unpack(packed)
        return True
    index.search(["self", "class", "a"], 9)
    index.remove_file(1)
    assert (index.files, index.documents, index.terms) == (0, 0, 0)
    return False


def test_the_test_knows_the_checksum():
    assert with_checksum(SAMPLE[11:]) == SAMPLE


@pytest.mark.parametrize("length", range(len(SAMPLE)))
def test_cut_off_bytes_are_refused(length):
    assert refused(SAMPLE[:length])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(at, change):
    assert refused(SAMPLE[:at] + bytes([SAMPLE[at] ^ change]) + SAMPLE[at + 1 :])


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SAMPLE) - 12), st.binary(max_size=4), st.integers(0, 4)), max_size=4),
    st.integers(0, len(SAMPLE)),
)
@example([], 0)
def test_hostile_bytes_do_no_harm(edits, length):
    """With a right checksum some are even valid; whatever they are, nothing is read that is not there."""
    body = SAMPLE[11:]
    for at, new, gone in edits:
        body = body[:at] + new + body[at + gone :]
    refused(with_checksum(body[:length]))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40))
def test_random_bodies_do_no_harm(body):
    refused(with_checksum(body))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "end inside a number"),
        (b"\x80", "end inside a number"),
        (b"\xff\xff\xff\xff\xff\xff\xff", "more than 32 bits"),
        (b"\xff\xff\xff\xff\x1f", "more than 32 bits"),
        (b"\xff\xff\xff\x7f\x00", "too many chunks"),
        (b"\x01\xff\xff\xff\x7f", "more terms than they hold"),
        (b"\x01\x01\x7fa\x01\x01", "end inside a term"),
        (b"\x01\x01\x01a\x00", "of no chunk"),
        (b"\x01\x01\x01a\x02\x01\x01", "of no chunk"),
        (b"\x01\x01\x01a\x01\x03", "a chunk that the file does not have"),
        (b"\x02\x01\x01a\x02\x03\x01", "a chunk that the file does not have"),
        (b"\x01\x02\x01a\x01\x01\x01a\x01\x01", "out of order"),
        (b"\x01\x02\x01b\x01\x01\x01a\x01\x01", "out of order"),
        (b"\x01\x01\x01a\x01\x00\xff\xff\xff\xff\x0f", "too long a chunk"),
        (b"\x01\x01\x01a\x01\x01\x00", "behind their end"),
    ],
)
def test_what_is_wrong_is_said(body, why):
    with pytest.raises(ValueError, match=why):
        unpack(with_checksum(body))
    assert refused(with_checksum(body))


def test_other_versions_and_other_bytes_are_refused():
    with pytest.raises(ValueError, match="another version"):
        unpack(SAMPLE[:2] + b"\x02" + SAMPLE[3:])
    with pytest.raises(ValueError, match="no packed terms"):
        unpack(b"SQLite format 3\0")


def test_a_batch_with_one_damaged_file_changes_nothing():
    index = Bm25Index()
    index.set_file(1, SAMPLE)
    many = [(file, SAMPLE) for file in range(100)]
    many[77] = (77, SAMPLE[:-1])
    with pytest.raises(ValueError, match="damaged"):
        index.set_files(many)
    assert (index.files, index.documents) == (1, 3)


class Reference:
    """Files as BM25Okapi sees them: all chunks in the order of files."""

    def __init__(self, files, **options):
        self.places = [(file, chunk) for file in sorted(files) for chunk in range(len(files[file]))]
        documents = [document for file in sorted(files) for document in files[file]]
        # It divides by the number of chunks, of terms, and by the average length.
        self.okapi = BM25Okapi(documents, **options) if any(documents) else None
        self.files, self.documents = len(files), len(documents)
        self.terms = len(set().union(*documents))

    def scores(self, query, weights=None):
        if self.okapi is None:
            return {}
        total = sum(
            weight * self.okapi.get_scores([term])
            for term, weight in zip(query, weights or [1.0] * len(query), strict=True)
        ) + 0 * self.okapi.get_scores([])
        return dict(zip(self.places, total.tolist(), strict=True))


def agree(index, reference, query, k, weights=None, exclude=()):
    """The index's hits are the best chunks that the reference knows."""
    found = index.search(query, k, weights=weights, exclude=exclude)
    assert found == index.search(query, k, weights=weights, exclude=exclude, exhaustive=True)
    assert found == sorted(found, key=lambda hit: (-hit.score, hit.file, hit.chunk))
    assert len(set(found)) == len(found) <= k
    expected = reference.scores(query, weights)
    for hit in found:
        assert hit.score > 0
        assert hit.file not in exclude
        assert hit.score == pytest.approx(expected.pop((hit.file, hit.chunk)), rel=1e-9, abs=1e-9)
    missed = [score for (file, _), score in expected.items() if file not in exclude]
    least = found[-1].score if len(found) == k and found else 0.0
    assert all(score <= least + 1e-9 * max(1, least) for score in missed) or k == 0


CORPUS = st.dictionaries(st.integers(-3, 20), FILE, max_size=6)
QUERY = st.lists(st.one_of(WORD, st.just("nowhere")), max_size=8)


@settings(max_examples=300, deadline=None)
@given(CORPUS, QUERY, st.integers(0, 8))
@example({1: [["a"]]}, ["a"], 3)
@example({1: [["a"], ["a"]], 2: [["a"]]}, ["a", "a"], 3)
@example({1: [[]]}, ["a"], 3)
@example({}, ["a"], 3)
@example({1: [["a"] * 40, ["a"] * 15, ["b"], ["c"], ["a"] * 16]}, ["a"], 3)
@example({1: [["a"] * 1500, ["a", "b"], ["c"], ["d"]]}, ["a", "b"], 3)
def test_scores_are_those_of_rank_bm25(files, query, k):
    index = Bm25Index()
    index.set_files([(file, pack_tokens(chunks)) for file, chunks in files.items()])
    reference = Reference(files)
    assert (index.files, index.documents, index.terms) == (reference.files, reference.documents, reference.terms)
    agree(index, reference, query, k)


@settings(max_examples=100, deadline=None)
@given(CORPUS, QUERY, st.floats(0.01, 4), st.floats(0, 0.99), st.floats(0, 2))
def test_so_they_are_with_other_parameters(files, query, k1, b, epsilon):
    index = Bm25Index(k1=k1, b=b, epsilon=epsilon)
    index.set_files([(file, pack_tokens(chunks)) for file, chunks in files.items()])
    agree(index, Reference(files, k1=k1, b=b, epsilon=epsilon), query, 5)


@settings(max_examples=100, deadline=None)
@given(CORPUS, st.lists(st.tuples(WORD, st.floats(0, 10)), max_size=8), st.sets(st.integers(-3, 20)), st.integers(1, 6))
def test_so_they_are_with_weights_and_without_excluded_files(files, query, exclude, k):
    index = Bm25Index()
    index.set_files([(file, pack_tokens(chunks)) for file, chunks in files.items()])
    words, weights = [word for word, _ in query], [weight for _, weight in query]
    agree(index, Reference(files), words, k, weights, tuple(exclude))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.one_of(st.none(), FILE),
            st.lists(QUERY, max_size=1),
        ),
        max_size=25,
    )
)
def test_so_they_are_after_any_changes(steps):
    index, files = Bm25Index(), {}
    for file, chunks, queries in steps:
        if chunks is None:
            index.remove_file(file)
            files.pop(file, None)
        else:
            index.set_file(file, pack_tokens(chunks))
            files[file] = chunks
        for query in queries:
            agree(index, Reference(files), query, 4)
    reference = Reference(files)
    assert (index.files, index.documents, index.terms) == (reference.files, reference.documents, reference.terms)
    agree(index, reference, list("abcdefg"), 50)
    # The past leaves no trace, not even in the last bit.
    fresh = Bm25Index()
    fresh.set_files([(file, pack_tokens(files[file])) for file in sorted(files)])
    assert index.search(list("gfedcba"), 50) == fresh.search(list("gfedcba"), 50)


def some_files(count, seed, vocabulary=4000):
    """Files of which some terms are everywhere and most are rare, as in code."""
    choose = random.Random(seed)
    return {
        file: [
            [f"t{int(vocabulary * choose.random() ** 4)}" for _ in range(choose.randrange(60))]
            for _ in range(choose.randrange(1, 12))
        ]
        for file in range(count)
    }


def test_a_large_corpus_after_changes_is_that_of_rank_bm25():
    """Large enough for several windows of slots, for gaps between files, and for short cuts to be taken."""
    files, later = some_files(3500, seed=1), some_files(3500, seed=2)
    index = Bm25Index()
    index.set_files([(file, pack_tokens(chunks)) for file, chunks in files.items()])
    choose = random.Random(3)
    for file in choose.sample(sorted(files), 600):
        index.set_file(file, pack_tokens(later[file]))
        files[file] = later[file]
    for file in choose.sample(sorted(files), 300):
        index.remove_file(file)
        del files[file]
    reference = Reference(files)
    assert reference.documents > 2 * 8192
    for k in (1, 10, 200):
        query = choose.choice(choose.choice(list(files.values()))) + [f"t{number}" for number in range(10)]
        agree(index, reference, query, k, exclude=choose.sample(sorted(files), 5))


def test_short_cuts_change_no_bit():
    files = some_files(3000, seed=4)
    index = Bm25Index()
    index.set_files([(file, pack_tokens(chunks)) for file, chunks in files.items()])
    choose = random.Random(5)
    for _ in range(100):
        query = choose.choice(choose.choice(list(files.values())))
        weights = [choose.choice([0.0, 0.5, 1.0, 3.0]) for _ in query]
        k = choose.choice([1, 5, 50, 1000])
        for given_weights in (None, weights):
            quick = index.search(query, k, weights=given_weights)
            assert quick == index.search(query, k, weights=given_weights, exhaustive=True)


def test_equal_scores_are_ordered_by_file_and_chunk():
    index = Bm25Index()
    for file in (7, 3, -1, 5):
        index.set_file(file, pack(["same words", "same words", "other", "more", "others"]))
    index.set_file(3, pack(["another", "same words", "text"] * 5))
    hits = index.search(["same"], 6)
    assert [(hit.file, hit.chunk) for hit in hits] == [(-1, 0), (-1, 1), (3, 1), (3, 4), (3, 7), (3, 10)]
    assert len({hit.score for hit in hits}) == 1


def test_excluded_files_stay_in_the_statistics():
    index = Bm25Index()
    index.set_files([(file, pack(["shared one", f"unique_{file}", "filler"])) for file in range(5)])
    everywhere = index.search(["shared"], 9)
    assert index.search(["shared"], 9, exclude=[2, 2, 99]) == [hit for hit in everywhere if hit.file != 2]


def test_hits_are_named():
    index = Bm25Index()
    index.set_files([(1, pack(["alpha", "beta", "gamma"]))])
    (hit,) = index.search(["beta"], 5)
    assert isinstance(hit, Hit)
    assert (hit.file, hit.chunk) == (1, 1)


def test_an_empty_index_finds_nothing():
    index = Bm25Index()
    assert index.search(["a"], 5) == []
    index.set_file(1, pack([]))
    index.set_file(2, pack([""]))
    assert index.search(["a"], 5) == []
    assert (index.files, index.documents, index.terms) == (2, 1, 0)
    index.remove_file(1)
    index.remove_file(1)
    assert index.files == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: Bm25Index(k1=-1),
        lambda: Bm25Index(b=1.5),
        lambda: Bm25Index(epsilon=float("nan")),
        lambda: Bm25Index().search(["a"], -1),
        lambda: Bm25Index().search(["a"], 1, weights=[]),
        lambda: Bm25Index().search(["a"], 1, weights=[1.0, 1.0]),
        lambda: Bm25Index().search(["a"], 1, weights=[-1.0]),
        lambda: Bm25Index().search(["a"], 1, weights=[float("inf")]),
        lambda: pack([""] * 1_048_577),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(ValueError):
        call()


def test_searches_run_while_files_change():
    """A search sees each file whole: as it was before a change or after it."""
    index = Bm25Index()
    states = [pack([f"state{number} marker"] * 3 + ["filler"] * 20) for number in range(2)]
    rest = [(file, packed) for file, packed in enumerate(map(pack_tokens, some_files(300, seed=6).values()), start=100)]
    index.set_files(rest)
    index.set_file(1, states[0])
    done = threading.Event()
    problems: list[str] = []
    searches = [0] * 4

    def search(me):
        while not done.is_set():
            found = index.search(["state0", "state1"], 100)
            kinds = {hit.file for hit in found}
            if len(found) != 3 or kinds != {1}:
                problems.append(str(found))
            index.search(["t0", "t1", "t5", "marker"], 20)
            searches[me] += 1

    threads = [threading.Thread(target=search, args=(me,)) for me in range(len(searches))]
    for thread in threads:
        thread.start()
    changes = 0
    deadline = time.monotonic() + 60
    while (changes < 200 or min(searches) < 20) and time.monotonic() < deadline and not problems:
        index.set_file(1, states[changes % 2])
        index.set_files(rest[changes % 7 :: 7])
        index.remove_file(100 + changes % 300)
        changes += 1
    done.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert changes >= 200
    assert min(searches) >= 20


def test_long_sessions_do_not_grow():
    """50,000 replacements, each with terms that were never there before: what is gone is forgotten."""
    files = some_files(100, seed=7)
    index = Bm25Index()
    choose = random.Random(8)
    most = {}
    for edit in range(50_000):
        file = choose.randrange(len(files))
        chunks = [[*document, f"edit{edit}_{number}"] for number, document in enumerate(files[file])]
        keep = choose.randrange(1, len(chunks) + 1)
        index.set_file(file, pack_tokens(chunks[:keep]))
        if edit % 10_000 == 9_999:
            index.search(["t0"], 5)
        part = edit // 10_000
        most[part] = max(most.get(part, 0), index.memory_bytes)
    assert most[4] < most[1] * 1.05
    for file in files:
        index.remove_file(file)
    assert (index.files, index.documents, index.terms) == (0, 0, 0)
    assert index.memory_bytes < most[4]


def test_the_stub_in_the_tree_is_the_one_the_module_has(tmp_path):
    """After a change of the bindings: run these three on coder_lsp/retrieval/_bm25.pyi."""
    stub = tmp_path / "_bm25.pyi"
    config = ["--config", str(ROOT / "pyproject.toml"), str(stub)]
    for command in (
        ["nanobind.stubgen", "-q", "-D", "--exclude-values", "-m", "coder_lsp.retrieval._bm25", "-o", str(stub)],
        ["ruff", "format", "-q", *config],
        ["ruff", "check", "-q", "--fix", "--select", "I", *config],
    ):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
    assert stub.read_text() == (Path(bm25.__file__).parent / "_bm25.pyi").read_text()


def test_nothing_leaks_and_nothing_is_said_at_the_end():
    """nanobind reports what outlives the interpreter on stderr."""
    code = """
import threading
from coder_lsp.retrieval.bm25 import Bm25Index, pack
index = Bm25Index()
index.set_files([(1, pack(["a b", "c"]))])
try:
    index.set_file(1, b"")
except ValueError:
    pass
index.search(["a"], 3)
threading.Thread(target=lambda: [index.search(["a"], 3) for _ in range(1000)], daemon=False).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_module_loads_no_model_library():
    code = "import sys, coder_lsp.retrieval.bm25; assert 'coder_lsp.engine._native' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
