"""Outlines of small sources, a file a language in ``outlines/``: the source, a line of ``=``, what must be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from coder_lsp.syntax.outline import Outline, outline

FILES = sorted(Path(__file__).with_name("outlines").glob("*.txt"))
SEPARATOR = "\n" + "=" * 40 + "\n"


def told(found: Outline) -> str:
    """An outline as text: package, imports, definitions as ``lines kind name | signature | doc``."""
    lines = [f"package {found.package}"] if found.package else []
    for one in found.imports:
        renamed = [f"{local}={original or 'module'}" for local, original in one.aliases]
        lines.append(" ".join(["import", "." * one.level + one.module, *one.names, *renamed, f"@{one.line}"]))
    for one in found.definitions:
        name = f"{one.parent} > {one.name}" if one.parent else one.name
        signature = one.signature.replace("\n", "⏎")
        lines.append(f"{one.start_line}-{one.end_line} {one.kind} {name} | {signature} | {one.doc}".rstrip(" |"))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_file_declares_and_imports(path):
    source, _, expected = path.read_text(encoding="utf-8").partition(SEPARATOR)
    assert told(outline(path.stem, source)) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_windows_line_ends_change_nothing_but_themselves(path):
    source, _, expected = path.read_text(encoding="utf-8").partition(SEPARATOR)
    found = told(outline(path.stem, source.replace("\n", "\r\n")))
    names = [line.split(" | ")[0] for line in found.splitlines()]
    assert names == [line.split(" | ")[0] for line in expected.splitlines()]
    assert "\r" not in found
