"""The real model says the same with guessed tokens as without, on real code cut anywhere.

A few prompts here; ``coder-lsp bench draft FOLDER --prompts 500`` asks as many as wanted.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coder_lsp.bench.drafting import measure_drafting
from coder_lsp.config import DEFAULT_MODEL


@pytest.mark.timeout(300)
def test_answers_are_the_same_with_and_without_guesses(real_home):
    """Tokens, runners-up and every bit of their logprobs. Guesses are made wherever something can be guessed."""
    (model,) = (real_home / "data" / "models" / DEFAULT_MODEL).glob("*.gguf")
    measured = measure_drafting(model, [Path(asyncio.__file__).parent], prompts=6, new_tokens=24)
    assert measured["prompts"] == 6
    assert measured["diverged"] == 0, measured["diverged_at"]
    assert measured["eager"]["accepted"] > 0
