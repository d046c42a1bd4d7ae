"""Tiny GGUF models, made in milliseconds: a few random layers, a byte-level vocabulary, no download.

Two kinds. *Random* models have real attention, so everything before a token changes it: right for reuse, roll-back,
sampling. *Chain* models have their layers silenced and a table for an output layer: after each token comes the one
they are told, so a test decides what the "model" says, token by token. All are deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np

from coder_lsp.engine.scripted import SPECIAL_TOKENS

QWEN_CONTROL = SPECIAL_TOKENS

# Merges in order, as pairs of the text they join. Enough for tokens of several bytes in ordinary code.
MERGES = (
    (" ", " "),
    ("  ", "  "),
    ("i", "n"),
    ("r", "e"),
    ("t", "u"),
    ("re", "tu"),
    ("retu", "r"),
    ("retur", "n"),
    (" ", "return"),
    ("d", "e"),
    ("de", "f"),
    ("e", "l"),
    ("s", "el"),
    ("sel", "f"),
    (")", ":"),
    (":", "\n"),
    ("\n", "\n"),
    ("p", "r"),
    ("pr", "in"),
    ("prin", "t"),
    ("<", "|"),
    ("|", ">"),
)

CONTROL = gguf.TokenType.CONTROL
NORMAL = gguf.TokenType.NORMAL
USER_DEFINED = gguf.TokenType.USER_DEFINED


@dataclass(frozen=True)
class Tokens:
    """A vocabulary as a GGUF stores it."""

    kind: str
    """``gpt2`` (byte-level BPE) or ``llama`` (SentencePiece)."""
    texts: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    eos: int = 0
    bos: int | None = None
    fim: dict[str, str] = field(default_factory=dict)
    """``pre``, ``suf``, ``mid`` and the token for each, if the file is to say so."""

    def id(self, text: str) -> int:
        """Id of a token by its stored text."""
        return self.texts.index(text)


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return table


def spell(data: bytes) -> str:
    """Bytes as a byte-level vocabulary writes them."""
    table = byte_alphabet()
    return "".join(table[byte] for byte in data)


def bpe_tokens(
    control: tuple[str, ...] = QWEN_CONTROL, user_defined: tuple[str, ...] = (), extra: tuple[bytes, ...] = ()
) -> Tokens:
    """256 bytes, the merges, ``extra`` tokens that no text is tokenised to, then the special ones."""
    texts = [byte_alphabet()[byte] for byte in range(256)]
    texts += [spell((left + right).encode()) for left, right in MERGES]
    texts += [spell(data) for data in extra if spell(data) not in texts]
    types = [NORMAL] * len(texts)
    eos = len(texts)
    texts += [*control, *user_defined]
    types += [CONTROL] * len(control) + [USER_DEFINED] * len(user_defined)
    merges = [f"{spell(left.encode())} {spell(right.encode())}" for left, right in MERGES]
    return Tokens("gpt2", texts, [int(kind) for kind in types], merges, eos=eos)


def spm_tokens(user_defined: tuple[str, ...] = ()) -> Tokens:
    """SentencePiece as CodeLlama has it: ``▁`` for a space, byte tokens, ``<s>`` that pieces could merge into."""
    special = ["<unk>", "<s>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]
    types = [int(gguf.TokenType.UNKNOWN)] + [int(CONTROL)] * (len(special) - 1)
    texts = special + [f"<0x{byte:02X}>" for byte in range(256)]
    types += [int(gguf.TokenType.BYTE)] * 256
    texts += user_defined
    types += [int(USER_DEFINED)] * len(user_defined)
    pieces = ["▁", "▁▁", "▁▁▁▁", "in", "re", "ret", "urn", "return", "▁return", "def", "<s", "s>", "</", "self", "\n"]
    pieces += [chr(code) for code in range(0x21, 0x7F)] + ["é", "ü", "世", "界"]
    scores = [0.0] * len(texts) + [-float(i) for i in range(len(pieces))]
    texts += pieces
    types += [int(NORMAL)] * len(pieces)
    return Tokens("llama", texts, types, scores=scores, eos=2, bos=1)


@dataclass(frozen=True)
class Shape:
    """Sizes of a tiny llama; ``width`` a multiple of 32."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    inner: int = 96
    context: int = 1024


