"""What the sequences of an engine hold: tokens, and the adapters they were computed under.

Book-keeping alone: which sequence goes on with a prompt, what of it need not be evaluated again, and when what was
computed under other adapters is gone. The cells themselves belong to the engine. The native engine keeps the same books
in ``native/src/session.cpp``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.errors import ContextOverflow, EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.types import Adapter


class Sequences:
    """``count`` of them, each with room for ``context_tokens``; counted from 0."""

    def __init__(self, count: int, context_tokens: int) -> None:
        self.context_tokens = context_tokens
        self.adapters: tuple[Adapter, ...] = ()
        """What lies over the model now."""
        self._histories: list[list[int]] = [[] for _ in range(count)]
        self._computed_under: list[tuple[Adapter, ...]] = [()] * count
        self._used = [0] * count

    def __len__(self) -> int:
        return len(self._histories)

    def at(self, sequence: int) -> list[int]:
        """What a sequence holds, under whichever adapters; the list itself.

        :raises EngineError: there is no such sequence.
        """
        if not 0 <= sequence < len(self._histories):
            raise EngineError(f"there is no sequence {sequence}, only {len(self._histories)} counted from 0")
        return self._histories[sequence]

    def held(self, sequence: int) -> list[int]:
        """What a sequence holds under the adapters of now."""
        history = self.at(sequence)
        return history if self._computed_under[sequence] == self.adapters else []

    def reusable(self, tokens: Sequence[int]) -> int:
        return max(common(self.held(number), tokens) for number in range(len(self)))

    def choose(self, tokens: Sequence[int], wanted: int | None) -> int:
        """The sequence to evaluate ``tokens`` in, used from now on: the one wanted, else the one that holds most of
        them, else the least recently used. What it holds of other adapters is forgotten.
        """
        if wanted is None:
            shared = [common(self.held(number), tokens) for number in range(len(self))]
            best = max(range(len(shared)), key=shared.__getitem__)
            oldest = min(range(len(shared)), key=self._used.__getitem__)
            much = shared[best] * 2 >= len(tokens) or shared[best] == len(self._histories[best])
            wanted = best if shared[best] and much else oldest
        self.at(wanted)
        if self._computed_under[wanted] != self.adapters:
            self._histories[wanted].clear()
        self.take(wanted)
        return wanted

    def take(self, sequence: int) -> None:
        """This sequence is used now, under the adapters of now."""
        self._computed_under[sequence] = self.adapters
        self._used[sequence] = max(self._used) + 1

    def check_room(self, tokens: int, more: int = 0) -> None:
        """:raises ContextOverflow: so many tokens, and ``more`` behind them, are more than a sequence holds."""
        if tokens + more > self.context_tokens:
            raise ContextOverflow(
                f"the prompt has {tokens} tokens, a sequence holds {self.context_tokens}",
                hint="shorten the prompt or raise engine.context_tokens",
            )


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """Tokens that both begin with."""
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))


def check_tokens(tokens: Sequence[int], vocab_size: int) -> None:
    """:raises EngineError: one of them is not in a vocabulary of that size."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise EngineError(f"token {token} is not in the vocabulary of {vocab_size} tokens")
