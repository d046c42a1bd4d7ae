"""Cuts context to a budget of tokens: exactly, by a model's vocabulary and format, or by estimate where there is none.

What a block of snippets is to the model, the host decides (``prompt.block``); this asks the same code, with the
vocabulary of the model's file alone, so nothing is loaded that could generate.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from coder_lsp.prompt.block import BlockWriter
from coder_lsp.prompt.tokens import TokenCache
from coder_lsp.retrieval.passages import estimated_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.models.store import InstalledModel
    from coder_lsp.prompt.templates import BoundTemplate
    from coder_lsp.types import FimRequest, Snippet

_ESTIMATED_HEADER = 10
"""Tokens of a path and what introduces it, about."""


@dataclass(frozen=True)
class Cut:
    """What is left of a block. ``text`` is what the model reads, control tokens spelled out."""

    text: str
    tokens: int
    snippets: tuple[Snippet, ...] = ()

    @property
    def content(self) -> str:
        """Paths and lines alone: nothing of a model's format, so no control token passes for an identifier."""
        return "\n".join(f"{snippet.path}\n{snippet.text}" for snippet in self.snippets)


class Cutter(Protocol):
    """``exact`` says whether tokens are counted or estimated, ``name`` by what."""

    name: str
    exact: bool

    def snippets(self, request: FimRequest, budget: int) -> Cut:
        """The snippets of a request, headers included, in at most so many tokens."""
        ...

    def text(self, text: str, budget: int) -> Cut:
        """The beginning of a text."""
        ...


class ModelCutter:
    """By the vocabulary and template of a model."""

    exact = True

    def __init__(self, name: str, vocabulary: Vocabulary, template: BoundTemplate) -> None:
        self.name = name
        self._vocabulary = vocabulary
        self._writer = BlockWriter(TokenCache(vocabulary), template)

    @classmethod
    def load(cls, model: InstalledModel) -> ModelCutter:
        """Half a second, and none of the model's weights.

        :raises CoderLspError: the file cannot be used.
        """
        from coder_lsp.engine.llama import LlamaVocabulary
        from coder_lsp.prompt.templates import bind

        vocabulary = LlamaVocabulary.load(model.path)
        return cls(model.name, vocabulary, bind(vocabulary, model.template, vocabulary.architecture))

    def snippets(self, request: FimRequest, budget: int) -> Cut:
        block = self._writer.write(request, budget)
        return Cut(self._writer.text(block.tokens), len(block.tokens), block.snippets)

    def text(self, text: str, budget: int) -> Cut:
        ids = self._vocabulary.tokenize(text)
        if len(ids) <= budget:
            return Cut(text, len(ids))
        kept = b"".join(map(self._vocabulary.token_bytes, ids[:budget]))
        # The last token may end inside a character.
        return Cut(kept.decode("utf-8", "ignore"), budget)


class EstimatingCutter:
    """By the length of lines; for machines without a model."""

    name = ""
    exact = False

    def snippets(self, request: FimRequest, budget: int) -> Cut:
        best = sorted(range(len(request.snippets)), key=lambda number: -request.snippets[number].score)
        kept: set[int] = set()
        left = float(budget)
        for number in best:
            snippet = request.snippets[number]
            cost = sum(map(estimated_tokens, snippet.text.splitlines()))
            if all(request.snippets[other].path != snippet.path for other in kept):
                cost += _ESTIMATED_HEADER
            if cost <= left:
                left -= cost
                kept.add(number)
        snippets = tuple(request.snippets[number] for number in sorted(kept))
        return Cut(_headed(snippets), round(budget - left), snippets)

    def text(self, text: str, budget: int) -> Cut:
        kept, used = [], 0.0
        for line in text.splitlines(keepends=True):
            if used + estimated_tokens(line) > budget:
                break
            used += estimated_tokens(line)
            kept.append(line)
        return Cut("".join(kept), round(used))


def _headed(snippets: Sequence[Snippet]) -> str:
    parts = []
    for path, group in groupby(snippets, key=lambda snippet: snippet.path):
        parts.append(path + "\n" + "\n".join(snippet.text for snippet in group))
    return "\n".join(parts)
