"""Prompts as they come up while code is typed: cursors in gaps of real source files.

A gap is a run of lines taken out. Within one the prompts share their anchor and so most of their tokens, as they do in
use, which makes many of them cheap to evaluate. Chosen by a seed; evaluates nothing.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.bench.prompt import choose_places
from coder_lsp.errors import InputError
from coder_lsp.types import FimRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from coder_lsp.bench.prompt import Place
    from coder_lsp.prompt.builder import Prompt, PromptBuilder

CURSORS = 4
"""In each gap; fewer where its text is shorter than that."""
_GAP_LINES = (1, 12)


@dataclass(frozen=True)
class CodeGap:
    """Lines between ``before`` and ``after``; ``cursors`` are offsets into them, ascending."""

    path: str
    before: str = field(repr=False)
    text: str = field(repr=False)
    after: str = field(repr=False)
    cursors: tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """A prompt, and its cursor as ``path:line:column``, both counted from 1."""

    place: str
    prompt: Prompt = field(repr=False)


def choose_gaps(folders: Sequence[Path], count: int, seed: int) -> list[CodeGap]:
    """At least ``count`` gaps in the source files under ``folders``, from each in turn; same for same seed and files.

    :raises InputError: there is not enough code in one of the folders.
    """
    chosen = random.Random(seed)  # noqa: S311  (places to measure, not secrets)
    each = math.ceil(count / len(folders))
    by_folder = [choose_places(folder, each, seed) for folder in folders]
    return [_gap(place, chosen) for places in zip(*by_folder, strict=True) for place in places]


def build_questions(builder: PromptBuilder, gaps: Iterable[CodeGap], count: int, new_tokens: int) -> list[Question]:
    """The first ``count`` distinct prompts of ``gaps``. Within a gap the anchor stays, as it does in use.

    :raises InputError: there are fewer.
    """
    questions: dict[tuple[tuple[int, ...], bytes], Question] = {}
    for gap in gaps:
        placement = None
        for cursor in gap.cursors:
            prefix = gap.before + gap.text[:cursor]
            request = FimRequest("bench", prefix, gap.after, path=gap.path, max_tokens=new_tokens)
            prompt = builder.build(request, placement)
            placement = prompt.placement
            line, column = prefix.count("\n") + 1, len(prefix) - prefix.rfind("\n")
            question = Question(f"{gap.path}:{line}:{column}", prompt)
            questions.setdefault((prompt.tokens, prompt.forced), question)
            if len(questions) == count:
                return list(questions.values())
    raise InputError(f"only {len(questions)} of {count} prompts differ", hint="name more folders, or ask for fewer")


def _gap(place: Place, chosen: random.Random) -> CodeGap:
    """The place's line and some below it, cut out; the cursors are where typing would ask."""
    start = place.prefix.rfind("\n") + 1
    below = place.suffix.split("\n")[1:]
    count = min(chosen.randint(*_GAP_LINES), 1 + len(below))
    lines = [place.prefix[start:] + place.rest, *below[: count - 1]]
    text = "\n".join(lines)
    after = "".join("\n" + line for line in below[count - 1 :])
    # Behind the indentation of the first line and of the second, in the middle of the first; the others anywhere.
    cursors = {_indentation(lines[0]), len(place.prefix) - start}
    if count > 1:
        cursors.add(len(lines[0]) + 1 + _indentation(lines[1]))
    others = [at for at in range(_indentation(lines[0]), len(text)) if at not in cursors]
    cursors.update(chosen.sample(others, min(len(others), CURSORS - len(cursors))))
    return CodeGap(place.path, place.prefix[:start], text, after, tuple(sorted(cursors)))


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
