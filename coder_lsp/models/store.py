"""The models on this machine: one folder each under ``paths.models_dir()``, a GGUF file and a small ``model.json``.

Finds, lists, adds, removes, checks and chooses models. Never touches the network (``pull`` does) and never loads a
model. A record says which file, how long, its digest and whether that digest is the catalogue's; a file whose length
differs from its record is refused, so nothing half-written is ever served. A damaged record is reported for its model
and hurts no other. Deletes only what it made: a file that was added by link stays where it is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp import paths
from coder_lsp.errors import InputError, ModelCorrupt, ModelError, ModelNotFound, ModelNotInstalled
from coder_lsp.models import catalog, files
from coder_lsp.models import record as records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import tomlkit

    from coder_lsp.models.catalog import CatalogEntry

    OnWait = Callable[[], object]


@dataclass(frozen=True)
class InstalledModel:
    """A model file that is here. ``template`` None: whoever loads it decides by its vocabulary."""

    name: str
    path: Path
    sha256: str | None
    template: str | None
    entry: CatalogEntry | None
    bytes: int = 0
    verified: bool = False
    """The digest is the one in the catalogue."""
    source: str = ""
    """Where it came from: ``hub …``, ``packages``, ``file …``, ``path``."""
    added: str = ""
    linked: bool = False
    """The file belongs to the user; only the record is ours."""
    derived: dict[str, Any] | None = None
    """Of a model that was made here from another: which, how, and with what figures."""


@dataclass(frozen=True)
class BrokenModel:
    """A folder of the store that cannot be used, and why."""

    name: str
    path: Path
    fault: ModelError


@dataclass(frozen=True)
class Removed:
    """What a removal did."""

    name: str
    freed_bytes: int
    left: tuple[Path, ...]
    """Files in the model's folder that the store did not make."""


@dataclass(frozen=True)
class Verification:
    """``expected`` None: nothing to compare with, the digest is only stated."""

    name: str
    path: Path
    actual: str
    expected: str | None
    expected_by: str

    @property
    def ok(self) -> bool:
        return self.expected is None or self.actual == self.expected


def resolve(name_or_path: str) -> InstalledModel:
    """The model a setting or a command names: a catalogue name or alias, the name of an added model, or a path: of a
    GGUF file, of a folder with one, or of a folder of safetensors.

    :raises ModelNotFound: neither.
    :raises ModelNotInstalled: known, but not here; the hint says how to get it.
    :raises ModelCorrupt: here, but its file or record is damaged.
    """
    if looks_like_path(name_or_path):
        return _resolve_path(Path(name_or_path).expanduser())
    name = canonical(name_or_path)
    entry = catalog.load().find(name)
    if catalog.valid_name(name) and os.path.lexists(folder(name)):
        model = _load(name)
        if model is not None:
            return model
    if entry is not None:
        raise ModelNotInstalled(f"the model {name} is not on this machine", hint=f"run: coder-lsp models pull {name}")
    raise ModelNotFound(f"no model named {name_or_path!r} is known", hint=catalog.load().suggest(name_or_path))


def installed() -> list[InstalledModel | BrokenModel]:
    """Everything in the store, by name. A damaged one is in the list too, with its fault."""
    found: list[InstalledModel | BrokenModel] = []
    for path in sorted(paths.models_dir().iterdir()):
        if path.name.startswith(".") or not catalog.valid_name(path.name) or not path.is_dir():
            continue
        try:
            model = _load(path.name)
        except ModelError as fault:
            found.append(BrokenModel(path.name, path, fault))
        else:
            if model is not None:
                found.append(model)
    return found


def add(
    source: Path,
    name: str | None = None,
    *,
    link: bool = False,
    on_bytes: files.OnBytes | None = None,
    on_wait: OnWait | None = None,
) -> InstalledModel:
    """Take a GGUF file, or a folder that holds one, into the store: copied, or left in place and referred to.

    Folders of safetensors are used where they are (:func:`use`).

    A file that the catalogue knows by its file name gets the catalogue's name and must have its digest.

    :raises InputError: no such file, several in the folder, a name that is taken or cannot be one.
    :raises ModelCorrupt: not a GGUF, truncated, or not the file that its name promises.
    """
    from coder_lsp.models import gguf_header

    # Not resolve(): a link's name tells more than its target's (the hub's cache names files by digest).
    path = one_gguf(source.expanduser().absolute())
    header = gguf_header.read(path)
    if header.kind == "adapter":
        raise InputError(
            f"{path} is a LoRA adapter, not a model", hint=f"add it as one: coder-lsp models add --adapter {path}"
        )
    if header.architecture == "":
        raise ModelCorrupt(f"{path} names no model architecture", hint="it may be a GGUF of something else")
    known = next((entry for entry in catalog.load().entries if entry.file == path.name), None)
    name = canonical(name) if name is not None else known.name if known else slug(path.stem)
    if not catalog.valid_name(name):
        raise InputError(
            f"{name!r} cannot name a model", hint="use lowercase letters, digits, dots and dashes, such as my-model"
        )
    with exclusive(name, on_wait):
        if _occupied(name):
            raise InputError(
                f"there is a model named {name} already: {folder(name)}",
                hint=f"remove it first (coder-lsp models remove {name}) or add the file under another name",
            )
        entry = catalog.load().find(name)
        size = path.stat().st_size
        if link:
            target, digest = path, files.sha256_of(path, on_bytes)
            _check_digest(entry, digest, path)
        else:
            target, digest = _copy_in(path, name, entry, on_bytes)
        return record(
            name,
            target,
            sha256=digest,
            size=size,
            source=f"file {path}",
            template=entry.template if entry else header.guess_template(),
            linked=link,
        )


