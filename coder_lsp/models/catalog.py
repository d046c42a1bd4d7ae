"""The catalogue of models known by name, read from ``catalog.toml`` beside this module.

Owns names, aliases and what is known of each file: size, digest, template, where it can be had. Knows nothing of what
is on this machine (``store``) and opens nothing but its own data file. A digest in the catalogue was stated by two
independent sources; an entry without one is usable but unverified.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The same parser under two names; Python 3.10 does not bring it. By name, so that checking the types of this module
# needs neither.
_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.gguf")

TEMPLATE_NAMES = frozenset(
    {
        "qwen",
        "deepseek",
        "codellama",
        "starcoder",
        "starcoder2",
        "codegemma",
        "codestral",
        "mellum",
        "seed",
        "granite",
        "santacoder",
        "none",
    }
)
"""The keys of the prompt table, and ``none`` for plain left-to-right continuation."""


@dataclass(frozen=True)
class PackagePart:
    """One wheel used as a container: ``member`` inside it is the next piece of the model file."""

    requirement: str
    """Exactly one version, ``name==version``."""
    member: str
    bytes: int
    wheel_bytes: int
    """What is transferred; a wheel is compressed."""


@dataclass(frozen=True)
class CatalogEntry:
    """One model. ``bytes`` and ``sha256`` are None where they could not be established."""

    name: str
    family: str
    parameters: str
    licence: str
    context: int
    file: str
    template: str
    min_memory_gb: float
    note: str
    aliases: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    hub: tuple[str, ...] = ()
    """Repositories of the model hub that hold ``file``."""
    packages: tuple[PackagePart, ...] = ()


class Catalog:
    """Entries by name and alias, in the order of the file."""

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        self.entries = tuple(entries)
        self._by_name: dict[str, CatalogEntry] = {}
        for entry in self.entries:
            for name in (entry.name, *entry.aliases):
                if name in self._by_name:
                    raise ValueError(f"the name {name!r} is in the catalogue twice")
                self._by_name[name] = entry

    def find(self, name: str) -> CatalogEntry | None:
        """The entry of that name or alias; case does not matter."""
        return self._by_name.get(name.strip().lower())

    def get(self, name: str) -> CatalogEntry:
        """As :meth:`find`.

        :raises ModelNotFound: no such entry; the hint names close ones.
        """
        entry = self.find(name)
        if entry is None:
            raise ModelNotFound(f"no model named {name!r} is known", hint=self.suggest(name))
        return entry

    def suggest(self, name: str) -> str:
        """A sentence with the names closest to a misspelt one."""
        import difflib

        close = difflib.get_close_matches(name.lower(), list(self._by_name), n=3, cutoff=0.5)
        listing = "see: coder-lsp models list"
        return f"did you mean {' or '.join(close)}? ({listing})" if close else listing


@functools.cache
def load() -> Catalog:
    """The catalogue that ships with this package."""
    return parse(resources.files("coder_lsp.models").joinpath("catalog.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Catalog:
    """A catalogue from TOML text.

    :raises ValueError: not TOML, or an entry that contradicts the rules stated in ``catalog.toml``.
    """
    tables = _toml.loads(text).get("model", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("models are not a list of tables ([[model]])")
    return Catalog(_entry(table) for table in tables)


def valid_name(name: str) -> bool:
    """Whether ``name`` may name a model: one plain path component, lowercase."""
    return len(name) <= 80 and _NAME.fullmatch(name) is not None and ".." not in name


def valid_file(name: str) -> bool:
    """Whether ``name`` may name a GGUF file in the store."""
    return len(name) <= 200 and _FILE.fullmatch(name) is not None


def _entry(table: Mapping[str, Any]) -> CatalogEntry:
    try:
        parts = tuple(
            PackagePart(
                requirement=part["requirement"],
                member=part["member"],
                bytes=part["bytes"],
                wheel_bytes=part["wheel_bytes"],
            )
            for part in table.get("package", ())
        )
        entry = CatalogEntry(
            name=table["name"],
            family=table["family"],
            parameters=table["parameters"],
            licence=table["licence"],
            context=table["context"],
            file=table["file"],
            template=table["template"],
            min_memory_gb=float(table["min_memory_gb"]),
            note=table.get("note", ""),
            aliases=tuple(table.get("aliases", ())),
            bytes=table.get("bytes"),
            sha256=table.get("sha256"),
            hub=tuple(source["repo"] for source in table.get("hub", ())),
            packages=parts,
        )
    except KeyError as error:
        raise ValueError(f"model {table.get('name', '?')!r} lacks {error}") from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"model {table.get('name', '?')!r} has a value of another kind ({error})") from error
    _check(entry)
    return entry


def _check(entry: CatalogEntry) -> None:
    texts = [entry.name, *entry.aliases, entry.family, entry.parameters, entry.licence, entry.note, entry.file]
    texts += [entry.template, entry.sha256 or "", *entry.hub]
    texts += [text for part in entry.packages for text in (part.requirement, part.member)]
    numbers = [entry.context, entry.bytes or 0, *(n for part in entry.packages for n in (part.bytes, part.wheel_bytes))]
    if {type(text) for text in texts} - {str} or {type(number) for number in numbers} - {int}:
        raise ValueError(f"model {entry.name!r} has a value of the wrong type")
    faults = []
    if not all(valid_name(name) for name in (entry.name, *entry.aliases)):
        faults.append("a name that is not lowercase letters, digits, dots and dashes")
    if not valid_file(entry.file):
        faults.append(f"file {entry.file!r}")
    if entry.template not in TEMPLATE_NAMES:
        faults.append(f"template {entry.template!r}")
    if entry.sha256 is not None and not _DIGEST.fullmatch(entry.sha256):
        faults.append("a digest that is not 64 lowercase hexadecimal digits")
    if entry.packages:
        if entry.sha256 is None:
            faults.append("packages without a digest")
        if sum(part.bytes for part in entry.packages) != entry.bytes:
            faults.append("packages that do not add up to its size")
        if any(part.requirement.count("==") != 1 for part in entry.packages):
            faults.append("a package without an exact version")
    if faults:
        raise ValueError(f"model {entry.name!r} has {'; '.join(faults)}")
