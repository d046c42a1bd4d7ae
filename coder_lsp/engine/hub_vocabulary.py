"""The vocabulary of a hub folder, out of its ``tokenizer.json``, as prompts are made with: special tokens off.

Hub tokenizers look for the spellings of control tokens in every text, also of those that they do not call special
(Qwen's ``<|fim_middle|>`` is one). So the tokenizer is built without its added tokens: a source file that contains one
of these spellings stays text, and the ids of added tokens are looked up in a table. The library ``tokenizers`` comes
with transformers and is imported late.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError, InputError, ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class HubVocabulary:
    """See :class:`~coder_lsp.engine.base.Vocabulary`."""

    def __init__(self, spec: dict[str, Any], config: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """``spec``: tokenizer.json; ``config``: tokenizer_config.json; ``more``: config.json and its like, joined."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise CoderLspError(
                "tokenizers, which reads hub folders, is not installed", hint="pip install 'coder-lsp[torch]'"
            ) from error
        self._added: dict[str, int] = {token["content"]: token["id"] for token in spec.get("added_tokens", ())}
        bare = {**spec, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._tokenizer = Tokenizer.from_str(json.dumps(bare))
        self._whole: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=False)
        self._texts = {token: text for text, token in self._whole.items()}
        self._bytes = _byte_table() if '"ByteLevel"' in json.dumps(spec.get("decoder")) else None
        self.architecture = str(more.get("model_type", ""))
        bos = _content(config.get("bos_token"))
        # Newer files say it by their post-processor alone, which names the token that it puts first.
        adds = config.get("add_bos_token")
        if adds is None:
            adds = bool(bos) and f'"{bos}"' in json.dumps(spec.get("post_processor"))
        self._bos = self.special(bos) if adds and bos else None
        ends = more.get("eos_token_id")
        named = self.special(_content(config.get("eos_token")))
        listed = [*(ends if isinstance(ends, list) else [ends]), named]
        self._ends = frozenset(token for token in listed if isinstance(token, int))

    @classmethod
    def load(cls, folder: Path) -> HubVocabulary:
        """:raises CoderLspError: the folder's tokenizer cannot be used."""
        spec = _json(folder / "tokenizer.json")
        if not spec:
            raise InputError(f"{folder} has no tokenizer.json", hint="name a hub folder with a fast tokenizer")
        more = {**_json(folder / "config.json"), **_json(folder / "generation_config.json")}
        try:
            return cls(spec, _json(folder / "tokenizer_config.json"), more)
        except CoderLspError:
            raise
        except Exception as error:  # the library raises plain exceptions
            raise ModelUnsupported(f"the tokenizer of {folder} cannot be read ({error})") from error

    def tokenize(self, text: str) -> list[int]:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def special(self, text: str) -> int | None:
        return self._added.get(text)

    def token_bytes(self, token: int) -> bytes:
        text = self._texts.get(token)
        if text is None or text in self._added:
            return b""
        if self._bytes is not None:
            return bytes(self._bytes[character] for character in text if character in self._bytes)
        single = _BYTE.fullmatch(text)
        return bytes([int(single[1], 16)]) if single else text.replace("\u2581", " ").encode()

    @property
    def bos(self) -> int | None:
        return self._bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return self._ends


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str:
    """A token as configurations write it: its text, or an object that has it."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _byte_table() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself, or one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(0x100 + number): byte for number, byte in enumerate(others)}