def record(
    name: str,
    path: Path,
    *,
    sha256: str | None,
    size: int,
    source: str,
    template: str | None,
    linked: bool = False,
    derived: dict[str, Any] | None = None,
) -> InstalledModel:
    """Write a model's record once its file is complete; the last step of adding, pulling or making."""
    entry = catalog.load().find(name)
    written = records.Record(
        name=name,
        file=str(path) if linked else path.name,
        bytes=size,
        sha256=sha256,
        verified=entry is not None and entry.sha256 is not None and entry.sha256 == sha256,
        source=source,
        template=template,
        added=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        linked=linked,
        derived=derived,
    )
    records.write(folder(name), written)
    return _installed(written, folder(name))


def remove(name: str, *, on_wait: OnWait | None = None) -> Removed:
    """Delete a model of the store and what was left of an unfinished pull.

    :raises ModelNotInstalled, ModelNotFound: nothing there under that name.
    :raises InputError: the folder is a link somebody else made.
    """
    name = canonical(name)
    if not catalog.valid_name(name):
        raise ModelNotFound(f"{name!r} cannot be the name of a model", hint="see: coder-lsp models list")
    if not _occupied(name) and not workspace(name).is_dir():
        raise ModelNotInstalled(f"the model {name} is not on this machine", hint="see: coder-lsp models list")
    with exclusive(name, on_wait):
        place = folder(name)
        if place.is_symlink():
            raise InputError(f"{place} is a link that coder-lsp did not make", hint=f"remove it yourself: rm {place}")
        freed = 0
        written = None
        # Of a damaged record the list of files is lost, so only the record goes and the rest is reported.
        with contextlib.suppress(ModelError):
            written = records.read(place)
        if written is not None and not written.linked:
            freed += _delete(place / written.file)
        _delete(place / records.RECORD)
        shutil.rmtree(workspace(name), ignore_errors=True)
        left = tuple(sorted(place.iterdir())) if place.is_dir() else ()
        if not left and place.is_dir():
            place.rmdir()
        return Removed(name, freed, left)


def verify(name_or_path: str, on_bytes: files.OnBytes | None = None) -> Verification:
    """Read a model's whole file and compare its digest: with the catalogue's, else with the one recorded when it came.

    A file that turns out to be the catalogue's is recorded as verified.
    """
    model = resolve(name_or_path)
    if model.path.is_dir():
        raise InputError(f"{model.path} is a folder, and nobody states its digest", hint="verify models of one file")
    actual = files.sha256_of(model.path, on_bytes)
    if model.entry is not None and model.entry.sha256 is not None:
        result = Verification(model.name, model.path, actual, model.entry.sha256, "the catalogue")
    else:
        result = Verification(model.name, model.path, actual, model.sha256, "the record made when it was added")
    if result.ok and result.expected_by == "the catalogue" and not model.verified and not looks_like_path(name_or_path):
        with exclusive(model.name):
            record(
                model.name,
                model.path,
                sha256=actual,
                size=model.path.stat().st_size,
                source=model.source or "found in the store",
                template=model.template,
                linked=model.linked,
                derived=model.derived,
            )
    return result


def use(name_or_path: str, config_file: Path | None = None) -> tuple[InstalledModel, Path]:
    """Make a model the one that is served: ``model = …`` in the user's settings, everything else there kept.

    :raises InputError: the settings file is not TOML.
    """
    model = resolve(name_or_path)
    path = config_file or paths.config_file()
    with edited_settings(path) as document:
        # tomlkit puts it before the first table
        document["model"] = str(model.path) if looks_like_path(name_or_path) else model.name
    return model, path


