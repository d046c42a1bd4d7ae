"""Tiny models, written once a session, and engines on them, closed after each test."""

from __future__ import annotations

import dataclasses

import pytest
from support import tiny_gguf

from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.llama import LlamaEngine

# One thread: a tiny model's steps are shorter than waking a second one. A cache in single precision: what is the same
# by arithmetic then is the same in every bit that decides between two tokens.
OPTIONS = EngineOptions(context_tokens=512, sequences=2, threads=1, kv_type="f32")


class Models:
    """Writes tiny models on demand, each once."""

    def __init__(self, folder):
        self.folder = folder

    def _once(self, name, write):
        path = self.folder / f"{name}.gguf"
        if not path.exists():
            write(path)
        return path

    @property
    def random(self):
        return self._once("random", tiny_gguf.write_random)

    @property
    def ascii(self):
        """The same, and what it says is text."""
        return self._once("ascii", lambda path: tiny_gguf.write_random(path, ascii_only=True))

    @property
    def spm(self):
        return self._once("spm", lambda path: tiny_gguf.write_random(path, tiny_gguf.spm_tokens()))

    @property
    def plain(self):
        """Without any FIM token."""
        tokens = tiny_gguf.bpe_tokens(control=("<|endoftext|>",))
        return self._once("plain", lambda path: tiny_gguf.write_random(path, tokens))

    @property
    def unusual(self):
        """FIM tokens of a spelling that no family has; the file says which is which."""
        control = ("<|endoftext|>", "<|before|>", "<|after|>", "<|between|>")
        fim = {"pre": "<|before|>", "suf": "<|after|>", "mid": "<|between|>"}
        tokens = dataclasses.replace(tiny_gguf.bpe_tokens(control=control), fim=fim)
        return self._once("unusual", lambda path: tiny_gguf.write_random(path, tokens, ascii_only=True))

    @property
    def headless(self):
        """Without a token for any byte."""
        tokens = tiny_gguf.Tokens("gpt2", ["<|endoftext|>", "<|other|>"], [3, 3], merges=["a b"], eos=0)
        return self._once("headless", lambda path: tiny_gguf.write_random(path, tokens))

    @property
    def user_defined(self):
        """FIM tokens that the file declares as user-defined, not as control tokens."""
        tokens = tiny_gguf.bpe_tokens(control=("<|endoftext|>",), user_defined=("<fill>", "[SUFFIX]", "<td>", "    "))
        return self._once("user_defined", lambda path: tiny_gguf.write_random(path, tokens))

    @property
    def spm_user_defined(self):
        tokens = tiny_gguf.spm_tokens(user_defined=("<fill>", "<td>"))
        return self._once("spm_user_defined", lambda path: tiny_gguf.write_random(path, tokens))

    @property
    def recurrent(self):
        return self._once("recurrent", tiny_gguf.write_recurrent)

    @property
    def slow(self):
        """Large enough that a prompt of 1000 tokens takes some hundred milliseconds."""
        shape = tiny_gguf.Shape(width=384, layers=4, heads=6, kv_heads=6, inner=1024, context=2048)
        return self._once("slow", lambda path: tiny_gguf.write_random(path, shape=shape))

    @property
    def lora(self):
        return self._once("lora", tiny_gguf.write_lora)

    def other_lora(self, seed):
        """One more adapter for :attr:`random`."""
        return self._once(f"lora{seed}", lambda path: tiny_gguf.write_lora(path, seed=seed))

    def chain(self, *pieces, loop=False):
        """Says ``pieces`` after ``<|fim_middle|>``, one token each."""
        name = f"chain-{b'-'.join(pieces).hex()[:150]}-{loop}"
        return self._once(name, lambda path: tiny_gguf.write_chain(path, list(pieces), loop=loop))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def load():
    """``load(path, **options)``: an engine that is closed when the test ends."""
    engines = []

    def load(path, options=OPTIONS, **changes):
        engine = LlamaEngine.load(path, EngineOptions(**{**vars(options), **changes}))
        engines.append(engine)
        return engine

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(load, models):
    return load(models.random)


@pytest.fixture
def load_torch():
    """The same with torch, on the processor."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    engines = []

    def load(path, **changes):
        options = EngineOptions(context_tokens=256, sequences=2, device="cpu", kv_type="f32")
        engine = TorchEngine.load(path, EngineOptions(**{**vars(options), **changes}))
        engines.append(engine)
        return engine

    yield load
    for engine in engines:
        engine.close()