def write_random(
    path: Path,
    tokens: Tokens | None = None,
    shape: Shape = Shape(),
    seed: int = 0,
    kind: str = "F32",
    architecture: str = "llama",
    *,
    ascii_only: bool = False,
) -> Path:
    """A llama with random weights: what it says is noise, but depends on every token before. ``kind``: of weights.

    ``architecture`` may be ``qwen2`` too, which has biases and rotates other rows together. ``ascii_only``: noise that
    is text, for who can say nothing else.
    """
    tokens = tokens or bpe_tokens()
    random = np.random.default_rng(seed)
    size = len(tokens.texts)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, 1.5 / np.sqrt(columns), (rows, columns)).astype(np.float32)

    kv_width = shape.width // shape.heads * shape.kv_heads
    tensors = {"token_embd.weight": matrix(size, shape.width) * 4}
    for i in range(shape.layers):
        tensors |= {
            f"blk.{i}.attn_norm.weight": np.ones(shape.width, np.float32),
            f"blk.{i}.attn_q.weight": matrix(shape.width, shape.width),
            f"blk.{i}.attn_k.weight": matrix(kv_width, shape.width),
            f"blk.{i}.attn_v.weight": matrix(kv_width, shape.width),
            f"blk.{i}.attn_output.weight": matrix(shape.width, shape.width),
            f"blk.{i}.ffn_norm.weight": np.ones(shape.width, np.float32),
            f"blk.{i}.ffn_gate.weight": matrix(shape.inner, shape.width),
            f"blk.{i}.ffn_up.weight": matrix(shape.inner, shape.width),
            f"blk.{i}.ffn_down.weight": matrix(shape.width, shape.inner),
        }
        if architecture == "qwen2":
            for name, rows in (("q", shape.width), ("k", kv_width), ("v", kv_width)):
                tensors[f"blk.{i}.attn_{name}.bias"] = random.normal(0, 0.5, rows).astype(np.float32)
    tensors |= {
        "output_norm.weight": np.ones(shape.width, np.float32),
        "output.weight": matrix(size, shape.width),
    }
    if ascii_only:
        # One number that is the same for every token all the way up, for the output layer to hold against some.
        tensors["token_embd.weight"][:, 0] = 8
        for i in range(shape.layers):
            tensors[f"blk.{i}.attn_output.weight"][0] = tensors[f"blk.{i}.ffn_down.weight"][0] = 0
        table = {character: byte for byte, character in byte_alphabet().items()}
        for token, text in enumerate(tokens.texts):
            readable = tokens.types[token] == NORMAL and all(0x20 <= table[character] < 0x7F for character in text)
            tensors["output.weight"][token, 0] = 0 if readable else -100
    return _write(path, architecture, tokens, shape, tensors, gguf.GGMLQuantizationType[kind])


