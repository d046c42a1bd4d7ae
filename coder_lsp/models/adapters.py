"""The LoRA adapters on this machine: one folder each under ``paths.adapters_dir()``, a GGUF file and ``adapter.json``.

Finds, lists, adds, replaces and removes adapters, and writes into the settings which of them are used where. An
adapter's file is named by its digest, so a replaced one has another path, and whoever still reads the old one is not
disturbed. Loads no adapter: whether it fits a model is found out by the host that lays it over one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp import paths
from coder_lsp.errors import InputError, ModelCorrupt, ModelError, ModelNotFound
from coder_lsp.models import catalog, files, gguf_header, store
from coder_lsp.models import record as records

if TYPE_CHECKING:
    from collections.abc import Callable

    OnWait = Callable[[], object]

RECORD = "adapter.json"
_DIGITS = 16
"""Of the digest, in a file's name."""


@dataclass(frozen=True)
class InstalledAdapter:
    """An adapter that is here. ``base`` is what its file says it was made for, and may be empty."""

    name: str
    path: Path
    sha256: str
    bytes: int
    architecture: str
    rank: int
    alpha: float
    matrices: int
    base: str = ""
    source: str = ""
    added: str = ""
    """UTC, ISO 8601."""


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "sha256", "architecture", "base", "source", "added"), str),
    **dict.fromkeys(("bytes", "rank", "matrices"), int),
    "alpha": (int, float),
}


@dataclass(frozen=True)
class BrokenAdapter:
    """A folder of the store that cannot be used, and why."""

    name: str
    path: Path
    fault: ModelError


def resolve(name_or_path: str) -> InstalledAdapter:
    """An adapter by the name it was added under, or any file by its path.

    :raises ModelNotFound: there is none.
    :raises ModelCorrupt: its file or record is damaged, or the file is no adapter.
    :raises ModelFromNewerVersion: a newer coder-lsp put it here.
    """
    if store.looks_like_path(name_or_path):
        path = Path(name_or_path).expanduser().absolute()
        if not path.is_file():
            raise ModelNotFound(f"there is no file at {path}", hint="check the path of the adapter")
        facts = path.stat()
        # Its digest would have to be computed at each look; size and time of change tell files apart as well.
        return _described(path.stem, path, f"{facts.st_size}-{facts.st_mtime_ns}", _checked(path), source="path")
    name = name_or_path.strip().lower()
    found = _load(name) if catalog.valid_name(name) else None
    if found is None:
        known = ", ".join(each.name for each in installed()) or "none"
        raise ModelNotFound(
            f"there is no adapter named {name_or_path!r} on this machine",
            hint=f"there are: {known}; add one with coder-lsp models add --adapter",
        )
    return found


def installed() -> list[InstalledAdapter | BrokenAdapter]:
    """Everything in the store, by name. A damaged one is in the list too, with its fault."""
    found: list[InstalledAdapter | BrokenAdapter] = []
    for place in sorted(paths.adapters_dir().iterdir()):
        if not catalog.valid_name(place.name) or not place.is_dir():
            continue
        try:
            adapter = _load(place.name)
        except ModelError as fault:
            found.append(BrokenAdapter(place.name, place, fault))
        else:
            if adapter is not None:
                found.append(adapter)
    return found


