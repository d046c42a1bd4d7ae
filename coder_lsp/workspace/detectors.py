"""What secrets look like inside a file: the detectors of ``detect-secrets``, and shapes that it does not know.

The library's detectors of one provider's keys are used as they are, never its verification, which asks the network.
Its noisy ones are not: bare high entropy and public addresses hit ordinary code, and its keyword detector takes
``password = "password"`` for a secret; names that promise a secret are judged here by what is assigned to them. Every
detector has words of which a line must contain one, so clean text costs a few substring searches. Two kinds of line
are blanked without proof: the body of a private key up to its end, and an overlong line that has such a word.
"""

from __future__ import annotations

import math
import re
import sys
import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE_CHARACTERS = 4000
"""A longer line is not searched (some expressions take quadratic time) but blanked when it has a suspicious word."""
MIN_PIECE_CHARACTERS = 16
"""No key with a prefix is shorter; the shortest are those of AWS, with 20."""

_HTTP_CLIENT = "requests"
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Screen:
    """A detector of the library (module and class), and what any line that it can match contains. One of three."""

    module: str
    name: str
    words: tuple[str, ...] = ()
    """One of these, inside a long piece (:func:`_long_pieces`)."""
    shape: str = ""
    """An expression found in the line in lower case. It begins with a literal, which makes it quick."""
    named: str = ""
    """One of :data:`_CONTEXT_WORDS`, and this expression, in lower case."""


SCREENS = (
    Screen("artifactory", "ArtifactoryDetector", shape="akc[a-z0-9]{10}"),
    Screen("artifactory", "ArtifactoryDetector", shape=r"ap[\da-f][a-z0-9]{8}"),
    Screen("aws", "AWSKeyDetector", ("A3T", "ABIA", "ACCA", "AKIA", "ASIA")),
    Screen("aws", "AWSKeyDetector", named=r"aws.*[0-9a-z/+]{40}"),
    Screen("azure_storage_key", "AzureStorageKeyDetector", ("AccountKey=",)),
    Screen("basic_auth", "BasicAuthDetector", shape=r"://[^\s@]+@"),
    Screen("cloudant", "CloudantDetector", named=r"cl.*(?:[0-9a-f]{64}|[a-z]{24})"),
    Screen("cloudant", "CloudantDetector", shape=r"cloudant\.com"),
    Screen("discord", "DiscordBotTokenDetector", shape=r"\.[a-z\d_-]{6}\.[a-z\d_-]{27}"),
    Screen("github_token", "GitHubTokenDetector", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    Screen(
        "gitlab_token",
        "GitLabTokenDetector",
        (
            *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "GR1348941"),
            *("glcbt-", "glimt-", "glptt-", "glagent-", "gloas-"),
        ),
    ),
    Screen("ibm_cloud_iam", "IbmCloudIamDetector", named=r"[a-z0-9_-]{44}"),
    Screen("ibm_cos_hmac", "IbmCosHmacDetector", named=r"secret.*[a-f0-9]{48}"),
    Screen("jwt", "JwtTokenDetector", shape="eyj[a-z0-9_=-]+\\."),
    Screen("mailchimp", "MailchimpDetector", shape=r"-us\d"),
    Screen("npm", "NpmDetector", shape=":_authtoken="),
    Screen("openai", "OpenAIDetector", ("T3BlbkFJ",)),
    Screen("private_key", "PrivateKeyDetector", shape="private key"),
    Screen("private_key", "PrivateKeyDetector", shape="putty-user-key-file-2"),
    Screen("pypi_token", "PypiTokenDetector", ("pypi-AgE",)),
    Screen("sendgrid", "SendGridDetector", shape=r"sg\.[a-z0-9_-]{22}\."),
    Screen("slack", "SlackDetector", shape=r"xox[abposr]-\d"),
    Screen("slack", "SlackDetector", shape=r"hooks\.slack\.com"),
    Screen("softlayer", "SoftlayerDetector", named=r"sl.*[a-z0-9]{64}"),
    Screen("softlayer", "SoftlayerDetector", shape=r"softlayer\.com/soap"),
    Screen("square_oauth", "SquareOAuthDetector", ("sq0csp-",)),
    Screen("stripe", "StripeDetector", ("k_live_",)),
    Screen("telegram_token", "TelegramBotTokenDetector", shape=r":[0-9a-z_-]{35}"),
    Screen("twilio", "TwilioKeyDetector", shape="ac[a-z0-9]{32}"),
    Screen("twilio", "TwilioKeyDetector", shape="sk[a-z0-9]{32}"),
)
"""Of the library's detectors all but: high entropy (two), public addresses, keywords."""

