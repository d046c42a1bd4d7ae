"""Other texts for the same place: they leave the first one at a token where the model hesitated.

The likeliest such texts come first, by the joint probability of the tokens up to and with the other one: a beam search
over the first line that goes only once, and no dice are thrown. What was read for the first text serves all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.engine.base import Generation

BRANCHING = 16
"""Tokens of the first text, from its beginning, at which another one may leave it."""

_LEAST_LOGPROB = math.log(0.04)
"""Of the joint probability: what is less likely is not what somebody who asks for another text hopes to see."""


@dataclass(frozen=True)
class Branch:
    """The beginning of another text: ``tokens`` behind the prompt, and the ``text`` that is not forced of them."""

    tokens: tuple[int, ...]
    text: str
    logprob: float


def looks(text: str) -> str:
    """What tells two texts apart for who reads them: all but white space."""
    return "".join(text.split())


def branches(first: Generation, forced: bytes, token_bytes: Callable[[int], bytes]) -> list[Branch]:
    """Where texts may leave the first one, the likeliest beginning first.

    Left out is what would look like the first text again: other white space, or a part of the same word.
    """
    found: dict[str, Branch] = {}
    whole = looks(first.text)
    pieces = [token_bytes(token) for token in first.token_ids]
    spent = list(accumulate(first.logprobs, initial=0.0))
    # What had to be written has no part in how likely the rest is.
    begun = min((other.position for other in first.runners_up), default=0)
    for other in first.runners_up:
        at = other.position
        try:
            common = b"".join(pieces[:at]).removeprefix(forced).decode()
            text = common + token_bytes(other.token).decode()
        except UnicodeDecodeError:
            continue  # within a character
        logprob = spent[at] - spent[begun] + other.logprob
        look = looks(text)
        if logprob < _LEAST_LOGPROB or "\n" in common.lstrip() or look == looks(common) or whole.startswith(look):
            continue
        branch = Branch((*first.token_ids[:at], other.token), text, logprob)
        if look not in found or found[look].logprob < logprob:
            found[look] = branch
    return sorted(found.values(), key=lambda branch: -branch.logprob)
