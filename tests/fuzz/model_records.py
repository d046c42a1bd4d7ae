"""What the stores of models and adapters have on disk, and the catalogue, damaged or written by somebody else.

A damaged record is one clear error for its model and hurts no other; what is read is of the types it should be, since
it goes on to the host; and a record never leads a removal to a file outside its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from fuzz.engine import Check, target
from fuzz.lsp import json_values
from fuzz.mutations import changed, changes
from hypothesis import strategies as st
from support import tiny_gguf
from support.model_files import write_gguf

from coder_lsp.errors import CoderLspError
from coder_lsp.models import adapters, catalog, store
from coder_lsp.models import record as records

odd = json_values | st.sampled_from(
    ["../other.gguf", "/etc/passwd", "a\x00b", "x" * 300, "", ".", "..", "\ud800", 10**30, -1, 1e999, [[]] * 3]
)
RECORD_KEYS = ["name", "file", "bytes", "sha256", "verified", "source", "template", "added", "linked", "derived"]
ADAPTER_KEYS = [
    "name",
    "file",
    "sha256",
    "bytes",
    "architecture",
    "rank",
    "alpha",
    "matrices",
    "base",
    "source",
    "path",
]


def damages(keys: list[str]) -> st.SearchStrategy[Any]:
    """Other values, no values, other bytes, or no file at all."""
    return st.one_of(
        st.tuples(st.just("set"), st.dictionaries(st.sampled_from(keys) | st.text(max_size=3), odd, max_size=3)),
        st.tuples(st.just("drop"), st.lists(st.sampled_from(keys), max_size=3)),
        st.tuples(st.just("bytes"), changes(most=4, within=600)),
        st.tuples(st.just("json"), odd),
        st.sampled_from([("folder",), ("absent",), ("deep",), ("empty",)]),
    )


def well_typed(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        hints = get_type_hints(hint, localns={"CatalogEntry": catalog.CatalogEntry})
        return isinstance(value, hint) and all(well_typed(getattr(value, f.name), hints[f.name]) for f in fields(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(well_typed(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if arguments:
        return any(well_typed(value, each) for each in arguments)
    if hint is int:
        return type(value) is int
    return isinstance(value, (int, float) if hint is float else hint)


def helps(error: CoderLspError) -> None:
    assert error.message
    assert error.hint


def damage(file: Path, whole: bytes, kind: str, *given: Any) -> None:
    if file.is_dir():
        file.rmdir()
    table = json.loads(whole)
    if kind == "set":
        file.write_text(json.dumps({**table, **given[0]}))
    elif kind == "drop":
        file.write_text(json.dumps({key: value for key, value in table.items() if key not in given[0]}))
    elif kind == "bytes":
        file.write_bytes(changed(whole, *given))
    elif kind == "json":
        file.write_text(json.dumps(*given))
    elif kind == "deep":
        file.write_text("[" * 100_000)
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "folder":
        file.unlink(missing_ok=True)
        file.mkdir()
    else:
        file.unlink(missing_ok=True)


@target("model-records", damages(RECORD_KEYS), share=60)
def model_records(folder: Path) -> Iterator[Check]:
    for name in ("one", "other"):
        store.add(write_gguf(folder / f"{name}.gguf"), name)
    file = store.folder("one") / records.RECORD
    whole = file.read_bytes()
    weights = {path: path.read_bytes() for path in store.folder("one").glob("*.gguf")}
    outside = folder / "other.gguf"

    def check(given: tuple[Any, ...]) -> None:
        damage(file, whole, *given)
        try:
            found = store.resolve("one")
        except CoderLspError as error:
            helps(error)
        else:
            assert well_typed(found, store.InstalledModel), found
            assert found.path.exists()
        rows = {row.name: row for row in store.installed()}
        assert rows["other"] == store.resolve("other")
        try:
            store.remove("one")
        except CoderLspError as error:
            helps(error)
        assert outside.exists()
        for path, content in weights.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    yield check


@target("adapter-records", damages(ADAPTER_KEYS), share=60)
def adapter_records(folder: Path) -> Iterator[Check]:
    for seed, name in enumerate(("one", "other")):
        adapters.add(tiny_gguf.write_lora(folder / f"{name}.gguf", seed=seed), name)
    file = adapters.folder("one") / adapters.RECORD
    whole = file.read_bytes()

    def check(given: tuple[Any, ...]) -> None:
        damage(file, whole, *given)
        try:
            found = adapters.resolve("one")
        except CoderLspError as error:
            helps(error)
        else:
            assert well_typed(found, adapters.InstalledAdapter), found
            assert found.path.parent == file.parent
        rows = {row.name: row for row in adapters.installed()}
        assert rows["other"] == adapters.resolve("other")

    yield check


@target("catalog", changes(within=30_000) | st.text(max_size=40), share=60)
def catalog_file(_: Path) -> Iterator[Check]:
    """It comes with the package: what matters is that a mistake in it is one error, and what is read can be used."""
    whole = resources.files("coder_lsp.models").joinpath("catalog.toml").read_bytes()

    def check(given: Any) -> None:
        text = given if isinstance(given, str) else changed(whole, given).decode("utf-8", "replace")
        try:
            found = catalog.parse(text)
        except ValueError:
            return
        for entry in found.entries:
            assert well_typed(entry, catalog.CatalogEntry), entry

    yield check
