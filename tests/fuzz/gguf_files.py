"""Model files and adapters a little wrong: counts, lengths, types, offsets, names, the vocabulary, the weights.

A host that loads one says what is wrong with it, or runs it. It may not die of it: the front would begin it again, five
times, and the user would read of crashes and not of the file.
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
from support import tiny_gguf

from coder_lsp.errors import CoderLspError
from coder_lsp.models import gguf_header

_PATIENCE_SECONDS = 60.0
_SPARE = b"\0" * 8192
"""Behind the file, or nearly every change would only make it too short."""


def damages(head: int) -> st.SearchStrategy[Any]:
    """Mostly of the header, which everything else hangs on."""
    return changes(most=3, within=head) | changes(most=3, within=300) | changes(most=2)


@target("gguf-header", st.tuples(st.booleans(), damages(12_000)), share=150)
def gguf_headers(folder: Path) -> Iterator[Check]:
    model = tiny_gguf.write_random(folder / "model.gguf").read_bytes() + _SPARE
    lora = tiny_gguf.write_lora(folder / "lora.gguf").read_bytes() + _SPARE
    file = folder / "changed.gguf"

    def check(given: tuple[bool, Any]) -> None:
        file.write_bytes(changed(model if given[0] else lora, given[1]))
        try:
            found = gguf_header.read(file)
        except CoderLspError as error:
            if not error.hint:
                raise
        else:
            found.guess_template()

    yield check


def loads(folder: Path, kind: str, whole: bytes) -> Iterator[Check]:
    good, file = tiny_gguf.write_random(folder / "good.gguf"), folder / "changed.gguf"
    with contextlib.closing(Driver("fuzz.gguf_driver", folder / "stderr")) as driver:

        def check(given: Any) -> None:
            file.write_bytes(changed(whole, given))
            found = driver.ask([kind, str(file), str(good)], seconds=_PATIENCE_SECONDS)
            assert "said" in found or (found.get("error") and found["message"]), found

        yield check


@target("gguf-model", damages(12_000), share=60)
def gguf_models(folder: Path) -> Iterator[Check]:
    yield from loads(folder, "model", tiny_gguf.write_random(folder / "model.gguf").read_bytes() + _SPARE)


@target("gguf-adapter", damages(900), share=40)
def gguf_adapters(folder: Path) -> Iterator[Check]:
    yield from loads(folder, "adapter", tiny_gguf.write_lora(folder / "lora.gguf").read_bytes() + _SPARE)
