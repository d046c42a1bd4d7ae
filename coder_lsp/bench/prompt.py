"""How often the rest of a line is exactly right, by where the prompt is split and whether the last token is healed.

Cuts lines of real code at random characters, removes the rest of the line, and asks the engine for it with each
way of building the prompt, one after the other at each place. It measures prompts, not the product: no policy, no
post-processing; those are evaluated through ``completion.service``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.errors import InputError
from coder_lsp.languages import PLAIN, by_path
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind
from coder_lsp.types import FimRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.engine.llama import LlamaEngine
    from coder_lsp.host.protocol import HostSettings

_MIN_LINE_CHARACTERS = 8
_MIN_FILE_CHARACTERS = 1500
_MAX_FILE_BYTES = 200_000
_MAX_TOKENS = 40


@dataclass(frozen=True)
class Place:
    """A cut: ``rest`` stood between ``prefix`` and ``suffix``."""

    path: str
    prefix: str
    suffix: str
    rest: str


@dataclass(frozen=True)
class Variant:
    """A way to build the prompt. ``lines`` None: split at the cursor, as is usual. ``healed`` None: as shipped."""

    name: str
    lines: int | None
    healed_tokens: int | None = None


VARIANTS = (
    Variant("split at the cursor", None),
    Variant("anchor at the line start", 0),
    Variant("anchor one line above", 1),
    Variant("anchor three lines above", 3),
    Variant("anchor six lines above", 6),
    Variant("anchor three lines above, one token healed", 3, 1),
    Variant("anchor three lines above, not healed", 3, 0),
)


def measure_prompts(
    settings: HostSettings,
    folder: Path,
    *,
    count: int = 48,
    seed: int = 1,
    progress: Callable[[int, dict[str, int]], None] = lambda *_: None,
) -> dict[str, Any]:
    """Exact rest-of-line counts for each of :data:`VARIANTS` at the same ``count`` places under ``folder``.

    :raises InputError: there is not enough code under ``folder``.
    """
    from coder_lsp.engine.llama import LlamaEngine

    places = choose_places(folder, count, seed)
    exact = {variant.name: 0 for variant in VARIANTS}
    engine = LlamaEngine.load(Path(settings.model_path), settings.engine)
    try:
        builders = {variant.name: _builder(engine, settings, variant) for variant in VARIANTS}
        for number, place in enumerate(places, start=1):
            for variant in VARIANTS:
                written = _rest_of_line(engine, builders[variant.name], place, variant)
                exact[variant.name] += written.rstrip() == place.rest.rstrip()
            progress(number, exact)
    finally:
        engine.close()
    return {"model": settings.model_name, "places": len(places), "seed": seed, "exact": exact}


def choose_places(folder: Path, count: int, seed: int) -> list[Place]:
    """``count`` places in the source files under ``folder``, the same for the same seed and files.

    :raises InputError: there is not enough code there.
    """
    files = [path for path in sorted(folder.rglob("*")) if _is_source(path)]
    if not files:
        raise InputError(f"no source files of at least {_MIN_FILE_CHARACTERS} characters under {folder}")
    chosen = random.Random(seed)  # noqa: S311  (places to measure, not secrets)
    places: list[Place] = []
    for _ in range(count * 200):
        if len(places) == count:
            return places
        path = chosen.choice(files)
        text = path.read_text(encoding="utf-8", errors="replace")
        place = _cut(path.relative_to(folder).as_posix(), text, chosen)
        if place is not None:
            places.append(place)
    raise InputError(f"only {len(places)} of {count} places could be found under {folder}")


def _is_source(path: Path) -> bool:
    if not path.is_file() or by_path(path.name) is PLAIN or not by_path(path.name).line_comments:
        return False
    return _MIN_FILE_CHARACTERS <= path.stat().st_size <= _MAX_FILE_BYTES


def _cut(path: str, text: str, chosen: random.Random) -> Place | None:
    lines = text.split("\n")
    number = chosen.randrange(len(lines))
    line = lines[number]
    indent = len(line) - len(line.lstrip())
    code = line.strip()
    if len(code) < _MIN_LINE_CHARACTERS or code.startswith((*by_path(path).line_comments, '"', "'", "*", "/*")):
        return None
    column = chosen.randrange(indent + 1, len(line.rstrip()))
    before = "\n".join([*lines[:number], line[:column]])
    return Place(path, before, "\n" + "\n".join(lines[number + 1 :]), line[column:])


def _builder(engine: LlamaEngine, settings: HostSettings, variant: Variant) -> PromptBuilder:
    config = replace(settings.prompt, anchor_lines=variant.lines or 0)
    template = bind(engine, settings.template, engine.info.architecture)
    return PromptBuilder(engine, template, config, engine.options.context_tokens)


def _rest_of_line(engine: LlamaEngine, builder: PromptBuilder, place: Place, variant: Variant) -> str:
    request = FimRequest("bench", place.prefix, place.suffix, path=place.path, max_tokens=_MAX_TOKENS)
    prompt = builder.build(request)
    if variant.lines is None:
        # The usual prompt is the placement whose head reaches to the cursor: nothing is typed since its anchor.
        at_cursor = replace(
            prompt.placement,
            anchor=len(place.prefix),
            head=place.prefix[prompt.placement.window :],
        )
        prompt = builder.build(request, at_cursor)
    tokens, forced = prompt.tokens, prompt.forced
    if variant.healed_tokens is not None:
        owed = _last_tokens(engine, prompt.placement.tail(place.prefix), forced)
        evaluated = len(owed) - variant.healed_tokens
        tokens = (*tokens, *owed[:evaluated])
        forced = b"".join(map(engine.token_bytes, owed[evaluated:]))
    answer = engine.generate(
        GenerateRequest(
            tokens=tokens, forced=forced, max_tokens=_MAX_TOKENS, stop=("\n",), stop_tokens=prompt.stop_tokens
        )
    )
    return answer.text


def _last_tokens(engine: LlamaEngine, text: str, forced: bytes) -> list[int]:
    """The tokens at the end of ``text`` that the builder backed over."""
    tokens = engine.tokenize(text)
    count = 0
    while count < len(tokens) and b"".join(map(engine.token_bytes, tokens[len(tokens) - count :])) != forced:
        count += 1
    return tokens[len(tokens) - count :]
