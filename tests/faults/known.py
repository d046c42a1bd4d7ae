"""A document, and what the tiny model says in it each time: whatever else comes is wrong."""

from __future__ import annotations

from pathlib import Path

from support.session import Session
from support.tiny_gguf import write_chain

TEXT = "\n\ndef after():\n    pass\n"
SAID = "answered = 1"


def write_model(path: Path) -> Path:
    """A GGUF that says :data:`SAID`."""
    return write_chain(path, [SAID[:4].encode(), SAID[4:].encode(), b"\n"])


async def suggestion(editor: Session, name: str, tries: int = 3) -> str:
    """The first answer that has one: a fault may cost the requests that were under way and that found out."""
    for _ in range(tries):
        if text := await editor.ghost(name, 0, 0):
            return text
        editor.replace(name, TEXT)
    return ""
