"""Which paths of a root its owner does not want looked at: ``.gitignore`` and its relatives.

From weak to strong: the user's global git excludes, ``.git/info/exclude``, ``.gitignore``, ``.ignore``, our own
``.coderlspignore``, and the patterns of the settings. Within one kind the nearer folder wins, within one file the
later line, as git has it. A repository inside another one starts its git rules anew. The library turns patterns into
regular expressions; asking them entry by entry, folder after folder, is done here, because git decides each level on
its own: what re-includes a folder says nothing about the files in it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.workspace.git_config import exclude_file, global_excludes
from coder_lsp.workspace.source import RawFile, read_raw

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

IGNORE_FILES = (".coderlspignore", ".ignore", ".gitignore")
"""Names of ignore files, the strongest first."""
MAX_RULES_BYTES = 1_000_000
"""A larger file is not one of rules; the largest in use have some thousand lines."""
MAX_LINE_CHARACTERS = 4096
"""As long as a path can be."""

_SETTINGS, _OWN, _PLAIN, _GIT, _REPOSITORY, _GLOBAL = range(6)
_KINDS = dict(zip(IGNORE_FILES, (_OWN, _PLAIN, _GIT), strict=True))
# How the library marks "a folder of this name, or anything below it" in its expressions.
_FOLDER_GROUP = "ps_d"
_FOLDER_MARK = f"(?P<{_FOLDER_GROUP}>/)"
# How one that may be at any depth begins.
_ANYWHERE = "^(?:.+/)?"


@dataclass(frozen=True)
class FolderRules:
    """What holds for the entries of one folder: patterns, the strongest first."""

    patterns: tuple[_Anchored, ...]

    def ignore(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry of this folder, named from the root, is left out. Says nothing of the folders above it."""
        if not self.patterns:
            return False
        entry = path + "/" if is_folder else path
        for anchored in self.patterns:
            verdict = anchored.patterns.decide(anchored.lead + entry[anchored.cut :])
            if verdict is not None:
                return verdict
        return False


NO_RULES = FolderRules(())


def top_rules(root: Path, exclude: Iterable[str] = ()) -> FolderRules:
    """The rules in the root itself: settings, global, the repository's, and ignore files of it and of folders above.

    A root may lie deep in a repository. Rules from above that ignore the root itself do not count: the user opened it.
    """
    found = [_Anchored(_SETTINGS, 0, "", Patterns(exclude))]
    above = _folders_up_to_repository(root)
    for folder in above:  # nearest first
        lead = "" if folder == root else root.relative_to(folder).as_posix() + "/"
        found += [_Anchored(_KINDS[name], 0, lead, _read(folder / name)) for name in IGNORE_FILES]
    top = above[-1]
    lead = "" if top == root else root.relative_to(top).as_posix() + "/"
    found.append(_Anchored(_REPOSITORY, 0, lead, _read(exclude_file(top))))
    found.append(_Anchored(_GLOBAL, 0, lead, _read(global_excludes(top))))
    return _ranked(found)


def rules_below(above: FolderRules, root: Path, path: str, names: Collection[str]) -> FolderRules:
    """The rules in a sub-folder, named from the root, which holds entries of these names."""
    present = [name for name in IGNORE_FILES if name in names]
    inherited = above.patterns
    cut = len(path) + 1
    if ".git" in names:  # a repository of its own, or a submodule
        again = [_Anchored(kind.rank, cut, "", kind.patterns) for kind in inherited if kind.rank == _GLOBAL]
        own = _Anchored(_REPOSITORY, cut, "", _read(exclude_file(root / path)))
        inherited = (*(kind for kind in inherited if kind.rank < _GIT), own, *again)
    elif not present:
        return above
    return _ranked([*(_Anchored(_KINDS[name], cut, "", _read(root / path / name)) for name in present), *inherited])


class Patterns:
    """The lines of one ignore file. Those that cannot be understood are passed over, as git does."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = tuple(reversed([pattern for line in lines for pattern in _compile(line)]))
        # Two searches that find out that nothing matches, which is so for nearly every file.
        self._any_name = _union([one.source for one in self._patterns if one.of_name])
        self._any_path = _union([one.source for one in self._patterns if not one.of_name])

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def decide(self, path: str) -> bool | None:
        """True: ignored. False: asked for (``!``). None: not mentioned. Of a folder, ``path`` ends with a slash."""
        name = path[path.rfind("/", 0, -1) + 1 :]
        if not (self._any_name and self._any_name.search(name)) and not (
            self._any_path and self._any_path.search(path)
        ):
            return None
        for pattern in self._patterns:  # the last line first
            whole = name if pattern.of_name else path
            match = pattern.regex.search(whole)
            # A match that ends before the path does means a folder above, which was decided on before.
            if match and not 0 <= _folder_end(match) < len(whole):
                return pattern.include
        return None


@dataclass(frozen=True)
class _Pattern:
    """One line."""

    regex: re.Pattern[str]
    include: bool
    """False after an exclamation mark."""
    of_name: bool
    """No slash but at its end: it concerns names, wherever they are."""

    @property
    def source(self) -> str:
        """The expression without groups of a name, so that it can be one of many."""
        source = self.regex.pattern.replace(_FOLDER_MARK, "/")
        return "^" + source.removeprefix(_ANYWHERE) if self.of_name and source.startswith(_ANYWHERE) else source


@dataclass(frozen=True)
class _Anchored:
    """Patterns of one file and where they are anchored: ``cut`` characters off the path, or ``lead`` before it."""

    rank: int
    cut: int
    lead: str
    patterns: Patterns


def _ranked(found: list[_Anchored]) -> FolderRules:
    """By kind; what stood first stays first within a kind."""
    return FolderRules(tuple(sorted((one for one in found if one.patterns), key=lambda one: one.rank)))


def _compile(line: str) -> list[_Pattern]:
    if not line or line.isspace() or line.startswith("#"):
        return []
    from pathspec import GitIgnoreSpec  # late: it costs a tenth of the front's start

    try:
        patterns = GitIgnoreSpec.from_lines([line]).patterns
    except ValueError:
        return []
    of_name = "/" not in line.strip().removeprefix("!").rstrip("/")
    return [
        _Pattern(pattern.regex, pattern.include, of_name)
        for pattern in patterns
        if pattern.regex is not None and pattern.include is not None
    ]


def _union(sources: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(sources)) if sources else None


def _folder_end(match: re.Match[str]) -> int:
    """Where the folder that the match means ends, -1 if the match is not of a folder."""
    return match.end(_FOLDER_GROUP) if _FOLDER_GROUP in match.re.groupindex else -1


def _read(path: Path | None) -> Patterns:
    # A link is followed: people keep their global excludes in a repository of settings.
    raw = read_raw(path, MAX_RULES_BYTES, follow=True) if path else None
    if not isinstance(raw, RawFile):
        return Patterns(())
    # Names on disk come out of Python with surrogates where they are not UTF-8; patterns meet them the same way.
    text = raw.data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return Patterns(line for line in text.split("\n") if len(line) <= MAX_LINE_CHARACTERS)


def _folders_up_to_repository(root: Path) -> list[Path]:
    """The root and the folders above it up to the repository it lies in; the root alone outside of one."""
    above = [root, *root.parents]
    for count, folder in enumerate(above, 1):
        if os.path.lexists(folder / ".git"):
            return above[:count]
    return [root]
