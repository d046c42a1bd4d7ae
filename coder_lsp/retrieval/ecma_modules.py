"""Where a module specifier of ECMAScript leads: relative paths, tsconfig paths, packages of the workspace.

Extensions and index files are tried as Node and TypeScript try them, sources before what is made from them.
"""

from __future__ import annotations

from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.retrieval.catalogue import Catalogue

_EXTENSIONS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".vue", ".svelte", ".json")
_MOST_EXTENDS = 5
"""tsconfig files that extend each other."""


def find_module(path: str, module: str, catalogue: Catalogue) -> str | None:
    """The file that ``module`` means in the file ``path``, None if it is outside of the workspace."""
    if module.startswith("."):
        return _file(normpath(join(dirname(path), module)), catalogue)
    for base, paths in _ts_options(path, catalogue):
        for pattern, targets in paths:
            head, star, tail = pattern.partition("*")
            if not (module.startswith(head) and module.endswith(tail)) if star else module != pattern:
                continue
            inner = module[len(head) : len(module) - len(tail)] if star else ""
            for target in targets:
                found = _file(target.replace("*", inner, 1), catalogue)
                if found is not None:
                    return found
        if base is not None:
            found = _file(join(base, module), catalogue)
            if found is not None:
                return found
    found = _node_package(module, catalogue)
    if found is None and module.startswith(("@/", "~/", "src/", "/")):
        # What bundlers are mostly told: from the source folder of the project.
        inner = module.partition("/")[2]
        for folder in catalogue.above(path):
            found = _file(join(folder, "src", inner), catalogue) or _file(join(folder, inner), catalogue)
            if found is not None:
                return found
    return found


def _file(path: str, catalogue: Catalogue) -> str | None:
    path = path.removeprefix("./")
    if path in catalogue:
        return path
    stem, _, extension = path.rpartition(".")
    if extension in {"js", "jsx", "mjs", "cjs"} and stem:  # what TypeScript writes for a file that is compiled
        for other in (".ts", ".tsx", ".mts", ".cts", ".d.ts"):
            if stem + other in catalogue:
                return stem + other
    for start in (path, f"{path}/index" if path not in {"", "."} else "index"):
        for other in _EXTENSIONS:
            if start + other in catalogue:
                return start + other
    return None


def _ts_options(
    path: str, catalogue: Catalogue
) -> Iterator[tuple[str | None, tuple[tuple[str, tuple[str, ...]], ...]]]:
    """Of the nearest tsconfig.json or jsconfig.json, then of what it extends."""
    if not catalogue.ts_configs:
        return
    for folder in catalogue.above(path):
        for name in ("tsconfig.json", "jsconfig.json"):
            config = join(folder, name)
            known = catalogue.ts_configs.get(config)
            if known is None:
                continue
            for _ in range(_MOST_EXTENDS):
                if known is None:
                    break
                yield known.base, known.paths
                known = catalogue.ts_configs.get(known.extends)
            return


def _node_package(module: str, catalogue: Catalogue) -> str | None:
    """A package of the same workspace: ``@acme/shop/cart`` is ``cart`` in the folder that is called so."""
    parts = module.split("/")
    name = "/".join(parts[: 2 if module.startswith("@") else 1])
    known = catalogue.node_packages.get(name)
    if known is None:
        return None
    folder, entries = known
    inner = module[len(name) + 1 :]
    if inner:
        starts = [join(folder, inner), join(folder, "src", inner)]
    else:
        starts = [normpath(join(folder, entry)) for entry in entries]
        starts += [
            join(folder, "src", "index"),
            join(folder, "index"),
            join(folder, "src", "main"),
            join(folder, "lib"),
        ]
    return next((found for start in starts if (found := _file(start, catalogue))), None)
