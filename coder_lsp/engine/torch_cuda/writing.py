"""One text as it is written: what was decided, what is to be evaluated next, what came of guesses.

Knows no device: who drives it evaluates what :meth:`Writer.wanted` says and hands back the rows. So one text can be
written alone, with guesses, or several at once, a row each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.decoding import Step
from coder_lsp.engine.torch_cuda.choosing import Choice, Chooser, runners_up
from coder_lsp.engine.torch_cuda.drafting import Drafter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coder_lsp.engine.base import GenerateRequest, RunnerUp
    from coder_lsp.engine.torch_cuda.choosing import TokenBytes
    from coder_lsp.engine.torch_cuda.runner import Rows

    Tensor = Any

CLOSE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.25}
"""A score this little above the next one may fall otherwise where several tokens are computed together, since sums are
taken in another order. Such a choice is not left to a batch of guesses: its token is evaluated alone."""


@dataclass
class Work:
    """What a text took, and what was noted on the way. ``taken``: tokens that were given out as steps."""

    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    taken: int = 0
    noted: int = 0
    runners_up: list[RunnerUp] = field(default_factory=list)


class Writer:
    """``history``: the tokens that are evaluated, which grow here; ``ends``: tokens that end the text; ``close``: see
    :data:`CLOSE`.
    """

    def __init__(
        self,
        request: GenerateRequest,
        tokens: TokenBytes,
        ends: frozenset[int],
        history: list[int],
        *,
        context_tokens: int,
        close: float = 0.0,
        drafts: bool = True,
    ) -> None:
        self.work = Work()
        self._request, self._tokens, self._ends, self._history = request, tokens, ends, history
        self._context_tokens, self._close = context_tokens, close
        self._chooser = Chooser(request, tokens)
        self._owed = request.forced
        self._decided: list[tuple[Choice, Tensor]] = []
        self._guessed: list[int] = []
        self._drafter = None
        if drafts and request.draft and self._chooser.greedy:
            self._drafter = Drafter(
                request.tokens, request.hints, lambda token: token in ends or not tokens.table[token]
            )

    def begin(self, scores: Tensor) -> None:
        """``scores`` (vocabulary) of what follows the prompt."""
        self._decided = [(self._chooser.choose(scores, self._owed), scores)]

    def steps(self) -> Iterator[Step]:
        """What is decided and was not given out yet. Lazy: what is not taken counts as not written."""
        for choice, row in self._decided:
            if not self._owed and self.work.noted < self._request.branching:
                self._note_runners_up(choice, row)
            data = self._tokens.table[choice.token]
            self.work.taken += 1
            yield Step(choice.token, data, choice.logprob, choice.token in self._ends)
            self._owed = self._owed[len(data) :]
            if self._drafter is not None:
                self._drafter.append(choice.token)

    def wanted(self) -> list[int]:
        """The tokens to evaluate next: the last one that was decided, and guesses of what follows it."""
        token = self._decided[-1][0].token
        self._guessed = []
        if self._drafter is not None and not self._owed:
            room = self._context_tokens - len(self._history) - 1
            self._guessed = self._drafter.guess(min(self._request.max_tokens - self.work.taken, room) - 1)
        return [token, *self._guessed]

    def evaluated(self, tokens: list[int], rows: Rows, alone: Callable[[int], Rows]) -> None:
        """Decide by the rows of ``tokens``, as far as guesses were right. ``alone``: evaluates one token at the end of
        the history by itself.
        """
        self.work.passes += 1
        self.work.drafted += len(tokens) - 1
        if self._owed or not self._chooser.greedy:
            self._history.append(tokens[0])
            self._decided = [(self._chooser.choose(rows.scores[0], self._owed), rows.scores[0])]
            return
        decided: list[tuple[Choice, Tensor]] = []
        for at, token in enumerate(tokens):
            if decided and decided[-1][0].token != token:
                break
            if len(tokens) > 1 and rows.margins[at] < self._close:
                # The scores of the others are in memory that the next step writes to.
                decided = [(choice, row.clone()) for choice, row in decided]
                single = alone(token)
                self.work.passes += 1
                self._history.append(token)
                decided.append((Choice(single.chosen[0], single.logprobs[0]), single.scores[0]))
                break
            self._history.append(token)
            decided.append((Choice(rows.chosen[at], rows.logprobs[at]), rows.scores[at]))
        self.work.accepted += len(decided) - 1
        if self._drafter is not None and self._guessed:
            self._drafter.learn(len(self._guessed), len(decided) - 1)
        self._decided = decided

    def _note_runners_up(self, choice: Choice, row: Tensor) -> None:
        self.work.noted += 1

        def wanted(token: int) -> bool:
            return token != choice.token and token not in self._ends and bool(self._tokens.table[token])

        self.work.runners_up += runners_up(row, self.work.taken, wanted)
