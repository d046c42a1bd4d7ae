"""Import statements of all languages, read by patterns: the same for the nodes of a tree and for a text without one.

Each language has a pattern that finds where a statement may start and a reader for what follows; a reader sees at most
20,000 characters and a text has at most 2,000 statements, so that the time is linear whatever the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coder_lsp.syntax.declared import Import

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_STATEMENT = 20_000
_MAX_STATEMENTS = 2_000

_Found = tuple[str, tuple[str, ...], int, tuple[tuple[str, str], ...]]
_Rule = tuple[re.Pattern[str], re.Pattern[str], "Callable[[re.Match[str]], Iterator[_Found]]"]


def imports_of(language_id: str, text: str, first_line: int = 0) -> tuple[Import, ...]:
    """The imports of a text or a statement whose first line is ``first_line``, in order."""
    rules = _RULES.get(language_id, ())
    found: list[Import] = []
    for rule in rules:
        found += _imports(rule, text, first_line)
    if len(rules) > 1:
        found.sort(key=lambda one: one.line)
    return tuple(found)


def package_of(language_id: str, text: str) -> str:
    """The package that a text declares, as far as a pattern can tell."""
    pattern = _PACKAGES.get(language_id)
    found = pattern.search(text[:20_000]) if pattern else None
    return found[1] if found else ""


def _imports(rule: _Rule, text: str, first_line: int) -> list[Import]:
    start, statement, read = rule
    found: list[Import] = []
    line, counted, past = first_line, 0, 0
    for number, place in enumerate(start.finditer(text)):
        if number >= _MAX_STATEMENTS:
            break
        if place.start() < past:
            continue
        match = statement.match(text, place.start(), place.start() + _MAX_STATEMENT)
        if match is None:
            continue
        past = match.end()
        line += text.count("\n", counted, place.start())
        counted = place.start()
        found += (Import(module, names, level, line, aliases) for module, names, level, aliases in read(match))
    return found


def _names(text: str, separator: str = " as ") -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """``a, b as c`` as names and aliases."""
    names, aliases = [], []
    for part in text.split(","):
        original, renamed, local = (piece.strip() for piece in f" {' '.join(part.split())} ".partition(separator))
        if not original:
            continue
        names.append(original)
        if renamed and local and local != original:
            aliases.append((local, original))
    return tuple(names), tuple(aliases)


def _python(match: re.Match[str]) -> Iterator[_Found]:
    if match["names"] is not None:
        listed = match["names"]
        if "#" in listed or "\\" in listed:
            listed = _HASH_COMMENT.sub("", listed).replace("\\", " ")
        names, aliases = _names(listed.strip().strip("()"))
        yield match["module"], names, len(match["dots"].replace(" ", "")), aliases
        return
    for part in match["modules"].replace("\\\n", " ").split("#")[0].split(","):
        module, _, local = (piece.strip() for piece in part.strip().partition(" as "))
        if module:
            yield module, (), 0, ((local, ""),) if local else ()


def _ecma(match: re.Match[str]) -> Iterator[_Found]:
    module, clause = match["module"], match["clause"]
    if clause is None:
        yield module, (), 0, ()
    else:
        yield module, *_listed(clause, " as ")


def _ecma_call(match: re.Match[str]) -> Iterator[_Found]:
    """``require("x")`` and ``import("x")``, with what the result is bound to."""
    before = match.string[max(0, match.start() - _MAX_BINDING) : match.start()]
    bound = _BINDING.search(before)
    if bound is None:
        yield match["module"], (), 0, ()
    elif bound[1].startswith("{"):
        yield match["module"], *_listed(bound[1], ":")
    else:
        yield match["module"], (), 0, ((bound[1], ""),)


def _listed(clause: str, separator: str) -> tuple[tuple[str, ...], int, tuple[tuple[str, str], ...]]:
    """``Default, {a, b as c}``, ``* as all``."""
    clause = re.sub(r"//[^\n]*|/\*.*?\*/", " ", clause, flags=re.DOTALL)
    clause = re.sub(r"^\s*type\s+(?=[\w{*$])|\btype\s+(?=[\w$]+\s*[,}\s])", "", clause)
    braces = re.search(r"\{([^}]*)\}?", clause)
    names, aliases = _names(braces[1].replace("\n", " "), separator) if braces else ((), ())
    rest = clause[: braces.start()] + clause[braces.end() :] if braces else clause
    for part in rest.split(","):
        words = part.split()
        if words[:2] == ["*", "as"] and len(words) > 2:  # the third is the name
            aliases = (*aliases, (words[2], ""))
        elif words == ["*"]:
            names = (*names, "*")
        elif len(words) == 1:
            names, aliases = (*names, "default"), (*aliases, (words[0], "default"))
    return names, 0, aliases


def _dotted(match: re.Match[str]) -> Iterator[_Found]:
    """``import static a.b.C.d``, ``import a.b.*``, ``import a.b.C as D`` (Java, Kotlin, Groovy)."""
    module, _, name = re.sub(r"\s", "", match["module"]).replace("`", "").rpartition(".")
    local = match["local"]
    yield module, (name,), 0, ((local, name),) if local and local != name else ()


def _scala(match: re.Match[str]) -> Iterator[_Found]:
    for part in re.split(r",(?![^{]*\})", match["module"]):
        path, _, last = part.strip().replace("`", "").rpartition(".")
        if last.startswith("{"):
            names, aliases = _names(last.strip("{}").replace("=>", " as "))
        else:
            names, aliases = _names(last)
        yield path.strip(), tuple("*" if name in {"_", "*", "given"} else name for name in names), 0, aliases


def _go(match: re.Match[str]) -> Iterator[_Found]:
    for local, module in _GO_SPEC.findall(match["specs"]):
        yield module, ("*",) if local == "." else (), 0, ((local, ""),) if local not in {"", "_", "."} else ()


def _rust(match: re.Match[str]) -> Iterator[_Found]:
    if match["child"] is not None:
        yield f"self::{match['child']}", (), 1, ()
        return
    tree = re.sub(r"//[^\n]*|/\*.*?\*/", "", match["tree"], flags=re.DOTALL)
    yield from _rust_tree(tree)


def _rust_tree(tree: str) -> Iterator[_Found]:
    """``a::{b, c::{D as E}}`` flat: one entry a path. Without recursion, a tree may be nested ten thousand deep."""
    names: dict[str, list[str]] = {}
    aliases: dict[str, list[tuple[str, str]]] = {}
    prefixes = [""]
    for piece, mark in re.findall(r"([^{},]*)([{},]|$)", tree):
        text = " ".join(piece.split())
        if mark == "{":
            prefixes.append(prefixes[-1] + text if len(prefixes) < 50 else prefixes[-1])  # no real code
            continue
        if text:
            path, _, last = (prefixes[-1] + text).rpartition("::")
            name, _, local = last.partition(" as ")
            if name == "self":
                path, _, name = path.rpartition("::")
            names.setdefault(path, []).append(name)
            if local:
                aliases.setdefault(path, []).append((local, name))
        if mark == "}" and len(prefixes) > 1:
            prefixes.pop()
    for path, listed in names.items():
        yield path, tuple(listed), 0, tuple(aliases.get(path, ()))


def _include(match: re.Match[str]) -> Iterator[_Found]:
    yield match["module"], (), 1 if match["quote"] == '"' else 0, ()


def _csharp(match: re.Match[str]) -> Iterator[_Found]:
    module = re.sub(r"\s|<.*", "", match["module"])
    if match["local"]:
        path, _, name = module.rpartition(".")
        yield path, (name,), 0, ((match["local"], name),)
    else:
        yield module, ("*",), 0, ()


def _php(match: re.Match[str]) -> Iterator[_Found]:
    if match["file"] is not None:
        yield match["file"].lstrip("/"), (), 1, ()
        return
    listed = match["uses"]
    prefix, brace, group = listed.partition("{")
    for part in (group.rstrip("} \n") if brace else listed).split(","):
        path, _, local = (piece.strip() for piece in f" {' '.join(part.split())} ".partition(" as "))
        full = (prefix.split()[-1] if brace and prefix.split() else "") + path.split(" ")[-1]
        module, _, name = full.strip("\\").rpartition("\\")
        if name:
            yield module, (name,), 0, ((local, name),) if local else ()


def _ruby(match: re.Match[str]) -> Iterator[_Found]:
    yield match["module"], (), 1 if match["relative"] else 0, ()


def _plain(match: re.Match[str]) -> Iterator[_Found]:
    """One module; ``"x"`` and ``x`` alike."""
    for part in match["module"].split(","):
        module = part.strip().strip("\"'`<>() \t")
        if module:
            yield module, (), 1 if module.startswith(".") else 0, ()


def _rule(start: str, statement: str, read: Callable[[re.Match[str]], Iterator[_Found]]) -> _Rule:
    return re.compile(start, re.MULTILINE), re.compile(statement, re.MULTILINE), read


def _words(words: str, module: str) -> _Rule:
    start = rf"^[ \t]{{0,40}}(?:{words})"
    return _rule(start, start + module, _plain)


_HASH_COMMENT = re.compile(r"#[^\n]*")
_GO_SPEC = re.compile(r"^[ \t]*(?:import\b[ \t]*)?([\w.]*)[ \t]*[\"`]([^\"`\n]+)[\"`]", re.MULTILINE)
_MAX_BINDING = 400
_BINDING = re.compile(r"\b(?:const|let|var|import)\s+(\{[^{}]*\}|[\w$]+)(?:\s*:[^=;]{0,100})?\s*=\s*(?:await\s+)?$")
_CALL = r"\s{0,9}\(\s{0,99}[\"'`](?P<module>[^\"'`\n]+)[\"'`]"
_ECMA = (
    _rule(
        r"^[ \t]*(?:import|export)\b|;[ \t]*import\b",
        r";?[ \t]*(?:import|export)\b\s*(?:(?P<clause>[^\"'`;=()]{0,3000}?)\bfrom\s*)?[\"'](?P<module>[^\"'\n]+)[\"']",
        _ecma,
    ),
    # Patterns that start with a plain word are searched for ten times as fast.
    _rule(r"require\b", r"require" + _CALL, _ecma_call),
    _rule(r"import\b", r"import" + _CALL, _ecma_call),
)
_JAVA = _rule(
    r"^[ \t]*import\b",
    r"[ \t]*import[ \t]+(?:static[ \t]+)?(?P<module>[\w.*`]+(?:[ \t]*\.[ \t]*[\w*`]+)*)"
    r"(?:[ \t]+as[ \t]+(?P<local>\w+))?",
    _dotted,
)
_C = _rule(
    r"^[ \t]*#[ \t]*(?:include|import)\b",
    r"[ \t]*#[ \t]*(?:include(?:_next)?|import)[ \t]*(?P<quote>[\"<])(?P<module>[^\">\n]+)[\">]",
    _include,
)
_PYTHON = _rule(
    r"^[ \t]*(?:from|c?import)\b",
    r"[ \t]*from\s*(?P<dots>[. ]*)(?P<module>[\w.]*)[ \t\\\n]+c?import\b[ \t]*"
    r"(?P<names>\([^()]*\)?|[^\n\\;]*(?:\\\n[^\n\\;]*)*)"
    r"|[ \t]*c?import[ \t]+(?P<modules>[\w.][^\n;]*)",
    _python,
)
_QUOTED = r"[ \t]*\(?[ \t]*(?P<module>[\"'`][^\"'`\n]+[\"'`])"
_DOTTED = r"[ \t]+(?P<module>[\w.:/\\]+)"

_SINGLE = {
    "python": _PYTHON,
    "starlark": _words(r"load\(|load[ \t]*\(", _QUOTED),
    **dict.fromkeys(("java", "kotlin", "groovy"), _JAVA),
    "scala": _rule(r"^[ \t]*import\b", r"[ \t]*import[ \t]+(?P<module>[\w.`]+(?:\{[^{}]*\})?[^\n;{}]*)", _scala),
    "go": _rule(
        r"^[ \t]*import\b", r"(?P<specs>[ \t]*import[ \t]*(?:\([^)]*\)?|[\w.]*[ \t]*[\"`][^\"`\n]+[\"`]))", _go
    ),
    "rust": _rule(
        r"^[ \t]*(?:pub(?:\([^()\n]{1,40}\))?[ \t]+)?(?:use|mod)\b",
        r"[ \t]*(?:pub(?:\([^()\n]{1,40}\))?[ \t]+)?"
        r"(?:use[ \t]+(?:::)?(?P<tree>[^;]+);?|mod[ \t]+(?P<child>\w+)[ \t]*;)",
        _rust,
    ),
    **dict.fromkeys(("c", "cpp", "cuda", "objective-c", "glsl"), _C),
    "csharp": _rule(
        r"^[ \t]*(?:global[ \t]+)?using\b",
        r"[ \t]*(?:global[ \t]+)?using[ \t]+(?:static[ \t]+)?"
        r"(?:(?P<local>\w+)[ \t]*=[ \t]*)?(?P<module>[\w.:]+(?:<[^;\n]*>)?)[ \t]*;",
        _csharp,
    ),
    "php": _rule(
        r"^[ \t]*use\b|\b(?:require|include)(?:_once)?\b",
        r"[ \t]*use[ \t]+(?:(?:function|const)[ \t]+)?(?P<uses>[\w\\][^;()]*);?"
        r"|(?:require|include)(?:_once)?\b[^\"';\n]{0,200}[\"'](?P<file>[^\"'\n]+)[\"']",
        _php,
    ),
    "ruby": _rule(
        r"^[ \t]*(?:require|load|autoload)",
        r"[ \t]*(?:require|load|autoload)(?P<relative>_relative)?\b[^\"'\n]{0,80}[\"'](?P<module>[^\"'\n]+)[\"']",
        _ruby,
    ),
    "lua": _rule(r"\brequire\b", r"require[ \t]*\(?[ \t]*(?P<module>[\"'][^\"'\n]+[\"'])", _plain),
    "shellscript": _words(r"source|\.", r"[ \t]+(?P<module>[^\s;&|]+)"),
    "fish": _words(r"source", r"[ \t]+(?P<module>[^\s;&|]+)"),
    "swift": _words(
        r"(?:@\w+[ \t]+)?import(?:[ \t]+(?:struct|class|enum|protocol|func|var|let|typealias))?",
        r"[ \t]+(?P<module>[\w.]+)",
    ),
    "dart": _words("import|export|part(?!\\s+of)", _QUOTED),
    "julia": _words("using|import|include", r"[ \t]*\(?[ \t]*(?P<module>\"[^\"\n]+\"|[\w.]+(?:[ \t]*,[ \t]*[\w.]+)*)"),
    "perl": _words("use|require", _DOTTED),
    "haskell": _words(r"import(?:[ \t]+qualified)?", _DOTTED),
    **dict.fromkeys(
        ("elm", "agda", "idris", "lean", "fsharp", "isabelle", "alloy"), _words("import|open(?:[ \t]+import)?", _DOTTED)
    ),
    "ocaml": _words("open!?|include", _DOTTED),
    "elixir": _words("alias|import|use|require", _DOTTED),
    "erlang": _words(r"-[ \t]*include(?:_lib)?", _QUOTED),
    "r": _words("source|library|require", r"[ \t]*\([ \t]*(?P<module>[\"']?[\w./-]+)"),
    "nim": _words("import|include|from", r"[ \t]+(?P<module>[\w./]+(?:[ \t]*,[ \t]*[\w./]+)*)"),
    "zig": _rule(r"@import", r"@import\((?P<module>\"[^\"\n]+\")\)", _plain),
    "proto": _words(r"import(?:[ \t]+(?:public|weak))?", _QUOTED),
    "thrift": _words("include", _QUOTED),
    "solidity": _rule(r"^[ \t]*import\b", r"[ \t]*import[^\"'\n;]{0,200}(?P<module>[\"'][^\"'\n]+[\"'])", _plain),
    **dict.fromkeys(
        ("css", "scss"), _words("@(?:import|use|forward)", r"[ \t]+(?:url\()?(?P<module>[\"'][^\"'\n]+[\"'])")
    ),
    **dict.fromkeys(("verilog", "systemverilog"), _words("`include", _QUOTED)),
    "cmake": _words(r"include|add_subdirectory", r"[ \t]*\([ \t]*(?P<module>[^\s)]+)"),
    "makefile": _words("-?include", r"[ \t]+(?P<module>\S+)"),
    "latex": _words(r"\\(?:input|include|usepackage(?:\[[^\]\n]*\])?)", r"\{(?P<module>[^}\n]+)\}"),
    "powershell": _words(r"\.|using[ \t]+module|Import-Module", r"[ \t]+(?P<module>\S+)"),
    "pascal": _words("uses", r"[ \t]+(?P<module>[\w.]+(?:\s*,\s*[\w.]+)*)"),
    "fortran": _words("use|USE", r"[ \t,:]+(?P<module>\w+)"),
    "ada": _words("with", _DOTTED),
    "gdscript": _rule(
        r"\b(?:preload|load)\(|^extends", r"(?:preload\(|load\(|extends[ \t]+)(?P<module>[\"'][^\"'\n]+[\"'])", _plain
    ),
}
_RULES: dict[str, tuple[_Rule, ...]] = {
    **{name: (rule,) for name, rule in _SINGLE.items()},
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact", "coffeescript"), _ECMA),
}

_PACKAGES = {
    **dict.fromkeys(("java", "kotlin", "groovy", "scala"), re.compile(r"^[ \t]*package[ \t]+([\w.]+)", re.MULTILINE)),
    "go": re.compile(r"^package[ \t]+(\w+)", re.MULTILINE),
    "csharp": re.compile(r"^[ \t]*namespace[ \t]+([\w.]+)", re.MULTILINE),
    "php": re.compile(r"^[ \t]*namespace[ \t]+([\w\\]+)", re.MULTILINE),
    "perl": re.compile(r"^[ \t]*package[ \t]+([\w:]+)", re.MULTILINE),
    "proto": re.compile(r"^[ \t]*package[ \t]+([\w.]+)", re.MULTILINE),
}
