"""Texts of any kind for every grammar: real sources a little wrong, pieces of all languages, bytes; and edits of them.

The front parses what the user has open, so a grammar that crashes there would end the editor's session. Everything runs
in a process of its own, whose end is a crash here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.driver import Driver
from fuzz.engine import Check, target
from fuzz.mutations import changed, changes
from hypothesis import strategies as st

from coder_lsp.languages import all_languages

_PATIENCE_SECONDS = 60.0
SAMPLES = Path(__file__).parents[1] / "unit" / "syntax" / "outlines"
SOURCES = {path.stem: path.read_bytes().partition(b"=" * 40)[0] for path in sorted(SAMPLES.glob("*.txt"))}
LANGUAGES = [language.id for language in all_languages()]
WORDS = """
def·f( class·A ( ) { } [ ] < > : ; import from . as @ # // /* */ ' " ` ${ function = => use ::
<script> </script> <style> <?php ?> é 😀 struct typedef #if #endif #define·X \\ <<EOF EOF r#" "#
--[[ ]] =begin =end ''' fn impl end do if else case >> template·< ... 0x 1e 'a $ %w( - key: --- | &
* ! ||
"""
"""With ``·`` for a space."""
pieces = st.sampled_from(
    [word.replace("·", " ") for word in WORDS.split()]
    + ["\n", "\n    ", "\n\t", "\r\n", "\r", '"""', "\x00", "\udc80", "\ud83d", "\ufeff", "\u2028", "\x0c", "\x1b"]
)
languages = st.sampled_from(LANGUAGES)
sources = st.sampled_from(sorted(SOURCES))
spoilt = st.tuples(st.just("source"), sources, changes(most=5, within=2000))
made = st.tuples(st.just("pieces"), st.lists(pieces, max_size=60).map("".join))
noise = st.tuples(st.just("bytes"), st.binary(max_size=200))
deep = st.tuples(st.just("deep"), pieces, st.integers(1, 3000), pieces)
texts = spoilt | spoilt | made | noise | deep
places = st.lists(st.integers(0, 5000), min_size=1, max_size=3)


def edited(name: str) -> st.SearchStrategy[Any]:
    """One source of a language after the other, as a document is that somebody types in."""
    versions = st.tuples(st.just("source"), st.just(name), changes(most=3, within=2000))
    return st.tuples(st.just(name), st.lists(versions, min_size=1, max_size=4), places)


cases = st.tuples(languages, st.lists(texts, min_size=1, max_size=3), places) | sources.flatmap(edited)


def text_of(kind: str, *given: Any) -> str:
    if kind == "source":
        return changed(SOURCES[given[0]], given[1]).decode("utf-8", "replace")
    if kind == "deep":
        return given[0] * given[1] + given[2]
    return given[0].decode("utf-8", "surrogateescape") if kind == "bytes" else given[0]


@target("syntax", cases, share=30)
def syntax_texts(folder: Path) -> Iterator[Check]:
    with contextlib.closing(Driver("fuzz.syntax_driver", folder / "stderr")) as driver:

        def check(case: tuple[Any, ...]) -> None:
            language, wanted, at = case
            found = driver.ask([language, [text_of(*each) for each in wanted], at], seconds=_PATIENCE_SECONDS)
            assert "defect" not in found, found

        yield check
