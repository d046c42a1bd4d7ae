"""The real model says the same with guessed tokens as without, on real code cut anywhere.

A few places by default. All that was claimed: ``CODER_LSP_DRAFTING_PLACES=500 pytest tests/e2e/test_drafting.py``, an
hour on two cores.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from coder_lsp.config import DEFAULT_MODEL, PromptConfig
from coder_lsp.engine import _native
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind
from coder_lsp.types import FimRequest

PLACES = int(os.environ.get("CODER_LSP_DRAFTING_PLACES", "3"))
STANDARD_LIBRARY = Path(asyncio.__file__).parents[1]
NEW_TOKENS = 32


@pytest.fixture
def engine(real_home):
    (path,) = (real_home / "data" / "models" / DEFAULT_MODEL).glob("*.gguf")
    engine = LlamaEngine.load(path, EngineOptions(sequences=1))
    yield engine
    engine.close()


def places(count):
    """Texts before and behind gaps of some lines in modules of the standard library, cut at random characters."""
    choose = random.Random(11)
    files = [path for path in sorted(STANDARD_LIBRARY.rglob("*.py")) if "test" not in str(path)]
    while count > 0:
        text = choose.choice(files).read_text(encoding="utf-8", errors="replace")
        if not 4000 < len(text) < 200_000:
            continue
        cursor = choose.randrange(1500, len(text) - 1500)
        gap_end = cursor
        for _ in range(choose.choice([1, 1, 4, 12])):
            gap_end = text.find("\n", gap_end) + 1 or len(text)
        yield text[:cursor], text[gap_end:]
        count -= 1


@pytest.mark.timeout(120 + 60 * PLACES)
def test_greedy_is_the_same_with_and_without_guesses(engine):
    """Tokens, and every bit of their logprobs. Guesses are made wherever something can be guessed."""
    template = bind(engine, None, engine.info.architecture)
    session = engine.session
    accepted = passes = generated = 0
    for number, (prefix, suffix) in enumerate(places(PLACES)):
        # Every third prompt is longer than the 256 cells from which on other kernels run.
        config = PromptConfig(prefix_tokens=400 if number % 3 == 2 else 120, suffix_tokens=64)
        builder = PromptBuilder(engine, template, config, engine.options.context_tokens)
        prompt = builder.build(FimRequest(document=str(number), prefix=prefix, suffix=suffix, max_tokens=NEW_TOKENS))
        engine.prefill(prompt.tokens[:-1])
        outcomes = []
        for draft in (False, True):
            request = _native.Request()
            request.tokens, request.forced, request.max_tokens = list(prompt.tokens), prompt.forced, NEW_TOKENS
            request.stop_tokens = list(prompt.stop_tokens)
            request.draft = request.draft_eagerly = draft
            outcomes.append(session.generate(request))
        plain, drafted = outcomes
        assert (drafted.token_ids, drafted.logprobs) == (plain.token_ids, plain.logprobs)
        assert (drafted.text, drafted.finish, drafted.runners_up) == (plain.text, plain.finish, plain.runners_up)
        accepted += drafted.accepted
        passes += drafted.passes
        generated += len(drafted.token_ids)
    print(f"\n{PLACES} places, {generated} tokens, {accepted} guessed right, {passes} passes")
    assert accepted > 0