def add(
    source: Path,
    name: str | None = None,
    *,
    replace: bool = False,
    on_bytes: files.OnBytes | None = None,
    on_wait: OnWait | None = None,
) -> InstalledAdapter:
    """Copy an adapter's GGUF file, or the one in a folder, into the store. ``replace``: in place of one of that name.

    :raises InputError: no such file, several in the folder, a name that is taken or cannot be one.
    :raises ModelCorrupt: not a GGUF, truncated, or no LoRA adapter.
    """
    path = store.one_gguf(source.expanduser().absolute())
    header = _checked(path)
    name = name.strip().lower() if name is not None else store.slug(path.stem)
    if not catalog.valid_name(name):
        raise InputError(
            f"{name!r} cannot name an adapter", hint="use lowercase letters, digits, dots and dashes, such as my-code"
        )
    with exclusive(name, on_wait):
        place = folder(name)
        if _occupied(place) and not replace:
            raise InputError(
                f"there is an adapter named {name} already: {place}",
                hint="replace it with --replace, or add the file under another name",
            )
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        target, digest = _copy_in(path, place, on_bytes)
        adapter = _described(name, target, digest, header, source=f"file {path}")
        files.write_text(place / RECORD, json.dumps(_table(adapter), indent=2) + "\n")
        for other in place.glob("*.gguf"):
            if other != target:
                other.unlink(missing_ok=True)
        return adapter


def remove(name: str, *, on_wait: OnWait | None = None) -> int:
    """Delete an adapter of the store; returns the bytes that frees. The settings may still name it.

    :raises ModelNotFound: nothing there under that name.
    """
    name = name.strip().lower()
    place = folder(name)
    if not catalog.valid_name(name) or not _occupied(place):
        raise ModelNotFound(
            f"there is no adapter named {name!r} on this machine", hint="see: coder-lsp models list --adapters"
        )
    with exclusive(name, on_wait):
        freed = 0
        for path in [*place.glob("*.gguf"), *place.glob("adding-*"), place / RECORD]:
            with contextlib.suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        with contextlib.suppress(OSError):
            place.rmdir()
        return freed


def verify(name: str, on_bytes: files.OnBytes | None = None) -> store.Verification:
    """Read an adapter's whole file and compare its digest with the one recorded when it came.

    :raises ModelNotFound, ModelCorrupt: as :func:`resolve`.
    """
    adapter = resolve(name)
    expected = None if store.looks_like_path(name) else adapter.sha256
    actual = files.sha256_of(adapter.path, on_bytes)
    return store.Verification(adapter.name, adapter.path, actual, expected, "the record made when it was added")


def use(
    name_or_path: str | None, workspace: Path | None = None, scale: float = 1.0, config_file: Path | None = None
) -> tuple[InstalledAdapter | None, Path]:
    """Write into the user's settings that an adapter (None: none) is used everywhere, or for files of one folder.

    Everything else there is kept. Servers that run go by it from their next request on.

    :raises ModelNotFound, ModelCorrupt: as :func:`resolve`.
    :raises InputError: the settings file is not TOML, or the folder is not there.
    """
    import tomlkit

    adapter = None if name_or_path is None else resolve(name_or_path)
    value = ""
    if adapter is not None and name_or_path is not None:
        value = str(adapter.path) if store.looks_like_path(name_or_path) else adapter.name
        value += "" if scale == 1.0 else f"@{scale:g}"
    path = config_file or paths.config_file()
    if workspace is not None and not workspace.expanduser().is_dir():
        raise InputError(f"there is no folder at {workspace}", hint="--workspace names the folder of a project")
    with store.edited_settings(path) as document:
        if workspace is None:
            table = document.setdefault("engine", tomlkit.table())
            _require_table(table, "engine", path)
            table["loras"] = [value] if value else []
        else:
            table = document.setdefault("adapters", tomlkit.table())
            _require_table(table, "adapters", path)
            # Kept when empty: it says that the folder goes without, whatever is used elsewhere.
            table[str(workspace.expanduser().resolve())] = value
    return adapter, path


def split_scale(setting: str) -> tuple[str, float]:
    """``name@0.5`` as a setting has it -> name and scale; 1 where there is none. A path may have an ``@`` in it.

    >>> split_scale("acme@0.5"), split_scale("/a@b/c.gguf")
    (('acme', 0.5), ('/a@b/c.gguf', 1.0))
    """
    name, at, scale = setting.rpartition("@")
    try:
        return (name, float(scale)) if at and name else (setting, 1.0)
    except ValueError:
        return setting, 1.0


