"""The fill-in-the-middle formats of the model families, as one table.

A template says in which order prefix and suffix come, which control tokens stand between them, and how pieces of
other files are introduced. Control tokens are named by spelling and looked up in the loaded vocabulary, never assumed;
a model whose vocabulary lacks them gets the :data:`PLAIN` template (left-to-right continuation) and a warning.

Sources: the families' model cards and repositories (DeepSeek-Coder, Qwen2.5-Coder technical report §3.2, Code Llama
§2.3, StarCoder2 §5, CodeGemma report §3, Codestral's mistral-common FIM encoding, Mellum and Seed-Coder model cards).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from coder_lsp.engine.base import Vocabulary


class Slot(enum.Enum):
    """What a layout leaves open."""

    BOS = "bos"
    """Beginning-of-sequence token, if the model's tokenizer adds one."""
    CONTEXT = "context"
    """Pieces of other files, each introduced as :attr:`Template.snippet` says."""
    PREFIX = "prefix"
    SUFFIX = "suffix"


@dataclass(frozen=True)
class Control:
    """A control token; several spellings are tried in order (vocabularies differ in how they write it)."""

    spellings: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """Literal text; ``{repository}``, ``{path}``, ``{text}`` and ``{comment}`` are filled in."""

    form: str


Piece = Slot | Control | Text


@dataclass(frozen=True)
class Template:
    """One family's format. The middle, what was typed since the anchor first, is appended after ``layout``."""

    name: str
    layout: tuple[Piece, ...]
    repository: tuple[Piece, ...] = ()
    """Once, before the first snippet."""
    snippet: tuple[Piece, ...] = ()
    """Once a snippet."""
    current: tuple[Piece, ...] = ()
    """Introduces the file being edited, only when snippets are there."""
    stops: tuple[Control, ...] = ()
    """Control tokens that end a middle, besides those of the layout and those the model file declares."""
    architectures: tuple[str, ...] = ()
    """GGUF architectures of the family; tells families apart that spell their tokens alike."""


def _c(*spellings: str) -> Control:
    return Control(spellings)


# DeepSeek's and Granite's repository-level data has no tokens of its own: files follow each other inside the prefix,
# dependencies first, each headed by a comment with its path (DeepSeek-Coder, arXiv 2401.14196, §2.2).
_COMMENTED = (Text("{comment} {path}\n{text}\n"),)
_COMMENTED_CURRENT = (Text("{comment} {path}\n"),)


def _psm(prefix: Control, suffix: Control, middle: Control, *, files_inside: bool = False) -> tuple[Piece, ...]:
    """Prefix, suffix, middle. ``files_inside``: other files are part of the prefix, having no tokens of their own."""
    opening: tuple[Piece, ...] = (prefix, Slot.CONTEXT) if files_inside else (Slot.CONTEXT, prefix)
    return (Slot.BOS, *opening, Slot.PREFIX, suffix, Slot.SUFFIX, middle)


def _spm(suffix: Control, prefix: Control, middle: Control, *, files_inside: bool = False) -> tuple[Piece, ...]:
    """Suffix, prefix, middle."""
    if files_inside:
        return (Slot.BOS, suffix, Slot.SUFFIX, prefix, Slot.CONTEXT, Slot.PREFIX, middle)
    return (Slot.BOS, Slot.CONTEXT, suffix, Slot.SUFFIX, prefix, Slot.PREFIX, middle)


_STARCODER = (_c("<fim_prefix>"), _c("<fim_suffix>"), _c("<fim_middle>"))
_QWEN = (_c("<|fim_prefix|>"), _c("<|fim_suffix|>"), _c("<|fim_middle|>"))