# Keys that providers mark by a prefix and the library does not know: a word inside a long piece, and the shape.
_TOKENS = (
    ("github_pat_", r"github_pat_\w{22,}"),
    ("AIza", r"AIza[\w-]{35}"),
    ("GOCSPX-", r"GOCSPX-[\w-]{20,}"),
    ("hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    ("sk-", r"(?<![A-Za-z0-9])sk-(?:ant|proj|svcacct|admin|or)-[\w-]{20,}|(?<![A-Za-z0-9-])sk-[A-Za-z0-9]{32,}"),
    ("gsk_", r"\bgsk_[A-Za-z0-9]{40,}"),
    ("xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+"),
    ("xox", r"xox[a-z]-[\w-]{20,}"),
    ("npm_", r"\bnpm_[A-Za-z0-9]{36}"),
    ("_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}"),
    ("dapi", r"\bdapi[0-9a-f]{32}"),
    ("shp", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("lin_api_", r"\blin_api_\w{32,}"),
    ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    ("whsec_", r"\bwhsec_[A-Za-z0-9+/]{24,}"),
    ("k_test_", r"\b[rs]k_test_[0-9A-Za-z]{24,}"),
    ("sq0atp-", r"sq0atp-[\w-]{22}"),
    ("key-", r"\bkey-[0-9a-f]{32}\b"),
    ("ATATT3", r"ATATT3[\w=-]{20,}"),
    ("rubygems_", r"rubygems_[a-f0-9]{48}"),
    ("PMAK-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    ("NRAK-", r"NRAK-[A-Z0-9]{27}"),
    ("dckr_pat_", r"dckr_pat_[\w-]{20,}"),
    ("glsa_", r"\bglsa_[A-Za-z0-9]{32}_[a-f0-9]{8}"),
    ("sntrys_", r"sntrys_[\w+/=]{40,}"),
    ("r8_", r"\br8_[A-Za-z0-9]{37}"),
    ("SharedAccessKey=", r"SharedAccessKey=[A-Za-z0-9+/]{40,}"),
    ("sig=", r"\bsig=[A-Za-z0-9%+/]{40,}"),
    ("/webhooks/", r"/webhooks/\d{15,}/[\w-]{50,}"),
)
# The same for keys with a dot, which parts pieces: found in the lower-cased line, and the shape.
_DOTTED = (
    (r"ya29\.", r"ya29\.[\w-]{20,}"),
    (r"hvs\.", r"\bhvs\.[\w-]{24,}"),
    (r"\.atlasv1\.", r"\.atlasv1\.[\w-]{60,}"),
    ("private key", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"),
    ("putty-user-key-file-", r"PuTTY-User-Key-File-\d"),
)
# Ways to write a password that are their own context: a word of the lower-cased line, and the form with the value as
# its group. Each holds a context word.
_FORMS = (
    ("@", r"[A-Za-z][\w+.-]*://[^\s:/@\"'<>{}$%]*:([^\s\"'<>{}@]+)@[\w\[]"),
    ("authorization", r"(?i)authorization\W{1,6}(?:bearer|basic|token|apikey|api-key)\s+([\w.~+/=-]{12,})"),
    ("bearer", r"(?i)[\"'`]bearer\s+([\w.~+/=-]{16,})[\"'`]"),
    ("aws", r"(?i)aws_?(?:secret_?(?:access_?)?key|session_?token)\W{1,6}([A-Za-z0-9/+=]{40,})"),
    (
        "password",
        r"(?i)(?:;|\b(?:host|user|uid|server|dbname|database)\s*=[^;,]{1,80}[;\s])\s*password\s*=\s*([^\s;\"']{3,})",
    ),
    ("pwd", r"(?i);\s*pwd\s*=\s*([^\s;\"']{3,})"),
    ("login", r"\blogin\s+\S+\s+password\s+(\S{3,})"),
    ("_auth", r"(?i)(?:^|:)_auth(?:token)?\s*=\s*[\"']?([^\s\"']{8,})"),
    ("_password", r"(?i)(?:^|:)_password\s*=\s*[\"']?([^\s\"']{6,})"),
    ('"auth"', r"\"auth\"\s*:\s*\"([A-Za-z0-9+/=]{12,})\""),
    ("curl", r"\bcurl\b.*\s(?:-u|--user)[ =]?[\"']?[^\s:\"'$<{]+:([^\s\"'$<{]{3,})"),
    ("sshpass", r"\bsshpass\s+-p\s*[\"']?([^\s\"'$]{3,})"),
)
_CONTEXT_WORDS = ("pass", "pwd", "secret", "token", "credential", "key", "auth", "bearer", "curl", "://")
"""In lower case. Lines without one of these hold no assignment to a secret's name and none of the forms above."""

# Names that promise a secret. What is assigned to them decides.
_NAME_WORD = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|db_?pass"
    r"|(?:api|access|auth|private|client|account|encryption|signing|service|master|storage|license)[_-]?key"
)
_NAME = rf"(?P<name>(?:{_NAME_WORD.pattern})[\w.-]{{0,40}})"
_GAP = (
    r"(?:[\"'\])]{0,3}\s*(?::\s*[\w\[\]&<>. |]{1,30}=|=>|:=|={1,3}|!={1,2}|:|,|\|\||\?\?|\?:|\s+value\s*=)\s*"
    r"|\(|\s+|\[\w*\]\s*=\s*)"
)
_QUOTED = re.compile(_NAME + _GAP + r"[A-Za-z@$]{0,2}[\"'`](?P<value>[^\"'`\s]{6,})[\"'`]", re.IGNORECASE)
_BARE = re.compile(
    r"^\s*(?:-\s+|export\s+|set\s+|ENV\s+|ARG\s+)?[\"']?[\w.-]{0,60}"
    + _NAME
    + r"[\"']?\s*[:=]\s*(?P<value>[^\s\"'`#,;]{6,})\s*(?:[#;].*)?$",
    re.IGNORECASE,
)
_ELEMENT = re.compile(r"<[\w.:-]{0,40}" + _NAME + r"(?:\s[^<>]*)?>\s*(?P<value>[^<>\s]{4,})\s*</", re.IGNORECASE)
_NOT_A_SECRETS_NAME = re.compile(
    r"(?:arn|hash|digest|checksum|sum|url|uri|endpoint|path|file|dir|name|field|type|kind|id|ref|prefix|suffix|header"
    r"|pattern|regex|format|label|hint|help|length|size|count|limit|expir\w*|ttl|class|algorithm|provider|store"
    r"|manager|policy|scope|audience|issuer|version|enabled|required|usage|text|title|message)s?$",
    re.IGNORECASE,
)
_CONFIGURATION = re.compile(
    r"\.(?:ya?ml|ini|cfg|cnf|conf|properties|toml|env|sh|bash|zsh|json|jsonc|xml|config)$|Dockerfile$",
    re.IGNORECASE,
)
# What stands in for a secret in examples and templates, and values that are looked up elsewhere.
_PLACEHOLDER = re.compile(
    r"""(?ix)
    your | example | change_?me | placeholder | redacted | dummy | replace[_-] | insert[_-] | \bfoo | \bbar\b
    | <.*> | x{4,} | \*{3,} | \.{3}
    | ^(?: true | false | none | null | nil | undefined | required | optional | password | secret | token | test )$
    | ^(?: my | the | a | some | test | fake | mock | default )? [_-]? (?: super | secret | api | private )?
      [_-]? (?: password | passwd | pwd | secret | token | key )$
    | \$\{ | \{\{ | \$\( | %\( | %s | ^%\w+%?$ | ^\$\w+$ | ^!\w+ | ^[&*@]\w+$ | ^~/
    | ^\.{0,2}/[\w.-]+(?:/[\w.-]+)*/?$                       # a path
    | ^env[.:] | getenv | environ | process\.env | secrets\. | ^vault: | :: | ->
    """
)
_ADDRESS = re.compile(r"arn:|[\w+.-]+://[^@]*$")
_CODE_CHARACTERS = re.compile(r"[\[\](){}<>\\|^*,;\s]")
# One way to match a text, or a long one that almost does takes for ever.
_WORDS_AND_A_NUMBER = re.compile(r"[A-Za-z]+(?:[_.:/-][A-Za-z]+)*[_.:/-]?\d{0,2}")
_TEMPLATES = re.compile(r"[{}<>$]|%(?![0-9A-Fa-f]{2})")

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|Private-MAC:")
# What stands around base64 when a key is written as a string in code.
_PEM_AROUND = "\"'`,;+|>#*/().- \t"
_PEM_BODY = re.compile(r"=?[A-Za-z0-9+/]*={0,3}(?:\\[nr])*")
_PEM_HEADER = re.compile(
    r"\W*(?:Proc-Type|DEK-Info|Version|Comment|Subject|Hash|Charset|Encryption|Public-Lines|Private-Lines|Key-Derivation"
    r"|Argon2-\w+)\s*:"
)


class Detector(Protocol):
    """The part of a library detector that reads text. The rest of it verifies, over the network."""

    def analyze_string(self, string: str) -> Iterable[str]: ...


# Everything but the characters of a piece becomes a space.
_PIECES = bytes(code if chr(code).isalnum() or chr(code) in "_-+/=%" else 32 for code in range(128)) + b" " * 128


def secret_lines(text: str, path: str = "") -> list[int]:
    r"""Numbers of the lines (ended by ``\n``) that hold a secret, ascending, from 0."""
    view = _View(text)
    configuration = _CONFIGURATION.search(path) is not None
    found: set[int] = set()
    for suspect in _suspects():
        for number in suspect.lines(view):
            line = view.lines[number]
            if number not in found and (len(line) > MAX_LINE_CHARACTERS or suspect.holds_secret(line)):
                found.add(number)
    for number, lowered in view.named:
        line = view.lines[number]
        if number in found:
            continue
        if len(line) > MAX_LINE_CHARACTERS or _gives_away(line, lowered, configuration=configuration):
            found.add(number)
    return sorted(found.union(_key_bodies(view.lines, found))) if found else []


def library_detector(screen: Screen) -> Detector:
    """The library's detector that a screen stands before, which cannot verify: it has nothing to ask the network with.

    That saves 7 MB and 50 ms in every server, too, for the HTTP client that the library would have loaded.
    """
    with _LOADING:
        leave_out = _HTTP_CLIENT not in sys.modules
        if leave_out:
            client = sys.modules[_HTTP_CLIENT] = ModuleType(_HTTP_CLIENT)
            # An annotation asks for it.
            vars(client)["Response"] = object
        try:
            module = import_module(f"detect_secrets.plugins.{screen.module}")
        finally:
            if leave_out:
                del sys.modules[_HTTP_CLIENT]
    detector: Detector = getattr(module, screen.name)()
    return detector


def screened(screen: Screen, text: str) -> list[int]:
    """Numbers of the lines that a screen lets through to its detector."""
    return list(_Known(screen).lines(_View(text)))


class _View:
    """A text, prepared once for all suspects."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lowered = text.lower()
        self.long_pieces = _long_pieces(text)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def lowered_lines(self) -> list[str]:
        return self.lowered.split("\n")

    @cached_property
    def named(self) -> list[tuple[int, str]]:
        """Number and lower-cased text of the lines with a context word, in order."""
        found: dict[int, str] = {}
        for word in _CONTEXT_WORDS:
            found.update(self.lowered_with(word))
        return sorted(found.items())

    def lowered_with(self, word: str) -> Iterator[tuple[int, str]]:
        """Number and lower-cased text of each line with a word."""
        lowered, number, counted = self.lowered, 0, 0
        at = lowered.find(word)
        while at >= 0:
            number += lowered.count("\n", counted, at)
            start, end = lowered.rfind("\n", 0, at) + 1, lowered.find("\n", at)
            end = len(lowered) if end < 0 else end
            yield number, lowered[start:end]
            counted = end
            at = lowered.find(word, end)


class _Suspect(Protocol):
    """One kind of secret: the lines worth asking about, and then the costly question."""

    def lines(self, view: _View) -> Iterable[int]: ...

    def holds_secret(self, line: str) -> bool: ...


class _Token:
    """A shape that is a secret, in lines with a word inside a long piece."""

    def __init__(self, words: tuple[str, ...], shape: str) -> None:
        self._words = words
        self._shape = re.compile(shape)

    def lines(self, view: _View) -> Iterable[int]:
        words = [word for word in self._words if word in view.long_pieces]
        return (
            [number for number, line in enumerate(view.lines) if any(word in line for word in words)] if words else ()
        )

    def holds_secret(self, line: str) -> bool:
        return self._shape.search(line) is not None


class _Dotted(_Token):
    """The same, in lines that in lower case match an expression."""

    def __init__(self, screen: str, shape: str) -> None:
        super().__init__((), shape)
        self._screen = re.compile(screen)

    def lines(self, view: _View) -> Iterable[int]:
        if not self._screen.search(view.lowered):
            return ()
        return [number for number, line in enumerate(view.lowered_lines) if self._screen.search(line)]


class _Known:
    """A detector of the library behind its screen; loaded when the screen first lets something through."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._lines = _Dotted(screen.shape, "").lines if screen.shape else _Token(screen.words, "").lines
        self._named = re.compile(screen.named)
        self._detector: Detector | None = None

    def lines(self, view: _View) -> Iterable[int]:
        if self._screen.named:
            return [number for number, lowered in view.named if self._named.search(lowered)]
        return self._lines(view)

    def holds_secret(self, line: str) -> bool:
        if self._detector is None:
            self._detector = library_detector(self._screen)
        found = self._detector.analyze_string(line)
        if self._screen.module == "basic_auth":  # it takes ``://{user}:{password}@`` of a format string
            return any(not _TEMPLATES.search(value) and not _is_placeholder(value) for value in found)
        return any(True for _ in found)


@lru_cache(maxsize=1)
def _suspects() -> tuple[_Suspect, ...]:
    return (
        *(_Known(screen) for screen in SCREENS),
        *(_Token((word,), shape) for word, shape in _TOKENS),
        *(_Dotted(screen, shape) for screen, shape in _DOTTED),
    )


@lru_cache(maxsize=1)
def _forms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((word, re.compile(form)) for word, form in _FORMS)


def _long_pieces(text: str) -> str:
    """The runs of characters that keys are made of, if long enough for one; one a line.

    Code is mostly shorter words, so what is left to search is a small part of it, and splitting costs little.
    """
    pieces = text.encode("ascii", "replace").translate(_PIECES).split()
    return b"\n".join([piece for piece in pieces if len(piece) >= MIN_PIECE_CHARACTERS]).decode("ascii")


def _gives_away(line: str, lowered: str, *, configuration: bool) -> bool:
    """Whether a line with a context word holds a password by its form, or by the name it is assigned to."""
    for word, form in _forms():
        if word in lowered:
            for match in form.finditer(line):
                if not _TEMPLATES.search(match[1]) and not _is_placeholder(match[1]):
                    return True
    if not _NAME_WORD.search(lowered):
        return False
    return any(_is_secret_value(match, configuration=configuration) for match in _assignments(line, bare=configuration))


def _assignments(line: str, *, bare: bool) -> Iterator[re.Match[str]]:
    if '"' in line or "'" in line or "`" in line:
        yield from _QUOTED.finditer(line)
    if "</" in line:
        yield from _ELEMENT.finditer(line)
    if bare:
        yield from _BARE.finditer(line)


def _is_secret_value(match: re.Match[str], *, configuration: bool) -> bool:
    name, value = match["name"], match["value"]
    if _NOT_A_SECRETS_NAME.search(name) or _is_placeholder(value) or _ADDRESS.match(value):
        return False
    if _looks_random(value):
        return True
    # In configuration nothing but the value itself can be meant, however simple it is.
    return configuration and not value.isdigit() and re.search(r"(?i)passw(?:or)?d$|pwd$|passphrase$", name) is not None


def _is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is not None or len(set(value)) < 4


def _looks_random(value: str) -> bool:
    """Whether no person would name a thing like this. Bits are Shannon's, per character."""
    if len(value) < 8 or _CODE_CHARACTERS.search(value):
        return False
    if _WORDS_AND_A_NUMBER.fullmatch(value):
        return len(value) >= 20 and not re.search(r"[_.:/-]", value) and _bits(value) > 4.2
    has_digit, has_letter = re.search(r"\d", value), re.search(r"[A-Za-z]", value)
    return bool(has_letter and (has_digit or re.search(r"[!@#$%&?]", value))) and _bits(value) > 2.5


def _bits(value: str) -> float:
    shares = [value.count(character) / len(value) for character in set(value)]
    return -sum(share * math.log2(share) for share in shares)


def _key_bodies(lines: list[str], found: set[int]) -> Iterator[int]:
    """Lines of private keys after the one that begins each: to its end, or as far as it looks like a key.

    The second matters in code that merely looks for the beginning of a key, and in a file that is cut off.
    """
    for start in found:
        begin = _PEM_BEGIN.search(lines[start])
        if not begin or _PEM_END.search(lines[start], begin.end()):
            continue
        for number in range(start + 1, len(lines)):
            line = lines[number]
            if _PEM_END.search(line):
                yield number
                break
            if not _PEM_HEADER.match(line) and not _PEM_BODY.fullmatch(line.strip(_PEM_AROUND)):
                break
            yield number
