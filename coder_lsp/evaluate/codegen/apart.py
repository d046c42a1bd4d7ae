"""Runs a model apart: ``python -m coder_lsp.evaluate.codegen.apart``.

Lines of JSON: the first on stdin says what to load (``generator.Job``), each further one what to write; an answer a
line on stdout, ``{}`` for the first. An error that is ours is answered, with its hint. Ends when stdin does.

An instruction is written in the format the model's vocabulary tells: ChatML where it has its tokens (Qwen), else
DeepSeek-Coder's. Text is tokenised with special tokens off.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from coder_lsp.engine.base import Engine, Vocabulary
    from coder_lsp.prompt.templates import BoundTemplate


def main() -> int:
    """Answer until stdin ends; returns the exit status."""
    # Libraries may print: what is ours goes to the old stdout alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    engine: Engine | None = None
    try:
        engine, template = _load(json.loads(sys.stdin.readline()))
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(engine, template, json.loads(line))), file=answers, flush=True)
    except CoderLspError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}), file=answers, flush=True)
        return 1
    finally:
        if engine is not None:
            engine.close()
    return 0


def _load(job: dict[str, Any]) -> tuple[Engine, BoundTemplate]:
    from coder_lsp.engine.base import EngineOptions
    from coder_lsp.engine.llama import LlamaEngine
    from coder_lsp.prompt.templates import bind
    from coder_lsp.types import Adapter

    options = EngineOptions(
        context_tokens=job["context_tokens"], sequences=1, threads=job["threads"], kv_type=job["kv_type"]
    )
    engine = LlamaEngine.load(Path(job["path"]), options)
    if job["adapters"]:
        engine.adapt([Adapter(**adapter) for adapter in job["adapters"]])
    return engine, bind(engine, job["template"], engine.info.architecture)


def _answer(engine: Engine, template: BoundTemplate, asked: dict[str, Any]) -> dict[str, Any]:
    from coder_lsp.engine.base import GenerateRequest
    from coder_lsp.prompt.chat import chat_format

    stops = template.stop_tokens | chat_format(engine).stop_tokens
    if asked["chat"]:
        tokens = instruction(engine, asked["prompt"])
    else:
        tokens = [*_beginning(engine), *engine.tokenize(asked["prompt"])]
    room = engine.options.context_tokens - asked["max_tokens"] - 1
    # The end of a prompt is what is to be continued; what comes first are worked examples.
    cut = max(0, len(tokens) - room)
    began = time.perf_counter()
    done = engine.generate(
        GenerateRequest(
            tokens=tokens[cut:], max_tokens=asked["max_tokens"], stop=tuple(asked["stop"]), stop_tokens=stops
        )
    )
    return {
        "text": done.text,
        "tokens": len(done.token_ids),
        "prompt_tokens": len(tokens) - cut,
        "prompt_cut": cut,
        "ms": round((time.perf_counter() - began) * 1000, 1),
    }


def instruction(vocabulary: Vocabulary, text: str) -> list[int]:
    """An instruction with all around it, up to where the answer begins, as those who publish figures write it."""
    from coder_lsp.prompt.chat import chat_format, conversation

    has_chat_tokens = chat_format(vocabulary).start is not None
    return conversation(vocabulary, chat_format(vocabulary, "qwen" if has_chat_tokens else "deepseek"), [text])


def _beginning(vocabulary: Vocabulary) -> list[int]:
    return [] if vocabulary.bos is None else [vocabulary.bos]


if __name__ == "__main__":
    sys.exit(main())
