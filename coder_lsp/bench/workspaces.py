"""Synthetic workspaces: as many files as wanted, made of the real source on this machine.

A workspace is the source files of a few folders (by default Python's standard library and the installed packages),
copied as often as needed. From the second copy on, identifiers that few files know get another word appended, one for
each copy: what is common in code stays common and what is rare stays rare, as in code that people wrote. The same seed,
folders and count make the same files.
"""

from __future__ import annotations

import random
import re
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.languages import PLAIN, by_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LEAST_BYTES = 200
_MOST_BYTES = 200_000
_COMMON_SHARE = 0.01
"""Identifiers in more of the files than this keep their names in every copy: keywords, builtins, words of the trade."""
_IDENTIFIER = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{3,}\b")
_WORD = re.compile(r"[a-z]{4,10}")


@dataclass(frozen=True)
class SourceFile:
    """``path`` is relative to the workspace, with ``/``."""

    path: str
    text: str


def synthetic_files(count: int, seed: int, folders: Sequence[Path] = ()) -> Iterator[SourceFile]:
    """``count`` files of real source, one after the other; ``folders`` are where it is from.

    :raises InputError: there is no source in the folders.
    """
    folders = folders or default_folders()
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if _is_source(path)]
    if not paths:
        raise InputError(f"no source files under {', '.join(map(str, folders))}")
    choose = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    choose.shuffle(paths)
    copies, rest = divmod(count, len(paths))
    vocabulary = _Vocabulary.read(paths) if copies else _Vocabulary(frozenset(), ())
    for copy in range(copies + bool(rest)):
        for path in paths if copy < copies else paths[:rest]:
            text = _text(path)
            if copy:
                text = vocabulary.rename(text, f"{seed} {copy}")
            yield SourceFile(_workspace_path(path, folders, copy), text)


def write_workspace(count: int, folder: Path, seed: int, folders: Sequence[Path] = ()) -> int:
    """Write :func:`synthetic_files` under ``folder``; their size in bytes.

    :raises InputError: there is no source in the folders.
    """
    size_bytes = 0
    for file in synthetic_files(count, seed, folders):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        size_bytes += path.write_bytes(file.text.encode())
    return size_bytes


def default_folders() -> list[Path]:
    """The standard library and the installed packages of the Python that runs this; neither lies within another one."""
    known = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    return sorted(path for path in known if path.is_dir() and not known & set(path.parents))


@dataclass(frozen=True)
class _Vocabulary:
    common: frozenset[str]
    words: tuple[str, ...]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> _Vocabulary:
        files: Counter[str] = Counter()
        words: set[str] = set()
        for path in paths:
            found = set(_IDENTIFIER.findall(_text(path)))
            files.update(found)
            words.update(name for name in found if _WORD.fullmatch(name))
        most = max(1, int(len(paths) * _COMMON_SHARE))
        return cls(
            frozenset(name for name, number in files.items() if number > most), tuple(sorted(words)) or ("word",)
        )

    def rename(self, text: str, salt: str) -> str:
        names: dict[str, str] = {}

        def new(found: re.Match[str]) -> str:
            name = found[0]
            if name not in self.common and name not in names:
                choose = random.Random(f"{salt} {name}")  # noqa: S311  (the same name in all files of a copy)
                names[name] = f"{name}_{choose.choice(self.words)}"
            return names.get(name, name)

        return _IDENTIFIER.sub(new, text)


def _is_source(path: Path) -> bool:
    language = by_path(path.name)
    if language is PLAIN or not language.line_comments or not path.is_file() or path.is_symlink():
        return False
    return _LEAST_BYTES <= path.stat().st_size <= _MOST_BYTES


def _workspace_path(path: Path, folders: Sequence[Path], copy: int) -> str:
    """The first folder that holds it gives the name; numbers keep two folders of the same name apart."""
    number, folder = next((at, one) for at, one in enumerate(folders) if path.is_relative_to(one))
    # Ignore files of a workspace commonly leave out folders of these names.
    inner = path.relative_to(folder).as_posix().replace("site-packages", "packages")
    return f"copy{copy}/source{number}/{inner}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