def folder(name: str) -> Path:
    """Where an adapter lives, whether it is there or not."""
    return paths.adapters_dir() / name


def name_of(path: Path) -> str:
    """The name of the adapter whose file this is; the path itself where it is not in the store."""
    return path.parent.name if path.parent.parent == paths.adapters_dir() else str(path)


def exclusive(name: str, on_wait: OnWait | None = None) -> contextlib.AbstractContextManager[None]:
    """One process at a time for one adapter. ``on_wait`` is called once if another one is at it."""
    return files.exclusive(paths.adapters_dir() / ".locks" / f"{name}.lock", on_wait)


def _checked(path: Path) -> gguf_header.GgufHeader:
    header = gguf_header.read(path)
    if header.kind != "adapter" or header.lora is None:
        what = "a model" if header.kind == "model" else f"a GGUF of type {header.kind}"
        raise ModelCorrupt(
            f"{path} is no LoRA adapter but {what}",
            hint="coder-lsp train export writes adapters; a model is added without --adapter",
        )
    return header


def _described(name: str, path: Path, digest: str, header: gguf_header.GgufHeader, *, source: str) -> InstalledAdapter:
    assert header.lora is not None
    return InstalledAdapter(
        name=name,
        path=path,
        sha256=digest,
        bytes=path.stat().st_size,
        architecture=header.architecture,
        rank=header.lora.rank,
        alpha=header.lora.alpha,
        matrices=header.lora.matrices,
        base=header.lora.base,
        source=source,
        added=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )


def _table(adapter: InstalledAdapter) -> dict[str, Any]:
    table = asdict(adapter)
    return {"format": records.FORMAT, "file": table.pop("path").name} | table


def _load(name: str) -> InstalledAdapter | None:
    place = folder(name)
    record = place / RECORD
    hint = f"run: coder-lsp models remove --adapter {name}, then add it again"
    try:
        table = json.loads(record.read_text(encoding="utf-8"))
        records.refuse_newer(table, record)
        file = table["file"]
        # A file name with a folder in it would let an edited record point anywhere.
        if not files.is_plain_name(file) or table["name"] != name:
            raise ValueError("wrong file or name")
        known = {field.name for field in fields(InstalledAdapter)} & table.keys() - {"path"}
        adapter = InstalledAdapter(**{key: table[key] for key in known}, path=place / file)
        # The host is told some of it and takes nothing of another type.
        values = {key: getattr(adapter, key) for key in _TYPES}
        if any(not isinstance(value, _TYPES[key]) or isinstance(value, bool) for key, value in values.items()):
            raise TypeError("a value of another type")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelCorrupt(f"the record of the adapter {name} is damaged: {record}", hint=hint) from error
    try:
        found = adapter.path.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"the file of the adapter {name} is gone: {adapter.path}", hint=hint) from error
    if found != adapter.bytes:
        raise ModelCorrupt(
            f"the file of the adapter {name} has {found:,} bytes instead of {adapter.bytes:,}: {adapter.path}",
            hint=hint,
        )
    return adapter


def _occupied(place: Path) -> bool:
    return place.is_dir() and any(place.iterdir())


def _copy_in(path: Path, place: Path, on_bytes: files.OnBytes | None) -> tuple[Path, str]:
    files.need_space(place, path.stat().st_size)
    copy = place / f"adding-{os.getpid()}"
    try:
        with files.disk_full_as_error(place), path.open("rb") as source, copy.open("wb") as target:
            _, digest = files.copy_with_digest(source, target, on_bytes)
            target.flush()
            files.sync(target.fileno())
        final = place / f"{digest[:_DIGITS]}.gguf"
        copy.replace(final)
        files.sync_folder(place)
    finally:
        copy.unlink(missing_ok=True)
    return final, digest


def _require_table(value: Any, key: str, path: Path) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is no table", hint=f"write it as [{key}], then run this again")
