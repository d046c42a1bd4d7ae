"""How near a completion comes to what was written: exact match, edit similarity, identifiers; and where it ends.

The definitions are CrossCodeEval's (Ding et al. 2023, arXiv 2310.11248, §4.1, and its scripts), which RepoEval and most
later work share: texts are compared by their stripped non-empty lines, by the ratio of an edit distance, and by the set
of identifiers in them. Nothing here reads files or knows a benchmark.
"""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, Language, by_id
from coder_lsp.retrieval.place import KEYWORDS
from coder_lsp.syntax.tree import parse

if TYPE_CHECKING:
    from tree_sitter import Node

_STRING = re.compile(r'"([^"\\]*(\\.[^"\\]*)*)"|\'([^\'\\]*(\\.[^\'\\]*)*)\'')
_WORD = re.compile(r"\w+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARSE_MS = 2_000.0
"""For one parse: a measurement may wait, an editor may not."""
_ENDS_STATEMENT = re.compile(r"[;{}]")
_WITH_SEMICOLONS = frozenset(
    (
        *("c", "cpp", "csharp", "dart", "java", "javascript", "javascriptreact", "objective-c", "php", "rust"),
        *("typescript", "typescriptreact", "zig"),
    )
)
"""Languages whose simple statements end with a semicolon, by our ids."""

_C_LIKE = """
    break case char const continue default do double else enum extern float for goto if int long register return short
    signed sizeof static struct switch typedef union unsigned void volatile while
"""
_ECMA = """
    abstract any as async await boolean break case catch class const continue debugger declare default delete do else
    enum export extends false finally for function if implements import in instanceof interface is let namespace never
    new null number private protected public readonly return static string super switch this throw true try type typeof
    undefined unknown var void while with yield
"""
_WORDS = {
    "c": _C_LIKE + "inline restrict",
    "cpp": _C_LIKE
    + """
    alignas alignof auto bool catch class concept constexpr const_cast decltype delete dynamic_cast explicit false final
    friend inline mutable namespace new noexcept nullptr operator override private protected public reinterpret_cast
    requires static_assert static_cast template this thread_local throw true try typeid typename using virtual""",
    "csharp": """
    abstract as async await base bool break byte case catch char checked class const continue decimal default delegate
    do double else enum event explicit extern false finally fixed float for foreach get goto if implicit in int
    interface internal is lock long namespace new null object operator out override params partial private protected
    public readonly record ref return sbyte sealed set short sizeof stackalloc static string struct switch this throw
    true try typeof uint ulong unchecked unsafe ushort using var virtual void volatile when where while yield""",
    "go": """
    break case chan const continue default defer else fallthrough for func go goto if import interface map package
    range return select struct switch type var true false nil iota""",
    "java": """
    abstract assert boolean break byte case catch char class const continue default do double else enum extends final
    finally float for goto if implements import instanceof int interface long native new null package private protected
    public record return short static strictfp super switch synchronized this throw throws transient true false try var
    void volatile while""",
    "rust": """
    as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut
    pub ref return self Self static struct super trait true type unsafe use where while""",
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), _ECMA),
}
_KEYWORDS = {
    "python": frozenset(keyword.kwlist),
    **{language: frozenset(words.split()) for language, words in _WORDS.items()},
}


def stripped_lines(text: str) -> list[str]:
    """The lines that say something, without the white space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def exact(prediction: str, truth: str) -> bool:
    """Whether both have the same lines; blank ones and indentation do not count."""
    return stripped_lines(prediction) == stripped_lines(truth)


def edit_similarity(prediction: str, truth: str) -> float | None:
    """1.0 for equal texts, 0.0 for such that share nothing; None where rapidfuzz is not installed.

    With d insertions and deletions between texts of m and n characters, 1 - d / (m + n): ``ab`` and ``abcd`` have 2/3.
    """
    try:
        from rapidfuzz.fuzz import ratio  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return round(float(ratio(prediction.strip(), truth.strip())) / 100, 4)


def identifiers(text: str, language_id: str) -> set[str]:
    """Names in a text: words outside of strings that are no keywords of its language."""
    keywords = _KEYWORDS.get(by_id(language_id).id, KEYWORDS)
    words = _WORD.findall(_STRING.sub("", text))
    return {word for word in words if _IDENTIFIER.fullmatch(word) and word not in keywords}


def identifier_f1(prediction: str, truth: str, language_id: str) -> float:
    """Harmonic mean of precision and recall over the sets of identifiers.

    1.0 where neither has any (a lone bracket), which the paper's script counts as 0; its own truths all have some.
    """
    found, wanted = identifiers(prediction, language_id), identifiers(truth, language_id)
    if not found and not wanted:
        return 1.0
    return round(2 * len(found & wanted) / (len(found) + len(wanted)), 4)


def first_statement(text: str, prefix: str, language_id: str) -> str:
    """What a model wrote behind ``prefix``, cut to one statement as CrossCodeEval's scripts do.

    Where indentation makes blocks and there is a grammar: up to the first line end at which prefix and text parse
    without an error; all of it where that never is. Where statements end with a semicolon: up to the first of ``;``,
    ``{`` and ``}``. Else up to the end of the first line that says something.
    """
    language = by_id(language_id)
    if language.id in _WITH_SEMICOLONS:
        found = _ENDS_STATEMENT.search(text)
        return text[: found.end()] if found else text
    if language.style is BlockStyle.INDENT and language.grammar is not None:
        return _parsed(text, prefix, language)
    end = text.find("\n", len(text) - len(text.lstrip()))
    return text if end < 0 else text[:end]


def _parsed(text: str, prefix: str, language: Language) -> str:
    end = text.find("\n", 1)
    while end >= 0:
        if _is_valid(prefix + text[:end], language):
            return text[:end].rstrip()
        end = text.find("\n", end + 1)
    return text


def _is_valid(code: str, language: Language) -> bool:
    tree = parse(language, code, limit_ms=_PARSE_MS)
    return tree is not None and not _has_error_node(tree.tree.root_node)


def _has_error_node(root: Node) -> bool:
    """As the scripts look: a token that the parser only missed is no error to them."""
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.type == "ERROR":
            return True
        if node.has_error:
            nodes.extend(node.children)
    return False
