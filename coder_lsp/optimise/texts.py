"""Code to measure with: token runs as the engine is given them when it completes, out of files on this machine.

Files are the user's, where any are named, else those that come with Python itself, so nothing is downloaded. They are
split in two: what importance is collected from must not be what harm is measured on. Reads files, keeps nothing.
"""

from __future__ import annotations

import random
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp import languages
from coder_lsp.errors import InputError
from coder_lsp.prompt.templates import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.prompt.templates import BoundTemplate

LARGEST_BYTES = 200_000
MOST_FILES = 2000
SKIP_TOKENS = 16
"""Places at the start of a text that are not looked at: with nothing before them, any model guesses."""
PREFIX_SHARE, SUFFIX_SHARE = 0.5, 0.2
"""Of a text; the rest is the middle, which stands last."""


@dataclass(frozen=True)
class Texts:
    """Token runs: ``calibration`` to collect importance from, ``held_out`` to measure harm on."""

    calibration: list[list[int]]
    held_out: list[list[int]]
    origin: str
    files: int


def find_files(places: Sequence[Path]) -> tuple[list[Path], str]:
    """Source files, and in words where they come from. Without places: the Python standard library and its headers.

    :raises InputError: a place that does not exist, or no source file in any.
    """
    if not places:
        folders = [Path(sysconfig.get_paths()[kind]) for kind in ("stdlib", "include")]
        found = sorted(folders[0].glob("*.py")) + sorted(folders[1].rglob("*.h"))
        if found:
            return found, "the Python standard library"
        raise InputError("this Python comes without source files", hint="name some code: --code FOLDER")
    found = []
    for place in places:
        if not place.exists():
            raise InputError(f"there is nothing at {place}", hint="--code names files or folders of source code")
        found += [place] if place.is_file() else list(_source_files(place))
    if not found:
        raise InputError(f"no source files in {', '.join(map(str, places))}", hint="--code names source code")
    # No names: where the code came from is written into the model file, which may go anywhere.
    return found, "the user's own code"


def read_texts(files: Sequence[Path]) -> list[str]:
    """Their contents; what is no UTF-8 text, or too large to be typical, is left out."""
    texts = []
    for path in files[:MOST_FILES]:
        try:
            if path.stat().st_size <= LARGEST_BYTES:
                texts.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):  # noqa: PERF203  # files are read once
            continue
    return [text for text in texts if text.strip()]


def make(
    contents: Sequence[str],
    vocabulary: Vocabulary,
    template: BoundTemplate,
    *,
    tokens: int,
    calibration: int,
    held_out: int,
    origin: str = "",
    seed: int = 1,
) -> Texts:
    """Runs of at most ``tokens``, one a file if there are enough files; the same seed makes the same.

    :raises InputError: there is too little code.
    """
    chance = random.Random(seed)  # noqa: S311  # a sample, not a secret
    order = list(range(len(contents)))
    chance.shuffle(order)
    # The sides share no file. With few files a file gives several runs.
    share = calibration / (calibration + held_out)
    border = max(1, min(len(order) - 1, round(len(order) * share)))
    sides = [order[:border], order[border:]]
    runs = []
    for numbers, wanted in zip(sides, (calibration, held_out), strict=True):
        side: list[list[int]] = []
        for turn in range(wanted * 4):
            if len(side) == wanted or not numbers:
                break
            run = _run(contents[numbers[turn % len(numbers)]], vocabulary, template, tokens, chance)
            if len(run) > 2 * SKIP_TOKENS:
                side.append(run)
        runs.append(side)
    if not runs[0] or not runs[1]:
        raise InputError(
            "there is too little code to measure with", hint="name more: --code FOLDER, with at least two source files"
        )
    return Texts(runs[0], runs[1], origin, len(contents))


def _source_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and languages.by_path(path.name).id != languages.PLAIN.id:
            yield path


def _run(text: str, vocabulary: Vocabulary, template: BoundTemplate, tokens: int, chance: random.Random) -> list[int]:
    """A piece of a file, cut in three and put in the template's order."""
    characters = tokens * 5  # more than a token has in code, so that the cut is by tokens
    start = chance.randrange(max(1, len(text) - characters // 2))
    start = text.rfind("\n", 0, start) + 1
    ids = vocabulary.tokenize(text[start : start + characters])[:tokens]
    if not template.fills_middle:
        return [*([vocabulary.bos] if vocabulary.bos is not None else []), *ids]
    first = round(len(ids) * PREFIX_SHARE)
    last = round(len(ids) * (1 - SUFFIX_SHARE))
    parts = {Slot.PREFIX: ids[:first], Slot.SUFFIX: ids[last:]}
    run: list[int] = []
    for piece in template.template.layout:
        if isinstance(piece, Slot):
            run += parts.get(piece, [])
        elif piece in template.ids:
            run.append(template.ids[piece])
    if Slot.BOS in template.template.layout and vocabulary.bos is not None:
        run.insert(0, vocabulary.bos)
    return [*run, *ids[first:last]]