TEMPLATES: tuple[Template, ...] = (
    Template(
        "qwen",
        layout=_psm(*_QWEN),
        repository=(_c("<|repo_name|>"), Text("{repository}\n")),
        snippet=(_c("<|file_sep|>"), Text("{path}\n{text}\n")),
        current=(_c("<|file_sep|>"), Text("{path}\n")),
        stops=(
            _c("<|endoftext|>"),
            _c("<|im_start|>"),
            _c("<|im_end|>"),
            _c("<|fim_pad|>"),
            _c("<|repo_name|>"),
            _c("<|file_sep|>"),
        ),
        architectures=("qwen2", "qwen2moe", "qwen3", "qwen3moe"),
    ),
    Template(
        "deepseek",
        layout=_psm(_c("<｜fim▁begin｜>"), _c("<｜fim▁hole｜>"), _c("<｜fim▁end｜>"), files_inside=True),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("<｜end▁of▁sentence｜>"), _c("<|EOT|>")),
        architectures=("llama", "deepseek2"),
    ),
    Template(
        "codellama",
        # "<PRE> P <SUF>S <MID>": the spaces belong to the tokens and to the prefix's SentencePiece dummy space.
        layout=(
            Slot.BOS,
            _c("▁<PRE>", "<PRE>"),
            Text(" "),
            Slot.CONTEXT,
            Slot.PREFIX,
            _c("▁<SUF>", "<SUF>"),
            Slot.SUFFIX,
            _c("▁<MID>", "<MID>"),
        ),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("▁<EOT>", "<EOT>"),),
        architectures=("llama",),
    ),
    Template(
        "mellum",
        layout=_spm(_c("<fim_suffix>"), _c("<fim_prefix>"), _c("<fim_middle>")),
        snippet=(_c("<filename>"), Text("{path}\n{text}\n")),
        current=(_c("<filename>"), Text("{path}\n")),
        stops=(_c("<filename>"), _c("<|endoftext|>")),
        architectures=("llama",),
    ),
    Template(
        "starcoder2",
        layout=_psm(*_STARCODER),
        repository=(_c("<repo_name>"), Text("{repository}")),
        snippet=(_c("<file_sep>"), Text("{path}\n{text}\n")),
        current=(_c("<file_sep>"), Text("{path}\n")),
        stops=(_c("<|endoftext|>"), _c("<file_sep>"), _c("<repo_name>")),
        architectures=("starcoder2",),
    ),
    Template(
        "granite",
        layout=_psm(*_STARCODER, files_inside=True),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("<|endoftext|>"),),
        architectures=("llama", "granite", "gptbigcode", "starcoder"),
    ),
    Template(
        "starcoder",
        layout=_psm(*_STARCODER, files_inside=True),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("<|endoftext|>"), _c("<file_sep>"), _c("<filename>")),
        architectures=("starcoder", "gptbigcode", "stablelm", "refact"),
    ),
    Template(
        "santacoder",
        layout=_psm(_c("<fim-prefix>"), _c("<fim-suffix>"), _c("<fim-middle>"), files_inside=True),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("<|endoftext|>"),),
        architectures=("gptbigcode", "starcoder"),
    ),
    Template(
        "codegemma",
        layout=_psm(*_QWEN),
        snippet=(Text("{path}\n{text}\n"), _c("<|file_separator|>")),
        current=(Text("{path}\n"),),
        stops=(_c("<|file_separator|>"), _c("<eos>"), _c("<end_of_turn>")),
        architectures=("gemma", "gemma2", "gemma3"),
    ),
    Template(
        "codestral",
        # Suffix first and no middle token: the prefix simply goes on.
        layout=(Slot.BOS, _c("[SUFFIX]"), Slot.SUFFIX, _c("[PREFIX]"), Slot.CONTEXT, Slot.PREFIX),
        snippet=(Text("+++++ {path}\n{text}\n\n"),),
        current=(Text("+++++ {path}\n"),),
        stops=(_c("</s>"), _c("[MIDDLE]")),
        architectures=("llama", "mistral", "mamba"),
    ),
    Template(
        "seed",
        layout=_spm(_c("<[fim-suffix]>"), _c("<[fim-prefix]>"), _c("<[fim-middle]>"), files_inside=True),
        snippet=_COMMENTED,
        current=_COMMENTED_CURRENT,
        stops=(_c("<[end▁of▁sentence]>"),),
        architectures=("llama",),
    ),
)

_MARKS = [_c(f"<infill:{name}>") for name in ("file", "prefix", "suffix", "middle")]

INFILL = Template(
    "infill",
    layout=(Slot.BOS, Slot.CONTEXT, _MARKS[1], Slot.PREFIX, _MARKS[2], Slot.SUFFIX, _MARKS[3]),
    snippet=(_MARKS[0], Text("{path}\n{text}\n")),
)
"""For servers that write the prompt themselves: no model's format, but marks that say which piece is what. Never
evaluated (``engine.remote_dialects``).
"""

PLAIN = Template(
    "none",
    layout=(Slot.BOS, Slot.CONTEXT, Slot.PREFIX),
    snippet=_COMMENTED,
    current=_COMMENTED_CURRENT,
    stops=(_c("<|endoftext|>"), _c("<|im_end|>")),
)
"""For models that were not trained to fill in the middle: the suffix is not shown to them."""


