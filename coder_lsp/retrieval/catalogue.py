"""The files of one root as imports name them: by path, by the end of a path, by package, by project.

Only look-ups in dictionaries, so that an import costs microseconds among 100,000 files; a name that more than
:data:`MOST` files share says nothing and finds nothing. Reads no disk: texts of the few project files that matter
(:data:`PROJECT_FILES`) are handed in. One thread changes it.
"""

from __future__ import annotations

import json
import re
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_Key = TypeVar("_Key")

PROJECT_FILES = frozenset({"go.mod", "tsconfig.json", "jsconfig.json", "package.json", "Cargo.toml"})
MOST = 256
"""Files with the same name or package that are looked at."""

_FAMILIES = {
    **dict.fromkeys(
        ("javascript", "javascriptreact", "typescript", "typescriptreact", "vue", "svelte", "astro"), "ecma"
    ),
    **dict.fromkeys(("java", "kotlin", "scala", "groovy"), "jvm"),
    **dict.fromkeys(("c", "cpp", "cuda", "objective-c", "glsl"), "c"),
}
_FOLDER_FILES = {"python": "__init__", "ecma": "index", "rust": "mod", "lua": "init"}
"""Files that stand for their folder."""


class CataloguedFile(NamedTuple):
    """``module``: its path without extension; that of its folder for ``__init__.py`` and the like."""

    family: str
    package: str
    module: str


class TsConfig(NamedTuple):
    """What of a tsconfig.json decides where an import leads. Folders relative to the root."""

    base: str | None
    paths: tuple[tuple[str, tuple[str, ...]], ...]
    extends: str


class Catalogue:
    """See the module. ``files`` are (path, language id, package); ``projects`` maps paths of project files to text."""

    def __init__(self, files: Iterable[tuple[str, str, str]] = (), projects: Mapping[str, str] | None = None) -> None:
        self.files: dict[str, CataloguedFile] = {}
        self.go_modules: dict[str, str] = {}
        """Folder -> module path."""
        self.crates: dict[str, str] = {}
        """Folder -> crate name, as code writes it."""
        self.node_packages: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Package name -> (folder, entry points)."""
        self.ts_configs: dict[str, TsConfig] = {}
        """Path of a tsconfig.json -> what it says."""
        self._by_end: dict[str, str | set[str]] = {}
        self._by_package: dict[tuple[str, str], set[str]] = {}
        self._go_folders: dict[str, set[str]] = {}
        for path, language, package in files:
            self.add(path, language, package)
        for path, text in (projects or {}).items():
            self.set_project(path, text)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, path: object) -> bool:
        return path in self.files

    def add(self, path: str, language: str, package: str = "") -> None:
        """A new file, or one that has changed."""
        if path in self.files:
            self.remove(path)
        family = family_of(language)
        module = _module(path, family)
        self.files[path] = CataloguedFile(family, package, module)
        for end in _ends(module):
            _put(self._by_end, end, path)
        if package and family != "go":
            self._by_package.setdefault((family, package), set()).add(path)
        if family == "go":
            self._go_folders.setdefault(dirname(path), set()).add(path)

    def remove(self, path: str) -> None:
        known = self.files.pop(path, None)
        if known is None:
            return
        for end in _ends(known.module):
            _drop(self._by_end, end, path)
        _discard(self._by_package, (known.family, known.package), path)
        if known.family == "go":
            _discard(self._go_folders, dirname(path), path)

    def set_project(self, path: str, text: str | None) -> None:
        """A project file's text, None once it is gone. What cannot be understood counts as empty."""
        folder, name = dirname(path), path.rpartition("/")[2]
        if name == "go.mod":
            found = re.search(r"^module[ \t]+\"?([^\s\"]+)", text or "", re.MULTILINE)
            _set(self.go_modules, folder, found[1] if found else None)
        elif name == "Cargo.toml":
            found = re.search(
                r"^\[package\][^\[]*?^name[ \t]*=[ \t]*[\"']([^\"']+)", text or "", re.MULTILINE | re.DOTALL
            )
            _set(self.crates, folder, found[1].replace("-", "_") if found else None)
        elif name == "package.json":
            for known in [known for known, (at, _) in self.node_packages.items() if at == folder]:
                del self.node_packages[known]
            said = _json(text)
            if isinstance(said.get("name"), str):
                entries = [said.get(key) for key in ("source", "types", "typings", "module", "main")]
                self.node_packages[said["name"]] = (folder, tuple(one for one in entries if isinstance(one, str)))
        elif re.fullmatch(r"(?:ts|js)config(?:\.[\w.-]+)?\.json", name):
            _set(self.ts_configs, path, None if text is None else _ts_config(folder, _json(text)))

    def ending(self, module: str, family: str) -> list[str]:
        """Files of a language family whose path without extension ends with ``module``; shortest path first."""
        end = "/".join(module.rsplit("/", 2)[-2:])
        found = self._by_end.get(end)
        if found is None:
            return []
        if isinstance(found, str):
            found = {found}
        elif len(found) > MOST:
            return []
        inside = f"/{module}"
        fitting = []
        for path in found:
            known = self.files[path]
            if known.family == family and (known.module == module or known.module.endswith(inside)):
                fitting.append(path)
        fitting.sort(key=lambda path: (path.count("/"), path))
        return fitting

    def in_package(self, package: str, family: str) -> list[str]:
        """Files that declare a package or namespace, by path; none if they are too many to mean something."""
        found = self._by_package.get((family, package), ())
        return sorted(found) if len(found) <= MOST else []

    def in_go_folder(self, folder: str) -> list[str]:
        return sorted(path for path in self._go_folders.get(folder, ()) if not path.endswith("_test.go"))

    def above(self, path: str) -> Iterator[str]:
        """The folders that contain a file, the innermost first, the root (``""``) last."""
        folder = dirname(path)
        while folder:
            yield folder
            folder = dirname(folder)
        yield ""


