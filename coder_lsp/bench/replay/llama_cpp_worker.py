"""Completes with llama-cpp-python's ``create_completion``, one line of JSON in, one out.

Arguments: model file, threads, seed. A request has ``prompt``, ``suffix`` and ``max_tokens``; an answer ``text`` and
what llama.cpp counted. Ends when stdin does. Imports nothing of ours.

``create_completion`` has a parameter ``suffix``, which in llama-cpp-python 0.3 puts token 0 where the control tokens
belong; so the prompt is composed here, out of the tokens llama.cpp knows as the model's, as plugins do.
"""

from __future__ import annotations

import json
import sys
from typing import Any

CONTEXT_TOKENS = 4096


def work(path: str, threads: int, seed: int) -> None:
    """Answer until stdin ends."""
    import llama_cpp

    model = llama_cpp.Llama(
        path, n_ctx=CONTEXT_TOKENS, n_threads=threads, n_threads_batch=threads, seed=seed, verbose=False
    )
    _say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        tokens = fim_tokens(model, request["prompt"], request["suffix"])
        before = llama_cpp.llama_perf_context(model.ctx)
        answer: Any = model.create_completion(tokens, max_tokens=request["max_tokens"], temperature=0.0)
        after = llama_cpp.llama_perf_context(model.ctx)
        generated = answer["usage"]["completion_tokens"]
        passed = after.n_p_eval + after.n_eval - before.n_p_eval - before.n_eval
        # The last token that was generated is not evaluated.
        evaluated = max(1, passed - max(0, generated - 1))
        _say({"text": answer["choices"][0]["text"], "evaluated": evaluated, "generated": generated})


def fim_tokens(model: Any, prefix: str, suffix: str) -> list[int]:
    """Prefix, suffix, middle; the prefix alone for a model without such tokens."""
    import llama_cpp

    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    before, between, behind = (
        ask(vocabulary)
        for ask in (llama_cpp.llama_vocab_fim_pre, llama_cpp.llama_vocab_fim_suf, llama_cpp.llama_vocab_fim_mid)
    )
    head, tail = (model.tokenize(text.encode(), add_bos=False, special=False) for text in (prefix, suffix))
    return [before, *head, between, *tail, behind] if min(before, between, behind) >= 0 else list(head)


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
