"""Which files are worth nothing to a model: binary, minified, generated, huge, or data rather than code.

The rules on text are those DeepSeek-Coder's training data was filtered by (Guo et al. 2024, section 2.1, after
StarCoder), so what a model is shown is of the kind it has seen. Each function answers with an empty string, or the
reason why a file is left out. By name where that is enough: nothing is read that need not be.
"""

from __future__ import annotations

import re
from string import ascii_letters

from coder_lsp.languages import PLAIN, by_path

MAX_FILE_BYTES = 1_000_000
"""Larger files are data or generated. Known before reading, so a line of 100 MB costs nothing."""
MAX_LINE_CHARACTERS = 1000
MAX_MEAN_LINE_CHARACTERS = 100
MIN_LETTERS = 0.25
"""Share of letters among all characters."""
MIN_VISIBLE_HTML = 0.20
MIN_VISIBLE_HTML_CHARACTERS = 100
DATA_CHARACTERS = (50, 5000)
"""JSON and YAML: shorter says nothing, longer is data."""

_XML_START = 100
_HEAD_CHARACTERS = 3000
_HEAD_LINES = 30
_LETTERS = ascii_letters.encode()
_DATA = frozenset({"json", "jsonc", "yaml"})
_XSLT = (".xsl", ".xslt")
# Extensions of languages in our table whose files are often, or always, something else.
_BINARY = re.compile(r"\.(?:scpt|geojson|svg|ipynb)$", re.IGNORECASE)
_GENERATED_NAMES = re.compile(
    r"""(?ix)
    (?: package-lock | npm-shrinkwrap | composer\.lock | packages\.lock | Brewfile\.lock ) (?: \.json )?
    | (?: pnpm-lock | conda-lock | pubspec\.lock ) (?: \.ya?ml )?
    | .* [.-] min \. (?: js | mjs | cjs | css )           # minified
    | .* \. (?: bundle | chunk | packed ) \. (?: js | mjs | css )
    | .* _pb2 (?: _grpc )? \. pyi? | .* _grpc_pb2 \. py  # protobuf
    | .* \. pb (?: \.gw | \.validate | \.micro )? \. (?: go | cc | c | h | cpp | swift | dart )
    | .* _pb \. (?: js | ts | d\.ts | rb )
    | .* \. (?: g | freezed | gr | mocks ) \. dart
    | .* \. (?: g | g\.i | designer | generated ) \. (?: cs | vb )
    | .* [._] generated \. \w+ | zz_generated\. .*
    | (?: moc | qrc | ui ) _ .* \. (?: cpp | cxx | h ) | .* \. moc
    | .* \. (?: tab | yy ) \. (?: c | h | cc | cpp | hh )
    | (?: R | BuildConfig ) \. java
    """
)
# A comment near the top that says so. The text alone is not enough: generators contain it as a string.
_GENERATED_TEXT = re.compile(
    r"""(?imx)
    ^ [ \t]* (?: // | \# | /\* | \* | -- | ; | % | <!-- | \(\* | \{- | ''' | \"\"\" | rem\b ) .*?
    (?: @generated\b | do\ not\ (?:edit|modify)\b | code\ generated\ by\b | \bauto-?generated\ (?:by|from|file)\b
      | generated\ by\ the\ protocol\ buffer | this\ file\ (?:is|was)\ (?:auto(?:matically)?[- ]?)?generated\b )
    """
)
_HIDDEN_HTML = re.compile(r"<!--.*?-->|<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def left_out_by_name(name: str) -> str:
    """Why a file is not source, as far as its name tells."""
    if by_path(name) is PLAIN:
        return "not source code"
    if _BINARY.search(name):
        return "data"
    if _GENERATED_NAMES.fullmatch(name):
        return "generated"
    return ""


def left_out_by_size(size_bytes: int) -> str:
    """Why a file of this size is not read."""
    if size_bytes == 0:
        return "empty"
    return "too large" if size_bytes > MAX_FILE_BYTES else ""


def left_out_by_text(name: str, text: str) -> str:
    """Why a file of this text is not worth its place in a prompt."""
    lines = text.split("\n")
    count = len(lines) - 1 if lines[-1] == "" and len(lines) > 1 else len(lines)
    if max(map(len, lines)) > MAX_LINE_CHARACTERS or len(text) / count > MAX_MEAN_LINE_CHARACTERS + 1:
        return "minified"
    if _letters(text) < MIN_LETTERS * len(text):
        return "data"
    language = by_path(name).id
    if language in _DATA and not DATA_CHARACTERS[0] <= len(text) <= DATA_CHARACTERS[1]:
        return "data"
    if "<?xml version=" in text[:_XML_START] and not name.lower().endswith(_XSLT):
        return "data"
    if language == "html":
        visible = len(" ".join(_HIDDEN_HTML.sub(" ", text).split()))
        if visible < max(MIN_VISIBLE_HTML_CHARACTERS, MIN_VISIBLE_HTML * len(text)):
            return "markup without text"
    if _GENERATED_TEXT.search("\n".join(lines[:_HEAD_LINES])[:_HEAD_CHARACTERS]):
        return "generated"
    return ""


def _letters(text: str) -> int:
    """How many of the characters are letters, of any script."""
    if text.isascii():
        raw = text.encode("ascii")
        return len(raw) - len(raw.translate(None, _LETTERS))
    return sum(map(str.isalpha, text))