@contextlib.contextmanager
def edited_settings(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """The user's settings file as a document to change; all else in it stays, and it is replaced in one step.

    :raises InputError: the settings file is not TOML.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    # A settings file may be a link into a user's dotfiles: replace what it points to, not the link.
    target = path.resolve() if path.is_symlink() else path
    try:
        document = tomlkit.parse(target.read_text(encoding="utf-8")) if target.exists() else tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}", hint="correct or remove the file") from error
    yield document
    files.write_text(target, tomlkit.dumps(document))


def canonical(name: str) -> str:
    """The catalogue's name for an alias, else the name in lower case."""
    entry = catalog.load().find(name)
    return entry.name if entry else name.strip().lower()


def folder(name: str) -> Path:
    """Where a model lives, whether it is there or not."""
    return paths.models_dir() / name


def workspace(name: str) -> Path:
    """Where a model is put together before it is complete; on the same disk, so that a rename finishes it."""
    return paths.models_dir() / ".partial" / name


def exclusive(name: str, on_wait: OnWait | None = None) -> AbstractContextManager[None]:
    """One process at a time for one model. ``on_wait`` is called once if another one is at it."""
    return files.exclusive(paths.models_dir() / ".locks" / f"{name}.lock", on_wait)


def looks_like_path(name_or_path: str) -> bool:
    return name_or_path.endswith(".gguf") or "/" in name_or_path or os.sep in name_or_path or name_or_path[:1] == "~"


def slug(stem: str) -> str:
    """A name for a model out of any other, such as a file's."""
    return re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.")[:80]


def _load(name: str) -> InstalledModel | None:
    """The model in a folder, None if there is none. A folder with one GGUF and no record (a link, a copy) counts."""
    place = folder(name)
    written = records.read(place)
    if written is None:
        found = sorted(place.glob("*.gguf")) if place.is_dir() else []
        if len(found) != 1:
            return None
        entry = catalog.load().find(name)
        return InstalledModel(
            name,
            found[0],
            None,
            entry.template if entry else None,
            entry,
            bytes=found[0].stat().st_size,
            source="found in the store",
        )
    model = _installed(written, place)
    try:
        size = model.path.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"the file of {name} is gone: {model.path}", hint=_again(name, model)) from error
    if size != written.bytes:
        raise ModelCorrupt(
            f"the file of {name} has {size:,} bytes instead of {written.bytes:,}: {model.path}",
            hint=_again(name, model),
        )
    return model


def _again(name: str, model: InstalledModel) -> str:
    if model.derived is not None:
        return f"run: coder-lsp models remove {name}, then make it again with coder-lsp models optimise"
    again = "pull" if model.entry is not None else "add"
    return f"run: coder-lsp models remove {name}, then {again} it again"


def _installed(written: records.Record, place: Path) -> InstalledModel:
    return InstalledModel(
        name=written.name,
        path=Path(written.file) if written.linked else place / written.file,
        sha256=written.sha256,
        template=written.template,
        entry=catalog.load().find(written.name),
        bytes=written.bytes,
        verified=written.verified,
        source=written.source,
        added=written.added,
        linked=written.linked,
        derived=written.derived,
    )


def is_hub_folder(path: Path) -> bool:
    """A model as the hubs have it: configuration and safetensors, without a GGUF file beside them."""
    return (path / "config.json").is_file() and any(path.glob("*.safetensors")) and not any(path.glob("*.gguf"))


def _resolve_path(path: Path) -> InstalledModel:
    if is_hub_folder(path):
        path = path.resolve()
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        return InstalledModel(path.name, path, None, None, None, bytes=size, source="path")
    path = one_gguf(path).resolve()
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ModelCorrupt(f"{path} is not a GGUF file", hint="coder-lsp runs models in GGUF format")
    return InstalledModel(path.stem, path, None, None, None, bytes=path.stat().st_size, source="path")


def one_gguf(path: Path) -> Path:
    """The file itself, or the only GGUF in a folder.

    :raises ModelNotFound: there is none.
    :raises InputError: there are several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelNotFound(f"there is no file at {path}", hint="check the path")
    found = sorted(path.glob("*.gguf"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelNotFound(f"there is no GGUF file in {path}", hint="name the file itself, ending in .gguf")
    raise InputError(
        f"there are {len(found)} GGUF files in {path}", hint=f"name one of them: {', '.join(f.name for f in found[:4])}"
    )


def _occupied(name: str) -> bool:
    place = folder(name)
    return place.is_symlink() or (place.is_dir() and any(place.iterdir()))


def _copy_in(path: Path, name: str, entry: CatalogEntry | None, on_bytes: files.OnBytes | None) -> tuple[Path, str]:
    base = workspace(name)
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.need_space(base, path.stat().st_size)
    copy = base / f"add-{os.getpid()}"
    try:
        with files.disk_full_as_error(base), path.open("rb") as source, copy.open("wb") as target:
            _, digest = files.copy_with_digest(source, target, on_bytes)
            target.flush()
            files.sync(target.fileno())
        _check_digest(entry, digest, path)
        place = folder(name) / (entry.file if entry else path.name)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy.replace(place)
        files.sync_folder(place.parent)
    finally:
        copy.unlink(missing_ok=True)
    shutil.rmtree(base, ignore_errors=True)  # An unfinished pull of this model has nothing left to do.
    return place, digest


def _check_digest(entry: CatalogEntry | None, digest: str, path: Path) -> None:
    if entry is not None and entry.sha256 is not None and entry.sha256 != digest:
        raise ModelCorrupt(
            f"{path} is not the catalogue's {entry.name}: its sha256 is {digest}, expected {entry.sha256}",
            hint=f"add it under a name of its own: coder-lsp models add NAME {path}",
        )


def _delete(path: Path) -> int:
    try:
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode):
            return 0  # none that the store made
        path.unlink()
    except FileNotFoundError:
        return 0
    return facts.st_size
