"""Secrets never reach the index or a prompt. Two lines of defence: files by their name, lines by their content.

A file whose name says that it holds credentials is left out whole. In every other file each line with a key, a token
or a password becomes an empty line, so line numbers stay. What a secret looks like is in ``detectors``, which loads a
library and therefore is imported only when text is looked at; :func:`is_secret` is cheap, and the gate asks it too.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

# Matched against the file's name in lower case.
_SECRET_NAMES = (
    ".env*",
    "*.env",
    "*.pem",
    "*.key",
    "*.p8",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "*.gpg",
    "*.pgp",
    "*.asc",
    "*.agekey",
    "*.ovpn",
    "*.tfvars",
    "*.tfvars.json",
    "*.tfstate",
    "*.tfstate.*",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".npmrc",
    ".yarnrc.yml",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".boto",
    ".s3cfg",
    ".dockercfg",
    ".git-credentials",
    ".htpasswd",
    ".vault-token",
    ".vault_pass*",
    "master.key",
    "shadow",
    "kubeconfig",
    "*.kubeconfig",
    "client_secret*.json",
    "service-account*.json",
    "service_account*.json",
    "*-credentials.json",
)
# Code that is merely about secrets (credentials.py) stays completable; data files of these names do not.
_SECRET_STEMS = ("credentials", "credential", "secrets", "secret", "passwords", "apikeys", "api_keys")
_DATA_EXTENSIONS = ("", "json", "yaml", "yml", "toml", "ini", "cfg", "conf", "csv", "xml", "txt", "properties", "enc")
# Matched against the end of the whole path.
_SECRET_PATHS = ("/.aws/config", "/.docker/config.json", "/.kube/config", "/.config/gh/hosts.yml")
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".password-store"})


def is_secret(path: str) -> bool:
    """Whether a file by its name holds credentials or keys. Its text must never enter a prompt."""
    whole = "/" + path.replace("\\", "/").lower().lstrip("/")
    folders, _, name = whole.rpartition("/")
    if not name:
        return False
    if _names().match(name) or whole.endswith(_SECRET_PATHS):
        return True
    stem, _, extension = name.lstrip(".").partition(".")
    if stem in _SECRET_STEMS and extension in _DATA_EXTENSIONS:
        return True
    return not _SECRET_FOLDERS.isdisjoint(folders.split("/"))


def mask(text: str, path: str = "") -> tuple[str, int]:
    r"""The text with every line that holds a secret empty, and how many lines that were.

    ``path`` tells how values are written: without quotes in configuration files. Lines end with ``\n``.
    """
    from coder_lsp.workspace.detectors import secret_lines

    found = secret_lines(text, path)
    if not found:
        return text, 0
    lines = text.split("\n")
    for number in found:
        lines[number] = ""
    return "\n".join(lines), len(found)


@lru_cache(maxsize=1)
def _names() -> re.Pattern[str]:
    return re.compile("|".join(map(translate, _SECRET_NAMES)))
