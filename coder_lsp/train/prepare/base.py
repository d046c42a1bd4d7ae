"""The base model as preparing data needs it: its vocabulary and its fill-in-the-middle format, never its weights.

A GGUF file's vocabulary is the native one, a hub folder's that of its ``tokenizer.json``. Whether two bases have the
same vocabulary, a digest of what they make of a text tells: data prepared by a GGUF trains its hub folder as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError, ModelUnsupported
from coder_lsp.prompt.templates import Control, bind

if TYPE_CHECKING:
    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.prompt.templates import BoundTemplate

_PROBE = (
    "def area(width: int, height_2: float = 3.14) -> str:\n\treturn f'{width * height_2}'  # größer als 日本語 🙂\n\n"
    "        public static final Map<String, List<int[]>> CACHE_entries = new HashMap<>();\r\n\n\n#include <stdio.h>\n"
    "SELECT * FROM users WHERE id != 123456789 && 0xDEADBEEF;;  //  https://example.org/a?b=c%20d\n"
)
"""A text in which vocabularies differ: blanks in runs, digits, camel case, other scripts, line ends."""


@dataclass(frozen=True)
class Base:
    """A base model. ``end`` is the token that ends documents; ``digest`` tells vocabularies apart."""

    name: str
    path: Path
    vocabulary: Vocabulary = field(repr=False)
    template: BoundTemplate = field(repr=False)
    end: int
    digest: str

    def plain(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": self.name, "template": self.template.template.name, "vocabulary_digest": self.digest}


@lru_cache(maxsize=1)
def load_base(path: Path, name: str, template: str | None = None) -> Base:
    """Half a second; remembered, for worker processes ask with every file.

    :raises ModelUnsupported: its documents could not be ended, or nothing here reads its vocabulary.
    :raises CoderLspError: the file or folder cannot be used.
    """
    vocabulary: Vocabulary
    if path.is_dir():
        from coder_lsp.engine.hub_vocabulary import HubVocabulary

        hub = HubVocabulary.load(path)
        vocabulary, architecture = hub, hub.architecture
    else:
        from coder_lsp.engine.llama import LlamaVocabulary

        native = LlamaVocabulary.load(path)
        vocabulary, architecture = native, native.architecture
    bound = bind(vocabulary, template, architecture)
    return Base(name, path, vocabulary, bound, end_of_document(vocabulary, bound), vocabulary_digest(vocabulary, bound))


def find_base(model: str) -> tuple[Path, str, str | None]:
    """(path, name, template) of what a user names: an installed model, a GGUF file, or a hub folder.

    :raises CoderLspError: it is none of these.
    """
    place = Path(model).expanduser()
    if place.is_dir():
        if not (place / "tokenizer.json").is_file():
            files = sorted(place.glob("*.gguf"))
            if len(files) == 1:
                return files[0].resolve(), files[0].stem, None
            raise InputError(
                f"{place} has no tokenizer.json", hint="name a hub folder with a fast tokenizer, or a GGUF file"
            )
        return place.resolve(), place.resolve().name, None
    from coder_lsp.models.store import resolve

    found = resolve(model)
    return found.path.resolve(), found.name, found.template


def end_of_document(vocabulary: Vocabulary, bound: BoundTemplate) -> int:
    """The token behind each document: the family's first stop that does not introduce files, else the model's own."""
    template = bound.template
    introducing = {*template.repository, *template.snippet, *template.current}
    for control in template.stops:
        if control in bound.ids and control not in introducing:
            return bound.ids[control]
    if vocabulary.end_tokens:
        return min(vocabulary.end_tokens)
    raise ModelUnsupported(
        "the model has no token that ends a text", hint="choose a base whose tokenizer declares an end-of-text token"
    )


def vocabulary_digest(vocabulary: Vocabulary, bound: BoundTemplate) -> str:
    """Of what a vocabulary makes of a text, and of the format's control tokens."""
    controls = sorted(
        (control.spellings[0], token) for control, token in bound.ids.items() if isinstance(control, Control)
    )
    said = repr((vocabulary.tokenize(_PROBE), vocabulary.bos, bound.template.name, controls))
    return hashlib.sha256(said.encode()).hexdigest()[:32]
