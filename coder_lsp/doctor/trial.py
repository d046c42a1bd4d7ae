"""One real completion, timed, through the same path as an editor's request: the proof that everything fits together."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from coder_lsp.doctor.finding import fail, ok, warn
from coder_lsp.types import CompletionRequest, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.config import Config
    from coder_lsp.doctor.finding import Finding
    from coder_lsp.types import CompletionOutcome

TRIAL_SECONDS = 300.0
"""Loading a big model from a cold disk takes minutes; more than this is broken."""

SLOW_MS = 3000.0
"""A suggestion that takes longer comes when nobody waits for it any more."""

_BEFORE = (
    'def celsius_to_fahrenheit(celsius: float) -> float:\n    """The same temperature in Fahrenheit."""\n    return '
)
_AFTER = "\n\n\ndef fahrenheit_to_celsius(fahrenheit: float) -> float:\n    return (fahrenheit - 32) * 5 / 9\n"


def check_completion(config: Config) -> Iterator[Finding]:
    """Which engine runs, how long the model took to be ready, and how long a line took then."""
    outcome, ready_seconds, request_ms = asyncio.run(_complete(config))
    result = outcome.result
    if result is None:
        yield fail(
            "completion",
            f"no answer from the model: {outcome.reason or 'no reason given'}",
            "See the log in the state folder, or run `coder-lsp complete` on a file of yours.",
        )
        return
    yield ok("engine", f"{result.engine}, serving {result.model}")
    tokens = result.tokens
    detail = (
        f"one line in {request_ms:.0f} ms, after {ready_seconds:.1f} s until the model was ready; "
        f"{tokens.evaluated} prompt tokens read, {tokens.generated} written ({result.finish_reason.value})"
    )
    if not outcome.suggestions:
        yield warn(
            "completion",
            f"{detail}; but nothing to suggest ({outcome.reason or 'empty'})",
            "Try `coder-lsp demo`; if it shows nothing either, choose another model: coder-lsp models list",
        )
    elif request_ms > SLOW_MS:
        yield warn(
            "completion",
            detail,
            "Choose a smaller model (coder-lsp models list), or give the process more processor cores.",
        )
    else:
        yield ok("completion", detail)


async def _complete(config: Config) -> tuple[CompletionOutcome, float, float]:
    """The outcome of the second of two requests at different places, how long the first took, and the second.

    The first one waits for the host and its model.
    """
    from coder_lsp.app import open_session

    # One answer is timed, not several.
    config = replace(config, completion=replace(config.completion, alternatives=1))
    began = time.perf_counter()
    async with open_session(config) as service:
        await asyncio.wait_for(service.complete(_request("warm-up", "x = ", "\n")), TRIAL_SECONDS)
        ready = time.perf_counter()
        outcome = await asyncio.wait_for(service.complete(_request("trial", _BEFORE, _AFTER)), TRIAL_SECONDS)
        done = time.perf_counter()
    return outcome, ready - began, (done - ready) * 1000


def _request(name: str, before: str, after: str) -> CompletionRequest:
    return CompletionRequest(
        uri=f"untitled:coder-lsp-doctor-{name}.py",
        text=before + after,
        cursor=len(before),
        language="python",
        path=f"{name}.py",
        trigger=Trigger.INVOKED,
        max_tokens=32,
    )
