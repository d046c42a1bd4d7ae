"""Definitions by the look of single lines, for what no tree explains: no grammar, half-typed code, huge files.

A definition ends where a line is indented no deeper than its head. Rough by nature, linear in the text by construction:
each pattern sees one line at a time, cut at 300 characters.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from coder_lsp.languages import BlockStyle, Language
from coder_lsp.syntax import heads
from coder_lsp.syntax.declared import Definition

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_CHARACTERS = 1_000_000
"""Of a larger text only the beginning is looked at."""
_MAX_LINE = 300
_MAX_BODY_LINES = 400
_CLASSES = {"class", "interface", "enum", "module"}

_INDENT = r"^(?P<indent>[ \t]{0,60})"
_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([\w ]{1,20}\))?|unsafe"
    r"|extern|virtual|override|inline|open|sealed|data|local|declare|partial|case|const|noncomputable|pure|recursive"
    r"|global)[ \t]+){0,6}"
)
_NAME = r"(?P<name>[A-Za-z_$\u0080-\U0010ffff][\w$]*(?:[.:]{1,2}[A-Za-z_]\w*){0,5}[?!']?)"
_WORDS = {
    "function": "def|defp|defn|defun|fun|func|function|fn|sub|proc|procedure|subroutine|method|theorem|lemma|rule|task"
    "|pred|rpc",
    "class": "class|struct|record|structure|union|contract|sig|message|entity|datatype|inductive|impl|instance|object",
    "interface": "interface|trait|protocol|signature|service|typeclass|library",
    "enum": "enum",
    "module": "module|namespace|package|defmodule",
    "type": "type|typedef|newtype|alias|domain",
    "macro": "macro|defmacro",
}
_KEYWORDS = frozenset("|".join(_WORDS.values()).split("|")) | {"if", "for", "while", "switch", "return", "catch"}
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split("|")}
_WORD = re.compile(_INDENT + _MODIFIERS + rf"(?P<word>{'|'.join(_KIND_OF)})\*?[ \t]+" + _NAME)
"""All words at once: one pattern after the other took four times as long."""
_C_FUNCTION = re.compile(
    _INDENT + r"(?!(?:return|else|if|while|for|switch|new|throw|case|await|delete|goto|using|typedef|yield|do|in)\b)"
    r"(?:[\w:<>,\[\]~.]{1,80}[ \t*&]{1,8}){1,6}" + _NAME + r"[ \t]?\((?!.*;[ \t]*$)"
)
_TERRAFORM = (
    r"^(?P<indent>)(?:resource[ \t]+\"\w+\"|module|variable|output|data[ \t]+\"\w+\")[ \t]+\"(?P<name>[\w-]+)\""
)
_MORE = {
    "antlr": [(r"^(?P<indent>)(?:fragment[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*(?::|$)", "function")],
    "applescript": [(_INDENT + r"(?:on|to)[ \t]+" + _NAME, "function")],
    "asm": [(r"^(?P<indent>)(?P<name>[A-Za-z_][\w.$]*):", "function")],
    "augeas": [(_INDENT + r"let[ \t]+(?:rec[ \t]+)?" + _NAME, "function")],
    "bat": [(r"^(?P<indent>)(?P<name>:[A-Za-z_]\w*)", "function")],
    "coffeescript": [(_INDENT + _NAME + r"[ \t]*[:=][ \t]*(?:\([^()]*\))?[ \t]*[-=]>", "function")],
    "idris": [(r"^(?P<indent>)(?P<name>[a-z_]\w*'?)[ \t]+:[ \t]", "function")],
    "haskell": [(r"^(?P<indent>)(?P<name>[a-z_]\w*'?)[ \t]+::[ \t]", "function")],
    "elm": [(r"^(?P<indent>)(?P<name>[a-z_]\w*'?)[ \t]+:[ \t]", "function")],
    "makefile": [(r"^(?P<indent>)(?P<name>[A-Za-z_][\w.-]*)[ \t]*:(?!=)", "function")],
    "maple": [(_INDENT + _NAME + r"[ \t]*:=[ \t]*proc\b", "function")],
    "mathematica": [(r"^(?P<indent>)(?P<name>[A-Za-z$]\w*)\[[^\]]*\][ \t]*:?=", "function")],
    "prolog": [(r"^(?P<indent>)(?P<name>[a-z]\w*)\(.*(?::-|\.)[ \t]*$", "function")],
    "r": [(_INDENT + r"(?P<name>[A-Za-z.][\w.]*)[ \t]*(?:<-|=)[ \t]*function\b", "function")],
    "sas": [(r"(?i)" + _INDENT + r"%macro[ \t]+" + _NAME, "macro")],
    "sml": [(_INDENT + r"val[ \t]+" + _NAME, "constant"), (_INDENT + r"functor[ \t]+" + _NAME, "module")],
    "sql": [
        (
            r"(?i)"
            + _INDENT
            + r"create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:temp(?:orary)?[ \t]+)?(?:table|view|function|procedure"
            r"|trigger|type)[ \t]+(?:if[ \t]+not[ \t]+exists[ \t]+)?[\"`\[]?" + _NAME,
            "class",
        )
    ],
    "stata": [(_INDENT + r"program[ \t]+(?:define[ \t]+)?" + _NAME, "function")],
    "terraform": [(_TERRAFORM, "constant")],
    "tcsh": [(_INDENT + r"alias[ \t]+" + _NAME, "function")],
    "vb": [
        (r"(?i)" + _INDENT + _MODIFIERS + r"(?:sub|function|property)[ \t]+" + _NAME, "function"),
        (r"(?i)" + _INDENT + _MODIFIERS + r"(?:class|module|structure|interface)[ \t]+" + _NAME, "class"),
    ],
    "yacc": [(r"^(?P<indent>)(?P<name>[a-z_]\w*)[ \t]*:", "function")],
}
_DATA = {"json", "jsonc", "jupyter", "yaml", "toml", "ini", "css", "scss", "xml", "dockerfile", "sparql"}


def definitions(language: Language, text: str, rows: Collection[int] | None = None) -> tuple[Definition, ...]:
    """What looks like a definition, in order; only on ``rows`` if given, though others may be their parents."""
    known = _patterns(language)
    if not known:
        return ()
    lines = text[:MAX_CHARACTERS].split("\n")
    raw = [line[:_MAX_LINE].encode("utf-8", "replace") for line in lines]
    marks = heads.marks(language.id)
    found: list[Definition] = []
    stack: list[tuple[int, str, str]] = []
    for row, line in enumerate(lines):
        cut = line[:_MAX_LINE].rstrip("\r")
        wanted = rows is None or row in rows
        for pattern, given in known:
            if not wanted and pattern is not _WORD:
                continue  # can be no parent
            match = pattern.match(cut)
            if match is None or match["name"] in _KEYWORDS:
                continue
            kind = given or _KIND_OF[match["word"]]
            depth = len(match["indent"].expandtabs(8))
            while stack and stack[-1][0] >= depth:
                stack.pop()
            local = any(one == "function" for _, _, one in stack)
            name = re.split(r"::|:|\.", match["name"])[-1] if match["name"][0] != ":" else match["name"][1:]
            parent = ".".join(path for _, path, one in stack if one in _CLASSES)
            stack.append((depth, name, kind))
            if local or not wanted:
                break
            top, doc = heads.above(raw, row, marks)
            shown = "method" if kind == "function" and parent else kind
            signature = heads.signature(cut.strip().rstrip("{").rstrip(), 0)
            found.append(Definition(name, shown, parent, top, _end(lines, row, depth), signature, doc))
            break
    return tuple(found)


@lru_cache(maxsize=256)
def _patterns(language: Language) -> tuple[tuple[re.Pattern[str], str], ...]:
    if language.style in {BlockStyle.PROSE, BlockStyle.TAG} or language.id in _DATA:
        return ()
    found = [(re.compile(text), kind) for text, kind in _MORE.get(language.id, ())]
    if language.style is BlockStyle.LIST:
        lisp = r"^(?P<indent>[ \t]{0,60})\((?P<word>def[\w-]*|define[\w-]*)[ \t]+\(?(?P<name>[^\s()\[\]]{1,80})"
        return (*found, (re.compile(lisp), "function"))
    found.append((_WORD, ""))
    if language.style is BlockStyle.BRACE:
        found.append((_C_FUNCTION, "function"))
    if language.id in {"shellscript", "awk"}:
        found.append((re.compile(_INDENT + r"(?P<name>[A-Za-z_][\w-]*)[ \t]*\(\)"), "function"))
    return tuple(found)


def _end(lines: list[str], row: int, depth: int) -> int:
    """Behind the last line indented deeper, and a line that only closes."""
    last = row
    for at in range(row + 1, min(len(lines), row + _MAX_BODY_LINES)):
        line = lines[at][:_MAX_LINE]
        stripped = line.strip()
        if not stripped:
            continue
        indent = line[: len(line) - len(line.lstrip())]
        if len(indent.expandtabs(8)) > depth:
            last = at
            continue
        if stripped == "{" or (at == row + 1 and stripped.startswith(("{", "begin"))):
            last = at
            continue
        if re.match(r"[)\]}]|end\b|End\b|fi\b|done\b|esac\b", stripped):
            last = at
        break
    return last + 1