def write_chain(path: Path, pieces: list[bytes], *, start: str = "<|fim_middle|>", loop: bool = False) -> Path:
    """A model that answers ``start`` with ``pieces``, one token each, then ends; ``loop``: then begins again.

    Pieces must differ, for each token has one successor. Their bytes need not be UTF-8.
    """
    assert len(set(pieces)) == len(pieces), "a token has one successor"
    tokens = bpe_tokens(extra=tuple(pieces))
    ids = [tokens.id(spell(piece)) for piece in pieces]
    end = tokens.id("<|endoftext|>")
    follow = dict.fromkeys(range(len(tokens.texts)), end)
    follow[tokens.id(start)] = ids[0]
    follow |= dict(zip(ids, [*ids[1:], ids[0] if loop else end], strict=True))

    width = -(-len(tokens.texts) // 64) * 64
    shape = Shape(width=width, layers=1, heads=width // 64, kv_heads=1, inner=32)
    output = np.zeros((len(tokens.texts), width), np.float32)
    for before, after in follow.items():
        output[after, before] = 1.0
    tensors = {
        "token_embd.weight": np.eye(len(tokens.texts), width, dtype=np.float32),
        "blk.0.attn_norm.weight": np.ones(width, np.float32),
        "blk.0.attn_q.weight": np.zeros((width, width), np.float32),
        "blk.0.attn_k.weight": np.zeros((64, width), np.float32),
        "blk.0.attn_v.weight": np.zeros((64, width), np.float32),
        "blk.0.attn_output.weight": np.zeros((width, width), np.float32),
        "blk.0.ffn_norm.weight": np.ones(width, np.float32),
        "blk.0.ffn_gate.weight": np.zeros((32, width), np.float32),
        "blk.0.ffn_up.weight": np.zeros((32, width), np.float32),
        "blk.0.ffn_down.weight": np.zeros((width, 32), np.float32),
        "output_norm.weight": np.ones(width, np.float32),
        "output.weight": output,
    }
    return _write(path, "llama", tokens, shape, tensors)


def write_recurrent(path: Path, seed: int = 0) -> Path:
    """A Mamba: its state cannot be rolled back."""
    tokens = bpe_tokens()
    random = np.random.default_rng(seed)
    width, inner, state, rank, conv = 64, 128, 16, 4, 4

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, 1.5 / np.sqrt(columns), (rows, columns)).astype(np.float32)

    tensors = {"token_embd.weight": matrix(len(tokens.texts), width) * 4}
    for i in range(2):
        tensors |= {
            f"blk.{i}.attn_norm.weight": np.ones(width, np.float32),
            f"blk.{i}.ssm_in.weight": matrix(2 * inner, width),
            f"blk.{i}.ssm_conv1d.weight": matrix(inner, conv),
            f"blk.{i}.ssm_conv1d.bias": np.zeros(inner, np.float32),
            f"blk.{i}.ssm_x.weight": matrix(rank + 2 * state, inner),
            f"blk.{i}.ssm_dt.weight": matrix(inner, rank),
            f"blk.{i}.ssm_dt.bias": np.ones(inner, np.float32),
            f"blk.{i}.ssm_a": -np.abs(random.normal(1, 0.2, (inner, state))).astype(np.float32),
            f"blk.{i}.ssm_d": np.ones(inner, np.float32),
            f"blk.{i}.ssm_out.weight": matrix(width, inner),
        }
    tensors |= {
        "output_norm.weight": np.ones(width, np.float32),
        "output.weight": matrix(len(tokens.texts), width),
    }
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1024)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    return _finish(writer, tokens, tensors)


def write_lora(path: Path, shape: Shape = Shape(), seed: int = 1, architecture: str = "llama", base: str = "") -> Path:
    """A random LoRA of rank 4 for :func:`write_random`'s attention outputs. ``base``: name of its model."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    if base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, base)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 4.0)
    for i in range(shape.layers):
        name = f"blk.{i}.attn_output.weight"
        writer.add_tensor(f"{name}.lora_a", random.normal(0, 0.5, (4, shape.width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", random.normal(0, 0.5, (shape.width, 4)).astype(np.float32))
    _save(writer)
    return path


def _write(
    path: Path,
    architecture: str,
    tokens: Tokens,
    shape: Shape,
    tensors: dict[str, np.ndarray],
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    return _finish(writer, tokens, tensors, kind)


def _finish(
    writer: gguf.GGUFWriter,
    tokens: Tokens,
    tensors: dict[str, np.ndarray],
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    writer.add_vocab_size(len(tokens.texts))
    writer.add_tokenizer_model(tokens.kind)
    if tokens.kind == "gpt2":
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(tokens.merges)
    else:
        writer.add_token_scores(tokens.scores)
        writer.add_unk_token_id(0)
    writer.add_token_list(tokens.texts)
    writer.add_token_types(tokens.types)
    writer.add_eos_token_id(tokens.eos)
    for role, text in tokens.fim.items():
        writer.add_uint32(f"tokenizer.ggml.fim_{role}_token_id", tokens.id(text))
    if tokens.bos is not None:
        writer.add_bos_token_id(tokens.bos)
    writer.add_add_bos_token(tokens.bos is not None)
    for name, data in tensors.items():
        if data.ndim == 2 and kind is not gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    _save(writer)
    return Path(str(writer.path))


def _save(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
