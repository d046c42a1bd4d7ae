"""The search index over the chunks of a workspace: BM25 over identifiers and their words.

Scores are those of ``rank_bm25.BM25Okapi`` 0.2.2 on the same terms, while files come, change and go one at a time. A
file's terms travel packed: workers make the bytes, the store keeps them, the index reads them. The work is done in C++
(``native/src/bm25.h``) without the GIL. Files are numbers here; which file has which number is the caller's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from coder_lsp.retrieval import _bm25

if TYPE_CHECKING:
    from collections.abc import Sequence


class Hit(NamedTuple):
    """A chunk that a query found. ``score`` is above 0."""

    file: int
    chunk: int
    score: float


def tokenize(text: str) -> list[str]:
    """Terms of source text, in its order: each identifier as written, then its lower-cased words.

    ``"HTTPServer_2nd = x1"`` gives ``HTTPServer_2nd http server nd x1``: words end at underscores, between lower and
    upper case or letters and digits, and before the last of several capitals; words of one ASCII character are left
    out, and so is a word that is the identifier itself. Numbers and identifiers of more than 64 bytes of UTF-8 give
    nothing.
    """
    return _bm25.tokenize(text)


def pack(texts: Sequence[str]) -> bytes:
    """The terms of the chunks of one file, as :func:`tokenize` finds them. The same terms make the same bytes.

    :raises ValueError: more than 1,048,576 chunks.
    """
    return _bm25.pack(texts)


def pack_tokens(documents: Sequence[Sequence[str]]) -> bytes:
    """The same of chunks whose terms are known already, whatever they are.

    :raises ValueError: more than 1,048,576 chunks.
    """
    return _bm25.pack_tokens(documents)


def unpack(packed: bytes) -> list[dict[str, int]]:
    """How often each term is in each chunk.

    :raises ValueError: not what :func:`pack` wrote.
    """
    return _bm25.unpack(packed)


class Bm25Index:
    """The index. Any thread may call anything at any time; a search sees each file as it was before or after a change.

    ``k1``, ``b`` and ``epsilon`` as in ``BM25Okapi``: saturation of counts, weight of a chunk's length, and what part
    of the average idf a term gets that is in more than half of all chunks.
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        """:raises ValueError: ``k1`` or ``epsilon`` below 0, or ``b`` not between 0 and 1."""
        self._index = _bm25.Bm25Index(k1, b, epsilon)

    def set_file(self, file: int, packed: bytes) -> None:
        """Put a file in, or in place of what it was.

        :raises ValueError: ``packed`` is damaged; the index is as before.
        """
        self._index.set_files([(file, packed)])

    def set_files(self, files: Sequence[tuple[int, bytes]]) -> None:
        """Put many files in, quicker than one by one. Searches may run in between and see some of them.

        :raises ValueError: one of them is damaged; the index is as before.
        """
        self._index.set_files(files)

    def remove_file(self, file: int) -> None:
        """Take a file out; one that is not there is no error."""
        self._index.remove_file(file)

    def search(
        self,
        query: Sequence[str],
        k: int,
        *,
        weights: Sequence[float] | None = None,
        exclude: Sequence[int] = (),
        exhaustive: bool = False,
    ) -> list[Hit]:
        """The ``k`` best chunks with a score above 0, best first, ties by file and chunk.

        :param query: terms; one that is there twice counts twice.
        :param weights: factors of 0 or more, one a term; all 1 is plain BM25.
        :param exclude: files that are no hits. They stay in the statistics, so no other score changes.
        :param exhaustive: take no short cuts: the same hits, slower. For tests.
        :raises ValueError: a weight missing, below 0 or not finite; ``k`` below 0.
        """
        if k < 0:
            raise ValueError(f"k is {k}; 0 or more hits can be asked for")
        return [Hit(*found) for found in self._index.search(query, k, weights, exclude, exhaustive)]

    @property
    def files(self) -> int:
        """How many files are in it, those without chunks included."""
        return self._index.files

    @property
    def documents(self) -> int:
        """How many chunks, empty ones included."""
        return self._index.documents

    @property
    def terms(self) -> int:
        """How many different terms."""
        return self._index.terms

    @property
    def memory_bytes(self) -> int:
        """What the index holds, estimated within some per cent."""
        return self._index.memory_bytes
