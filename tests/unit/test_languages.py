"""The language table: complete, consistent, and found by any name a client uses."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from tree_sitter_language_pack import get_language

from coder_lsp.languages import PLAIN, all_languages, by_id, by_path, resolve

# As listed in the DeepSeek-Coder repository: 89 names, where the paper says 87.
DEEPSEEK_CODER = (
    "Ada, Agda, Alloy, ANTLR, AppleScript, Assembly, Augeas, AWK, Batchfile, Bluespec, C, C#, Clojure, CMake, "
    "CoffeeScript, Common Lisp, C++, CSS, CUDA, Dart, Dockerfile, Elixir, Elm, Emacs Lisp, Erlang, F#, Fortran, "
    "GLSL, Go, Groovy, Haskell, HTML, Idris, Isabelle, Java, Java Server Pages, JavaScript, JSON, Julia, Jupyter "
    "Notebook, Kotlin, Lean, Literate Agda, Literate CoffeeScript, Literate Haskell, Lua, Makefile, Maple, "
    "Markdown, Mathematica, MATLAB, OCaml, Pascal, Perl, PHP, PowerShell, Prolog, Protocol Buffers, Python, R, "
    "Racket, reStructuredText, RMarkdown, Ruby, Rust, SAS, Scala, Scheme, Shell, Smalltalk, Solidity, SPARQL, "
    "SQL, Stan, Standard ML, Stata, SystemVerilog, Tcl, Tcsh, TeX, Thrift, TypeScript, Verilog, VHDL, Visual "
    "Basic, XSLT, Yacc, YAML, Zig"
)


def test_all_languages_of_deepseek_coder_are_there():
    listed = DEEPSEEK_CODER.split(", ")
    assert len(listed) == 89
    names = {language.name for language in all_languages()}
    assert [name for name in listed if name not in names] == []


def test_no_name_or_file_belongs_to_two_languages():
    for names in (
        [name for language in all_languages() for name in language.ids],
        [name for language in all_languages() for name in (*language.extensions, *language.filenames)],
    ):
        assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("language", all_languages(), ids=lambda language: language.id)
def test_a_row_is_usable(language):
    """Ids in lower case, patterns that compile, a grammar that loads without the network."""
    assert all(name == name.lower() for name in language.ids)
    assert all(extension.startswith(".") and extension == extension.lower() for extension in language.extensions)
    for pattern in (language.opens_at_end, language.opens_as_line, language.closes, language.continues):
        re.compile(pattern)
    for pattern in (language.defines, language.imports):
        assert not pattern or not re.match(pattern, "")
    assert len(language.brackets) % 2 == 0
    if language.grammar is not None:
        assert get_language(language.grammar) is not None


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "python"),
        ("/x/y/CMakeLists.txt", "cmake"),
        ("notes.txt", "plaintext"),
        ("C:\\src\\Main.JAVA", "java"),
        ("Makefile", "makefile"),
        ("view.blade.php", "php"),
        ("a.tar.unknown", "plaintext"),
        ("x.tsx", "typescriptreact"),
        (".bashrc", "shellscript"),
        ("Dockerfile", "dockerfile"),
        ("noextension", "plaintext"),
        ("", "plaintext"),
    ],
)
def test_by_path(path, language):
    assert by_path(path).id == language


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("cs", "csharp"),
        ("sh", "shellscript"),
        ("TypeScript", "typescript"),
        ("make", "makefile"),
        ("nonsense", "plaintext"),
    ],
)
def test_by_id_knows_vim_and_vscode_spellings(name, language):
    assert by_id(name).id == language


def test_resolve_believes_the_client_unless_it_says_nothing():
    assert resolve("ruby", "a.py").id == "ruby"
    assert resolve("plaintext", "a.py").id == "python"
    assert resolve("", "") is PLAIN
