"""What the verbs print with: one way to print JSON, styled text and errors.

Results go to stdout and remarks to stderr; ``serve`` and ``host`` keep stdout for their protocol and print nothing.
Sits below every verb and above nothing; rich loads only for a verb that asks for a console.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import sys
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from coder_lsp.errors import CoderLspError


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def emit_json(value: Any) -> None:
    """Print one line of JSON to stdout. Dataclasses become objects, enums their values, paths text.

    Everything beyond ASCII is escaped, so that the line survives any terminal or pipe encoding.
    """
    print(json.dumps(value, default=_plain))


def console(*, stderr: bool = False, color: bool | None = None) -> Console:
    """A rich console that prints words as they are: no markup, no highlighting of numbers, no hard wraps.

    ``color`` None lets the terminal decide (and ``NO_COLOR``); False never writes an escape code.
    """
    from rich.console import Console

    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=True,
        no_color=True if color is False else None,
        force_terminal=False if color is False else None,
    )


def harmless(line: str) -> str:
    """A line out of a file as a terminal may have it: control characters spelled out, which could order it about."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


def print_error(error: CoderLspError) -> None:
    """``error: message`` and, indented below it, the next step."""
    lines = [f"error: {error.message}", *(f"  {line}" for line in error.hint.splitlines())]
    print("\n".join(lines), file=sys.stderr)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not asdict(): it would deep-copy every text in the value.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