def family_of(language: str) -> str:
    """Languages whose files import each other share a family; others are their own."""
    return _FAMILIES.get(language, language)


def nearest(paths: Iterable[str], to: str) -> str | None:
    """The file that shares most leading folders with ``to``; of equals the first."""
    parts = to.split("/")[:-1]
    best, most = None, -1
    for path in paths:
        shared = 0
        for one, other in zip(path.split("/")[:-1], parts, strict=False):
            if one != other:
                break
            shared += 1
        if shared > most:
            best, most = path, shared
    return best


def _module(path: str, family: str) -> str:
    stem = path.rpartition(".")[0] if "." in path.rpartition("/")[2][1:] else path
    stem = stem.removesuffix(".d")
    folder, _, name = stem.rpartition("/")
    return folder if folder and name == _FOLDER_FILES.get(family) else stem


def _ends(module: str) -> tuple[str, ...]:
    parts = module.rsplit("/", 2)
    return (parts[-1], f"{parts[-2]}/{parts[-1]}") if len(parts) > 1 else (parts[-1],)


def _put(table: dict[str, str | set[str]], key: str, path: str) -> None:
    """Most ends belong to one file: a set for each would cost 200 bytes."""
    there = table.get(key)
    if there is None:
        table[key] = path
    elif isinstance(there, str):
        table[key] = {there, path}
    else:
        there.add(path)


def _drop(table: dict[str, str | set[str]], key: str, path: str) -> None:
    there = table.get(key)
    if isinstance(there, set):
        there.discard(path)
        if len(there) == 1:
            table[key] = there.pop()
    elif there == path:
        del table[key]


def _discard(table: dict[_Key, set[str]], key: _Key, path: str) -> None:
    listed = table.get(key)
    if listed is not None:
        listed.discard(path)
        if not listed:
            del table[key]


def _set(table: dict[str, Any], key: str, value: object) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _json(text: str | None) -> dict[str, Any]:
    """An object out of JSON as people write it: with comments and trailing commas. Empty if it is none."""
    if not text:
        return {}
    strings = r'("(?:[^"\\\n]|\\.)*")'
    bare = re.sub(strings + r"|//[^\n]*|/\*.*?\*/", lambda match: match[1] or "", text, flags=re.DOTALL)
    bare = re.sub(strings + r"|,(?=\s*[}\]])", lambda match: match[1] or "", bare)
    try:
        said = json.loads(bare)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _ts_config(folder: str, said: dict[str, Any]) -> TsConfig:
    options = said.get("compilerOptions")
    options = options if isinstance(options, dict) else {}
    base, listed = options.get("baseUrl"), options.get("paths")
    base_folder = normpath(join(folder, base)) if isinstance(base, str) else None
    at = folder if base_folder is None else base_folder
    paths = []
    for pattern, targets in listed.items() if isinstance(listed, dict) else ():
        if isinstance(targets, list):
            paths.append((pattern, tuple(normpath(join(at, one)) for one in targets if isinstance(one, str))))
    # The pattern with the longest beginning decides, as in TypeScript.
    paths.sort(key=lambda pair: -len(pair[0].partition("*")[0]))
    extends = said.get("extends")
    relative = isinstance(extends, str) and extends.startswith(".")
    parent = normpath(join(folder, extends)) if relative and isinstance(extends, str) else ""
    return TsConfig(
        None if base_folder is None else base_folder.removeprefix(".").lstrip("/"),
        tuple(paths),
        parent if parent.endswith(".json") or not parent else f"{parent}.json",
    )