@dataclass(frozen=True)
class BoundTemplate:
    """A template with its control tokens looked up in one vocabulary.

    ``ids`` maps each :class:`Control` that the vocabulary has to its token. ``warning`` is for the user, empty if all
    is well.
    """

    template: Template
    ids: dict[Control, int]
    stop_tokens: frozenset[int]
    warning: str = ""

    @property
    def fills_middle(self) -> bool:
        return Slot.SUFFIX in self.template.layout

    @property
    def takes_snippets_as_files(self) -> bool:
        """Whether the tokens that introduce other files exist; without them snippets are left out."""
        pieces = self.template.repository + self.template.snippet + self.template.current
        return all(piece in self.ids for piece in pieces if isinstance(piece, Control))


def bind(vocabulary: Vocabulary, name: str | None, architecture: str = "") -> BoundTemplate:
    """The template ``name`` (None: found out from the vocabulary), bound; :data:`PLAIN` where tokens are missing."""
    if name in {PLAIN.name, INFILL.name}:
        return _bound(vocabulary, PLAIN if name == PLAIN.name else INFILL)
    if name is not None:
        template = by_name(name)
        if template is None:
            known = ", ".join(t.name for t in TEMPLATES)
            return _bound(vocabulary, PLAIN, warning=f"unknown FIM template {name!r} (known: {known}, none)")
        if missing := _missing(vocabulary, template):
            return _bound(
                vocabulary,
                PLAIN,
                warning=f"the model has no {missing} token, which the {name} template needs; "
                "text after the cursor is not used",
            )
        return _bound(vocabulary, template)
    fitting = [t for t in TEMPLATES if not _missing(vocabulary, t)]
    # Families that spell their tokens alike are told apart by the repository-level tokens, then by architecture.
    fitting.sort(key=lambda t: (architecture not in t.architectures, not _bound(vocabulary, t).takes_snippets_as_files))
    if fitting:
        return _bound(vocabulary, fitting[0])
    return _bound(
        vocabulary,
        PLAIN,
        warning="the model has no fill-in-the-middle tokens; it continues left to right and does not see "
        "the text after the cursor",
    )


def by_name(name: str) -> Template | None:
    """The template of that name, or None."""
    return next((t for t in TEMPLATES if t.name == name), PLAIN if name == PLAIN.name else None)


_NAMES = (
    ("mellum", "mellum"),
    ("codestral", "codestral"),
    ("codegemma", "codegemma"),
    ("deepseek", "deepseek"),
    ("codellama", "codellama"),
    ("code-llama", "codellama"),
    ("santacoder", "santacoder"),
    ("starcoder2", "starcoder2"),
    ("starcoder", "starcoder"),
    ("granite", "granite"),
    ("seed-coder", "seed"),
    ("stable-code", "starcoder"),
    ("refact", "starcoder"),
    ("qwen", "qwen"),
)


def by_model_name(name: str) -> Template | None:
    """The template of a model that is known by its name alone, as a server's are; None if the name tells nothing."""
    lowered = name.lower().replace("_", "-")
    return next((by_name(template) for part, template in _NAMES if part in lowered), None)


def spellings(template: Template | None = None) -> list[str]:
    """Of the control tokens of a template; None: of all of them."""
    chosen = [template] if template is not None else [*TEMPLATES, PLAIN]
    pieces = [piece for t in chosen for piece in (*t.layout, *t.repository, *t.snippet, *t.current, *t.stops)]
    return list(dict.fromkeys(each for piece in pieces if isinstance(piece, Control) for each in piece.spellings))


def fits(spellings: Collection[str]) -> bool:
    """Whether some format can be written with control tokens of these spellings alone."""
    there = set(spellings)
    return any(all(there & set(piece.spellings) for piece in t.layout if isinstance(piece, Control)) for t in TEMPLATES)


def _missing(vocabulary: Vocabulary, template: Template) -> str:
    for piece in template.layout:
        if isinstance(piece, Control) and _lookup(vocabulary, piece) is None:
            return piece.spellings[0]
    return ""


def _lookup(vocabulary: Vocabulary, control: Control) -> int | None:
    for spelling in control.spellings:
        token = vocabulary.special(spelling)
        if token is not None:
            return token
    return None


def _bound(vocabulary: Vocabulary, template: Template, warning: str = "") -> BoundTemplate:
    pieces = template.layout + template.repository + template.snippet + template.current + template.stops
    ids = {
        piece: token
        for piece in pieces
        if isinstance(piece, Control) and (token := _lookup(vocabulary, piece)) is not None
    }
    # Every control token of the format ends a middle: a model that writes one has left the gap.
    return BoundTemplate(template, ids, frozenset(ids.values()) | vocabulary.end_tokens, warning)
