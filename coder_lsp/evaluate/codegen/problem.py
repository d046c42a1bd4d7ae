"""A problem as a model sees it, and what the formats of benchmarks share."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.sandbox import Limits, Outcome

PLAIN, CHAT, OUTLINE = "plain", "chat", "outline"
"""Styles: the text to be continued; an instruction; an instruction that asks for an outline first."""
OUTLINE_SENTENCE = "You need first to write a step-by-step outline and then write the code."
"""DeepSeek-Coder, arXiv 2401.14196, section 4.1."""

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """What the user chose: ``style`` empty is the format's own; ``shots`` is text of worked examples."""

    style: str = ""
    max_tokens: int = 0
    shots: str = ""


@dataclass(frozen=True)
class Problem:
    """``close`` is put after what the model wrote up to a stop string; ``gold`` a solution that needs nothing more."""

    task_id: str
    language: str
    prompt: str = field(repr=False)
    stop: tuple[str, ...] = ()
    max_tokens: int = 512
    style: str = PLAIN
    close: str = ""
    gold: str | None = field(default=None, repr=False)
    row: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def chat(self) -> bool:
        return self.style != PLAIN

    @property
    def digest(self) -> str:
        """Of all that decides what a model writes."""
        whole = json.dumps([self.prompt, self.stop, self.max_tokens, self.chat, self.close])
        return blake2b(whole.encode("utf-8", "replace"), digest_size=8).hexdigest()


class Format(Protocol):
    """How a benchmark's file is read, asked and judged. ``styles``: those it has, its own first."""

    @property
    def name(self) -> str: ...

    @property
    def styles(self) -> tuple[str, ...]: ...

    @property
    def limits(self) -> Limits: ...

    def recognises(self, row: dict[str, Any]) -> bool: ...

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        """All of a file, in its order.

        :raises InputError: a row lacks something, with its line.
        """
        ...

    def program(self, problem: Problem, completion: str) -> str:
        """What is run to judge a completion."""
        ...

    def passed(self, problem: Problem, outcome: Outcome) -> bool: ...


def fenced(text: str) -> str:
    """The first block of code in an answer, closed or not; all of it where there is none."""
    match = _FENCE.search(text)
    return match[1] if match else text


def cut(text: str, stop: Sequence[str]) -> str:
    """Up to the first stop string, whichever comes first."""
    ends = [at for each in stop if (at := text.find(each)) >= 0]
    return text[: min(ends)] if ends else text
