r"""What is left of a generated text behind what the user typed meanwhile: :func:`follow`, a pure function.

Typed text agrees with generated text where it is the beginning of it. Two things may differ, because no user does
them: the indentation that an editor inserts after a line break, and blank lines that it was not asked for. Everything
else that differs is the user's own idea, and the generated text is of no use any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from coder_lsp.completion.lines import leading, width


@dataclass(frozen=True)
class Rest:
    """``text`` is still to come. ``ahead``: the user typed beyond what there is, and agrees with all of it."""

    text: str
    ahead: bool = False


def follow(generated: str, typed: str) -> Rest | None:
    r"""What ``generated`` goes on with after ``typed``; None if they disagree.

    >>> follow("foo(a)\n    return b", "foo(")
    Rest(text='a)\n    return b', ahead=False)
    >>> follow("foo(", "foo(a")
    Rest(text='', ahead=True)
    >>> follow("foo(", "bar") is None
    True
    >>> follow("a = 1\n\n    b = 2", "a = 1\n    b")  # Enter was pressed once, the editor indented
    Rest(text=' = 2', ahead=False)
    """
    if generated.startswith(typed):
        return Rest(generated[len(typed) :])
    if typed.startswith(generated):
        return Rest("", ahead=True)
    lines, wanted = generated.split("\n"), typed.split("\n")
    if len(wanted) == 1 or lines[0] != wanted[0] or len(lines) == 1:
        return None
    return _below(lines, wanted)


def _below(lines: list[str], wanted: list[str]) -> Rest | None:
    """The same from the second line on, where indentation and blank lines may be the editor's."""
    at, last = 1, len(lines) - 1  # the last line may still grow
    for number, typed in enumerate(wanted[1:], 1):
        complete = number < len(wanted) - 1
        if complete and not typed.strip():
            # A blank line that was not generated is the user's own idea.
            if at == last or lines[at].strip():
                return None if lines[at].strip() else Rest("", ahead=True)
            at += 1
            continue
        while at < last and not lines[at].strip():
            at += 1
        rest = _behind(lines[at], typed, grows=at == last)
        if rest is None or rest.ahead:
            return rest
        if not complete:
            return Rest("\n".join([rest.text, *lines[at + 1 :]]))
        if rest.text.strip():
            return None
        if at == last:
            break
        at += 1
    return Rest("", ahead=True)


def _behind(line: str, typed: str, *, grows: bool) -> Rest | None:
    """What ``line`` has behind ``typed``, an equally indented beginning of it, whatever the indentation is made of."""
    if line.startswith(typed):
        return Rest(line[len(typed) :])
    body, typed_body = line.lstrip(" \t"), typed.lstrip(" \t")
    if grows and not body:
        return Rest("", ahead=True)
    missing = width(leading(line)) - width(leading(typed))
    if not typed_body:
        return Rest(" " * missing + body) if missing >= 0 else None
    if missing:
        return None
    if body.startswith(typed_body):
        return Rest(body[len(typed_body) :])
    return Rest("", ahead=True) if grows and typed_body.startswith(body) else None
