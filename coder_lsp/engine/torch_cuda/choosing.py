"""From the scores of what could follow to the token that does: forced bytes, chance, and what else could have come.

As ``native/src/sampling.cpp`` does it, in the same order: temperature, the ``top_k`` likeliest, the fewest of these
that hold ``top_p``; ties go to the lower id. Scores stay on their device; single figures leave it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from coder_lsp.engine.base import RunnerUp
from coder_lsp.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.engine.base import GenerateRequest

    Tensor = Any

RUNNERS_UP = 4
"""Of each position."""


class Choice(NamedTuple):
    """``logprob``: natural, of the model's own distribution: temperature 1, nothing narrowed."""

    token: int
    logprob: float


class TokenBytes:
    """The bytes of all tokens, and which tokens begin with a byte."""

    def __init__(self, table: list[bytes]) -> None:
        self.table = table
        self._by_first: list[list[int]] = [[] for _ in range(256)]
        for token, data in enumerate(table):
            if data:
                self._by_first[data[0]].append(token)

    def agreeing(self, owed: bytes) -> list[int]:
        """Tokens that begin with what is owed, or are a beginning of it.

        :raises EngineError: there is none.
        """
        found = [
            token
            for token in self._by_first[owed[0]]
            if self.table[token].startswith(owed) or owed.startswith(self.table[token])
        ]
        if not found:
            raise EngineError("no token of the vocabulary can begin the text that must come next")
        return found


class Chooser:
    """For one generation: it has its own chance."""

    def __init__(self, request: GenerateRequest, tokens: TokenBytes) -> None:
        self._request = request
        self._tokens = tokens
        self._random = torch.Generator().manual_seed(request.seed & (2**63 - 1))

    @property
    def greedy(self) -> bool:
        return self._request.temperature <= 0

    def choose(self, scores: Tensor, owed: bytes) -> Choice:
        """``scores`` (vocabulary), float32.

        :raises EngineError: no token agrees with ``owed``, or the scores are no numbers.
        """
        if owed:
            candidates = torch.tensor(self._tokens.agreeing(owed), device=scores.device)
            among = scores[candidates]
            token = int(candidates[among.argmax() if self.greedy else self._draw(among)])
        else:
            token = int(scores.argmax() if self.greedy else self._draw(scores))
        logprob = float(scores[token] - scores.logsumexp(dim=0))
        if math.isnan(logprob):
            raise EngineError("the model produced no finite scores", hint="the model may be damaged: verify it")
        return Choice(token, min(logprob, 0.0))

    def _draw(self, scores: Tensor) -> int:
        request = self._request
        kept, order = scores.sort(descending=True, stable=True)
        if request.top_k > 0:
            kept = kept[: request.top_k]
        weights = ((kept.double() - kept[0].double()) / request.temperature).exp()
        if request.top_p < 1:
            # Those before which less than the wanted mass lies; the first one always.
            before = weights.cumsum(0) - weights
            weights = weights[: max(1, int((before < weights.sum() * request.top_p).sum()))]
        sums = weights.cumsum(0)
        drawn = torch.rand((), generator=self._random, dtype=torch.float64).to(sums.device) * sums[-1]
        return int(order[min(int((sums <= drawn).sum()), len(sums) - 1)])


def runners_up(scores: Tensor, position: int, wanted: Callable[[int], bool]) -> list[RunnerUp]:
    """The likeliest tokens that ``wanted`` lets pass, the likeliest first."""
    total = scores.logsumexp(dim=0)
    looked_at = 4 * RUNNERS_UP
    while True:
        count = min(looked_at, scores.shape[0])
        values, tokens = scores.topk(count)
        logprobs = (values - total).tolist()
        found = [
            RunnerUp(position, token, logprob)
            for token, logprob in zip(tokens.tolist(), logprobs, strict=True)
            if wanted(token)
        ]
        if len(found) >= RUNNERS_UP or count == scores.shape[0]:
            return found[:RUNNERS_UP]
        looked_at *= 8
