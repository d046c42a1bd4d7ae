"""From imports to files of the workspace: where a module that a file names is, and which file should declare a name.

A rule for each language that has rules, the end of the path for the others. What lies outside of the workspace (the
standard library, packages) is not found, and a path is never guessed: every answer is a file of the
:class:`Catalogue`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING

from coder_lsp.retrieval.catalogue import PROJECT_FILES, Catalogue, family_of, nearest
from coder_lsp.retrieval.ecma_modules import find_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from coder_lsp.syntax.declared import Import

__all__ = ["PROJECT_FILES", "Catalogue", "resolve", "resolve_names"]

_SOURCE_FOLDERS = {"", "src", "lib", "python", "source"}
_MOST_OF_A_PACKAGE = 64
"""``import a.b.*`` and ``using A.B``: files of one package that count as imported."""
_SMALL_PACKAGE = 12
"""A name that no file is called after may be in any of so few."""

_Pair = tuple[str, str]
"""(name as written, file that should declare it); the name is empty for the module itself."""


def resolve(path: str, language: str, imports: Iterable[Import], catalogue: Catalogue) -> tuple[str, ...]:
    """The files that ``imports`` of the file ``path`` lead to, in their order, without itself, each once."""
    rule = _RULES.get(family_of(language), _by_end)
    found: dict[str, None] = {}
    for each in imports:
        for _, target in rule(path, each, catalogue):
            found[target] = None
    found.pop(path, None)
    return tuple(found)


def resolve_names(path: str, language: str, imports: Iterable[Import], catalogue: Catalogue) -> dict[str, str]:
    """Names as the file ``path`` uses them (its aliases) -> the file that should declare them."""
    rule = _RULES.get(family_of(language), _by_end)
    found: dict[str, str] = {}
    for each in imports:
        renamed: dict[str, list[str]] = {}
        for local, original in each.aliases:
            renamed.setdefault(original, []).append(local)
        for name, target in rule(path, each, catalogue):
            if name == "*" or target == path:
                continue
            default = [name] if name and name != "default" else _module_names(language, each)
            for local in renamed.get(name, default):
                found.setdefault(local, target)
    return found


def _module_names(language: str, each: Import) -> list[str]:
    """What an import without names binds: ``a.b`` for Python's ``import a.b``, the last part of Go's path."""
    if language == "python" and not each.names:
        return [each.module]
    if language == "go":
        return [next((part for part in reversed(each.module.split("/")) if not re.fullmatch(r"v\d+", part)), "")]
    return []


def _python(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    module = each.module.replace(".", "/")
    if each.level:
        folder = dirname(path)
        for _ in range(each.level - 1):
            folder = dirname(folder)
        base: str | None = join(folder, module).rstrip("/") if module else folder
    else:
        base = _python_base(path, module, catalogue)
        if base is None:
            return
    own = _python_file(base, catalogue)
    for name in each.names:
        inner = _python_file(f"{base}/{name}" if base else name, catalogue) if name != "*" else None
        if inner is not None:
            yield name, inner
        elif own is not None:
            yield name, own
    if not each.names and own is not None:
        yield "", own


def _python_file(module: str | None, catalogue: Catalogue) -> str | None:
    if module is None:
        return None
    for path in (f"{module}.py", f"{module}/__init__.py" if module else "__init__.py", f"{module}.pyi"):
        if path in catalogue:
            return path
    return None


def _python_base(path: str, module: str, catalogue: Catalogue) -> str | None:
    """Path of an absolute module without extension: below a folder that is no package, as ``sys.path`` wants it."""
    for folder in catalogue.above(path):
        if f"{folder}/__init__.py" in catalogue:
            continue
        for start in (folder, f"{folder}/src" if folder else "src"):
            base = f"{start}/{module}" if start else module
            if _python_file(base, catalogue) is not None:
                return base
    outside = []
    for found in catalogue.ending(module, "python"):
        base = catalogue.files[found].module
        start = base[: len(base) - len(module)].rstrip("/")
        if f"{start}/__init__.py" in catalogue:
            continue
        # ``import types`` is the standard library's, not that of some script's folder.
        if "/" in module or start.rpartition("/")[2] in _SOURCE_FOLDERS or found.endswith("/__init__.py"):
            outside.append(found)
    best = nearest(outside, path)
    if best is not None:
        return catalogue.files[best].module
    return _namespace(path, module, catalogue)


def _namespace(path: str, module: str, catalogue: Catalogue) -> str | None:
    """A package without ``__init__.py``: nothing names it, but a folder of modules does."""
    for folder in catalogue.above(path):
        if folder == module or folder.endswith(f"/{module}"):
            return folder
    return module


def _ecma(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    target = find_module(path, each.module.split("?")[0], catalogue)
    if target is None:
        return
    for name in each.names:
        yield name, target
    if not each.names or any(not original for _, original in each.aliases):
        yield "", target


def _jvm(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    for name in each.names:
        module = each.module.replace(".", "/")
        if name == "*":
            # Of a class, if it is a static import.
            owner = nearest(catalogue.ending(module, "jvm"), path) if "/" in module else None
            found = [owner] if owner else catalogue.in_package(each.module, "jvm")[:_MOST_OF_A_PACKAGE]
            yield from (("*", one) for one in found)
            continue
        best = nearest(catalogue.ending(f"{module}/{name}", "jvm"), path)
        if best is None and module.rpartition("/")[2][:1].isupper():  # a member or nested class
            best = nearest(catalogue.ending(module, "jvm"), path)
        if best is not None:
            yield name, best
            continue
        small = catalogue.in_package(each.module, "jvm")
        if len(small) <= _SMALL_PACKAGE:
            yield from ((name, one) for one in small)


def _go(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    folder = _go_folder(path, each.module, catalogue)
    files = catalogue.in_go_folder(folder) if folder is not None else []
    called = f"/{each.module.rpartition('/')[2]}.go"
    files.sort(key=lambda file: not f"/{file}".endswith(called))
    yield from (("", file) for file in files[:_MOST_OF_A_PACKAGE])


def _go_folder(path: str, module: str, catalogue: Catalogue) -> str | None:
    best = None
    for folder, name in catalogue.go_modules.items():
        if (module == name or module.startswith(f"{name}/")) and (best is None or len(name) > len(best[1])):
            best = (folder, name)
    if best is not None:
        return join(best[0], module[len(best[1]) + 1 :]).rstrip("/")
    if catalogue.go_modules:
        return None
    # Without a go.mod: the longest end of the import path that is a folder.
    parts = module.split("/")
    for start in range(len(parts) - 1):
        folder = "/".join(parts[start:])
        for above in catalogue.above(path):
            inside = join(above, folder)
            if catalogue.in_go_folder(inside):
                return inside
    return None


def _rust(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    root, own = _rust_place(path, catalogue)
    parts = each.module.split("::") if each.module else []
    if parts[:1] == ["crate"]:
        parts = parts[1:]
    elif parts and parts[0] in {"self", "super"}:
        while parts and parts[0] in {"self", "super"}:
            own = own[:-1] if parts[0] == "super" else own
            parts = parts[1:]
        parts = [*own, *parts]
    else:
        first = parts[0] if parts else next(iter(each.names), "")
        crate = _crate_folders(catalogue).get(first)
        if crate is not None:
            root, parts = join(crate, "src"), parts[1:]
        elif _rust_file(root, [*own, first], catalogue) is not None:
            parts = [*own, *parts]
        else:
            return
    module = _rust_file(root, parts, catalogue)
    for name in each.names:
        inner = _rust_file(root, [*parts, name], catalogue) if name != "*" else None
        target = inner or module or (_rust_file(root, parts[:-1], catalogue) if parts else None)
        if target is not None:
            yield name, target
    if not each.names and module is not None:
        yield "", module


def _rust_place(path: str, catalogue: Catalogue) -> tuple[str, list[str]]:
    """(source folder of the crate, module path of the file in it)."""
    root = next((join(folder, "src") for folder in catalogue.above(path) if folder in catalogue.crates), None)
    if root is None or not path.startswith(f"{root}/"):
        root = next(
            (folder for folder in catalogue.above(path) if folder == "src" or folder.endswith("/src")), dirname(path)
        )
    inside = path[len(root) + 1 if root else 0 :].removesuffix(".rs")
    parts = inside.split("/")
    if parts[-1] in {"mod", "lib", "main"}:
        parts.pop()
    return root, parts


def _rust_file(root: str, parts: list[str], catalogue: Catalogue) -> str | None:
    inside = "/".join(parts)
    if inside:
        options: tuple[str, ...] = (f"{inside}.rs", f"{inside}/mod.rs")
    else:
        options = ("lib.rs", "main.rs", "mod.rs")
    return next((found for one in options if (found := join(root, one)) in catalogue), None)


def _crate_folders(catalogue: Catalogue) -> dict[str, str]:
    return {name: folder for folder, name in catalogue.crates.items()}


def _c(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    near = normpath(join(dirname(path), each.module))
    if near in catalogue:
        yield "", near
        return
    module = each.module.replace("\\", "/")
    while module.startswith("../"):
        module = module[3:]
    stem, dot, _ = module.rpartition(".")
    if not dot and "/" not in module:
        return  # <vector>
    named = [
        found
        for found in catalogue.ending(stem if dot else module, "c")
        if found == module or found.endswith(f"/{module}")
    ]
    best = nearest(named, path)
    if best is not None:
        yield "", best


def _csharp(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    for name in each.names:
        listed = catalogue.in_package(each.module, "csharp")
        if name == "*" and listed:
            yield from (("*", one) for one in listed[:_MOST_OF_A_PACKAGE])
            continue
        # ``using static A.B.C`` and ``using X = A.B.C``: C is a type of the namespace A.B.
        package, _, owner = each.module.rpartition(".")
        wanted = owner if name == "*" else name
        inside = catalogue.in_package(package, "csharp") if name == "*" else listed
        exact = [one for one in inside if catalogue.files[one].module.rpartition("/")[2] == wanted]
        best = nearest(exact, path)
        if best is not None:
            yield name, best
        elif name != "*" and len(inside) <= _SMALL_PACKAGE:
            yield from ((name, one) for one in inside)


def _php(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    if each.level:
        yield from _by_end(path, each, catalogue)
        return
    for name in each.names:
        inside = catalogue.in_package(each.module, "php")
        exact = [one for one in inside if catalogue.files[one].module.rpartition("/")[2] == name]
        last = each.module.replace("\\", "/").rpartition("/")[2]
        best = nearest(exact, path) or nearest(catalogue.ending(f"{last}/{name}" if last else name, "php"), path)
        if best is not None:
            yield name, best
        elif len(inside) <= _SMALL_PACKAGE:
            yield from ((name, one) for one in inside)


def _by_end(path: str, each: Import, catalogue: Catalogue) -> Iterator[_Pair]:
    """Any other language: the file whose path ends as the import says, the nearest of several."""
    known = catalogue.files.get(path)
    family = known.family if known is not None else None
    module = _slashed(each.module)
    if not module:
        return
    folder = dirname(path)
    near = normpath(join(folder, each.module.strip("/"))) if "/" in each.module or "." in each.module else ""
    for start in dict.fromkeys((near, normpath(join(folder, module)))):
        if start in catalogue:
            yield "", start
            return
    if family is None:
        return
    here = normpath(join(folder, module))
    fitting = catalogue.ending(module, family)
    best = next((one for one in fitting if catalogue.files[one].module == here), None) or nearest(fitting, path)
    if best is None and "/" in module and each.module.startswith("package:"):
        best = nearest(catalogue.ending(f"lib/{module.partition('/')[2]}", family), path)
    if best is None:
        return
    yield "", best
    for name in each.names:
        yield name, best


@lru_cache(maxsize=4096)
def _slashed(module: str) -> str:
    """A module as the end of a path: ``A::B``, ``a.b``, ``$DIR/a/b.sh`` are ``A/B``, ``a/b``, ``a/b``."""
    text = module.removeprefix("package:")
    if "/" in text or "\\" in text:
        text = re.sub(r"^\$\{?\w+\}?/|^\$\([^)]*\)/", "", text.replace("\\", "/"))
        head, _, name = text.rpartition("/")
        name = name.rpartition(".")[0] or name
        text = f"{head}/{name}" if head else name
    elif re.fullmatch(r"[\w-]+\.(?:\w{1,4}|proto|thrift|cmake)", text):
        text = (
            text.rpartition(".")[0]
            if not re.fullmatch(r"[a-z_]+\.[a-z_]+", text) or text.endswith(_FILE_ENDS)
            else text
        )
        text = text.replace(".", "/")
    else:
        text = text.replace("::", "/").replace(".", "/").replace(":", "/")
    while text.startswith(("../", "./")):
        text = text.partition("/")[2]
    return text.strip("/")


_FILE_ENDS = (
    ".sh",
    ".lua",
    ".rb",
    ".jl",
    ".dart",
    ".r",
    ".hrl",
    ".proto",
    ".thrift",
    ".sol",
    ".css",
    ".scss",
    ".zig",
    ".nim",
)

_RULES: dict[str, Callable[[str, Import, Catalogue], Iterator[_Pair]]] = {
    "python": _python,
    "ecma": _ecma,
    "jvm": _jvm,
    "go": _go,
    "rust": _rust,
    "c": _c,
    "csharp": _csharp,
    "php": _php,
}
