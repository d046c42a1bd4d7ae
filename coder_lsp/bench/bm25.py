"""The BM25 index against rank_bm25, on the same terms of the same workspace.

Both answer the same queries in turns, the order changing from query to query, and each answer of ours is compared with
theirs. rank_bm25 scores every chunk in Python for each query, so it answers a few queries only, and none where its
dictionaries would not fit into memory; the index answers many more. A query is what a completion asks: the terms of ten
lines of one of the files.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench.figures import megabytes, quantiles
from coder_lsp.errors import InputError
from coder_lsp.retrieval.bm25 import Bm25Index, Hit, pack, tokenize
from coder_lsp.retrieval.chunk import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coder_lsp.bench.fresh import Note

_MOST_PEER_CHUNKS = 400_000
"""rank_bm25 holds about 6 kB a chunk."""
_TOLERANCE = 1e-9
"""Relative: both add up the same numbers, in different orders."""


@dataclass(frozen=True)
class Bm25Options:
    """How much to measure; ``peer_queries`` 0 leaves rank_bm25 out."""

    queries: int = 500
    peer_queries: int = 9
    hits: int = 50
    updates: int = 200
    loads: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """The chunks of each file as text, and the same packed."""

    chunks: tuple[tuple[str, ...], ...]
    packed: tuple[bytes, ...]
    pack_s: float


def measure_folder(root: str, options: dict[str, int], note: Note) -> dict[str, Any]:
    """:func:`measure_bm25` of all files under a folder; ``options`` are fields of :class:`Bm25Options`."""
    note("BM25, reading")
    files = sorted(path for path in Path(root).rglob("*") if path.is_file())
    corpus = read_corpus(path.read_text(encoding="utf-8", errors="replace") for path in files)
    return measure_bm25(corpus, Bm25Options(**options), lambda text: note(f"BM25, {text}"))


def read_corpus(texts: Iterable[str]) -> Corpus:
    """Cut into the chunks that are indexed, and packed."""
    chunks: list[tuple[str, ...]] = []
    for text in texts:
        lines = text.split("\n")
        chunks.append(tuple("\n".join(lines[chunk.start_line : chunk.end_line]) for chunk in cut(lines)))
    began = time.perf_counter()
    packed = tuple(map(pack, chunks))
    return Corpus(tuple(chunks), packed, time.perf_counter() - began)


def measure_bm25(corpus: Corpus, options: Bm25Options, note: Note = lambda _: None) -> dict[str, Any]:
    """Packing, loading, queries, updates and memory of the index, and queries against rank_bm25.

    Units are in the names; memory in MB (10⁶). ``ratio`` is how many times quicker than rank_bm25.

    :raises InputError: rank_bm25 is not installed.
    """
    choose = random.Random(options.seed)  # noqa: S311  (reproducible inputs, not secrets)
    note("index")
    index, load_ms, resident_bytes = _load(corpus, options.loads)
    queries = _queries(corpus, choose, options.queries)
    note("queries")
    for query in queries[:20]:
        index.search(query, options.hits)
    query_ms = [_search(index, query, options.hits)[0] for query in queries]
    figures: dict[str, Any] = {
        "files": index.files,
        "chunks": index.documents,
        "terms": index.terms,
        "pack_files_per_s": round(len(corpus.packed) / corpus.pack_s),
        "packed_mb": megabytes(sum(map(len, corpus.packed))),
        "load_ms": quantiles(load_ms),
        "memory_mb": {"resident": megabytes(resident_bytes), "stated": megabytes(index.memory_bytes)},
        "query_terms": quantiles([len(set(query)) for query in queries]),
        "query_ms": quantiles(query_ms),
    }
    figures["peer"] = _compare(index, corpus, queries[: options.peer_queries], options.hits, note)
    note("updates")
    figures |= _updates(index, corpus, queries, choose, options)
    return figures


def _load(corpus: Corpus, loads: int) -> tuple[Bm25Index, list[float], int]:
    """The index, what each of several loads took, and how much memory of the process the first one took."""
    process = psutil.Process()
    numbered = list(enumerate(corpus.packed))
    milliseconds: list[float] = []
    resident_bytes = 0
    while True:
        before = process.memory_info().rss
        index = Bm25Index()
        began = time.perf_counter()
        index.set_files(numbered)
        milliseconds.append((time.perf_counter() - began) * 1000)
        resident_bytes = resident_bytes or process.memory_info().rss - before
        if len(milliseconds) >= loads:
            return index, milliseconds, resident_bytes


def _queries(corpus: Corpus, choose: random.Random, count: int) -> list[list[str]]:
    """The terms of one chunk each: what a cursor behind its last line asks."""
    files = [chunks for chunks in corpus.chunks if chunks]
    return [tokenize(choose.choice(choose.choice(files))) for _ in range(count)]


def _search(index: Bm25Index, query: Sequence[str], hits: int) -> tuple[float, list[Hit]]:
    began = time.perf_counter()
    found = index.search(query, hits)
    return (time.perf_counter() - began) * 1000, found


def _compare(
    index: Bm25Index, corpus: Corpus, queries: Sequence[Sequence[str]], hits: int, note: Note
) -> dict[str, Any]:
    """rank_bm25 on the same chunks, in turns with ours."""
    if not queries:
        return {"left_out": "not asked for"}
    if index.documents > _MOST_PEER_CHUNKS:
        return {"left_out": f"{index.documents} chunks would take rank_bm25 too much memory"}
    try:
        from rank_bm25 import BM25Okapi
    except ImportError as error:
        raise InputError("rank_bm25 is not installed", hint="pip install 'coder-lsp[eval]'") from error

    note("rank_bm25 reads")
    places = [(file, chunk) for file, chunks in enumerate(corpus.chunks) for chunk in range(len(chunks))]
    began = time.perf_counter()
    peer = BM25Okapi([tokenize(text) for chunks in corpus.chunks for text in chunks])
    build_s = time.perf_counter() - began
    ours: list[float] = []
    theirs: list[float] = []
    same = 0
    for turn, query in enumerate(queries):
        note(f"rank_bm25, query {turn + 1} of {len(queries)}")
        if turn % 2:
            ours.append(_search(index, query, hits)[0])
        began = time.perf_counter()
        scores = peer.get_scores(query)
        # As BM25Okapi.get_top_n does it; the order of equal ones is settled below, outside the time.
        scores.argsort()[::-1][:hits]
        theirs.append((time.perf_counter() - began) * 1000)
        if not turn % 2:
            ours.append(_search(index, query, hits)[0])
        same += _same(index.search(query, hits), dict(zip(places, scores.tolist(), strict=True)), hits)
    ratios = [other / one for one, other in zip(ours, theirs, strict=True)]
    return {
        "build_s": round(build_s, 1),
        "queries": len(queries),
        "query_ms": quantiles(ours),
        "peer_query_ms": quantiles(theirs),
        "ratio": {"p50": round(median(ratios)), "min": round(min(ratios)), "max": round(max(ratios))},
        "same_top": same,
    }


def _same(found: Sequence[Hit], scores: dict[tuple[int, int], float], hits: int) -> bool:
    """Whether these are the best chunks with these scores; equal scores may stand for each other."""
    best = sorted((score for score in scores.values() if score > 0), reverse=True)[:hits]
    return len(found) == len(best) and all(
        abs(hit.score - expected) <= _TOLERANCE * expected
        and abs(hit.score - scores[hit.file, hit.chunk]) <= _TOLERANCE * expected
        for hit, expected in zip(found, best, strict=True)
    )


def _updates(
    index: Bm25Index, corpus: Corpus, queries: Sequence[Sequence[str]], choose: random.Random, options: Bm25Options
) -> dict[str, Any]:
    """A file changes (one of its chunks becomes that of another file), and the next query pays what changed for all."""
    pack_ms: list[float] = []
    set_ms: list[float] = []
    next_query_ms: list[float] = []
    for turn in range(options.updates):
        file = choose.randrange(len(corpus.chunks))
        other = choose.choice(corpus.chunks)
        chunks = [*corpus.chunks[file][1:], *other[:1]]
        began = time.perf_counter()
        packed = pack(chunks)
        middle = time.perf_counter()
        index.set_file(file, packed)
        set_ms.append((time.perf_counter() - middle) * 1000)
        pack_ms.append((middle - began) * 1000)
        next_query_ms.append(_search(index, queries[turn % len(queries)], options.hits)[0])
    return {
        "update_pack_ms": quantiles(pack_ms),
        "update_set_ms": quantiles(set_ms),
        "query_after_update_ms": quantiles(next_query_ms),
    }
