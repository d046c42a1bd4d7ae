"""May this place be completed at all? The first step of every request, and the last word on privacy.

Answers with an empty string, or the reason why not. What looks like a secret by its name is never completed and its
text never reaches a model, whatever the settings say. Reads no file and knows no content beyond its size.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from coder_lsp.languages import by_id
from coder_lsp.workspace.secrets import is_secret

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from coder_lsp.config import Config
    from coder_lsp.types import CompletionRequest

logger = logging.getLogger(__name__)

MAX_FILE_CHARACTERS = 5_000_000
MAX_LINE_CHARACTERS = 10_000
"""A longer line is minified or data; completing it helps nobody and costs a prompt."""


@dataclass
class Gate:
    """Settings and what the user paused for now. Not shared between threads: the front has one event loop."""

    config: Config

    def __post_init__(self) -> None:
        self._paused_everywhere = False
        self._paused_languages: set[str] = set()
        self._paused_files: set[str] = set()
        self.configure(self.config)

    def configure(self, config: Config) -> None:
        """Go by new settings; pauses stay."""
        self.config = config
        self._disabled = frozenset(_canonical(language) for language in config.completion.disabled_languages)
        self._excluded = _patterns(config.completion.exclude)

    def pause(self, *, language: str = "", uri: str = "") -> None:
        """No suggestions until :meth:`resume`: in a language, in a file, or (without arguments) at all."""
        if uri:
            self._paused_files.add(uri)
        if language:
            self._paused_languages.add(_canonical(language))
        if not uri and not language:
            self._paused_everywhere = True

    def resume(self, *, language: str = "", uri: str = "") -> None:
        """End the pause of the same arguments; without arguments, end all pauses."""
        if not uri and not language:
            self._paused_everywhere = False
            self._paused_languages.clear()
            self._paused_files.clear()
        self._paused_files.discard(uri)
        self._paused_languages.discard(_canonical(language))

    @property
    def paused(self) -> bool:
        """Whether everything is paused."""
        return self._paused_everywhere

    def check(self, request: CompletionRequest) -> str:
        """Empty: go on. Else why this place is not completed."""
        language = _canonical(request.language)
        path = request.path or _path_of(request.uri)
        if not self.config.completion.enabled:
            return "disabled"
        if self._paused_everywhere:
            return "paused"
        if language in self._paused_languages:
            return f"paused for {language}"
        if request.uri in self._paused_files:
            return "paused for this file"
        if language in self._disabled:
            return f"disabled for {language}"
        if is_secret(path):
            return "looks like a secret"
        if self._excluded is not None and self._excluded.match_file(_relative(path, request.root)):
            return "excluded"
        if len(request.text) > MAX_FILE_CHARACTERS:
            return "file too large"
        if _line_length(request.text, request.cursor) > MAX_LINE_CHARACTERS:
            return "line too long"
        return ""


def _patterns(lines: tuple[str, ...]) -> GitIgnoreSpec | None:
    """The patterns that can be understood (git, too, passes over the others); None if there are none."""
    if not lines:
        # The library costs a tenth of the front's start, and most users exclude nothing.
        return None
    from pathspec import GitIgnoreSpec

    def understood(line: str) -> bool:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            logger.warning("completion.exclude: not a gitignore pattern, passed over: %s", line)
            return False
        return True

    return GitIgnoreSpec.from_lines(filter(understood, lines))


def _canonical(language: str) -> str:
    """One name for all spellings of a language; an unknown name stands for itself."""
    lowered = language.strip().lower()
    known = by_id(lowered)
    return known.id if lowered in known.ids else lowered


def _path_of(uri: str) -> str:
    try:
        return unquote(urlsplit(uri).path) if ":" in uri else uri
    except ValueError:
        # Half an IPv6 address. Its last part is a name all the same, and may be that of a secret.
        return uri


def _relative(path: str, root: str) -> str:
    """The path below the root, as gitignore patterns want it."""
    path, root = path.replace("\\", "/"), root.replace("\\", "/").rstrip("/")
    if root and path.startswith(root + "/"):
        path = path[len(root) + 1 :]
    return path.removeprefix("./").lstrip("/")


def _line_length(text: str, cursor: int) -> int:
    end = text.find("\n", cursor)
    return (len(text) if end < 0 else end) - (text.rfind("\n", 0, cursor) + 1)
