"""Campaigns of random inputs: one engine for all targets, in the test suite and for as long as somebody lets it run.

A target is a name, a strategy that makes inputs, and a function that sets something real up and yields ``check``, which
raises where an input does harm. The suite tries a short share of each with a fixed seed; ``scripts/fuzz`` tries random
ones. Orders of events are lists of steps: a strategy like any other, and hypothesis makes failing ones short.

Inputs are plain values (``repr`` writes them, ``ast.literal_eval`` reads them back), so a crash is kept as a small file
under ``crashes/TARGET``, and stays a test for ever, whatever becomes of the strategy.
"""

from __future__ import annotations

import ast
import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

CRASHES = Path(__file__).parent / "crashes"

_SHORTEN_SECONDS = 30.0
"""So long a crash is made shorter. One that shows by silence takes seconds a try."""

Check = Callable[[Any], None]
"""Gets one input; raises where the code under test does what it must not."""
Setup = Callable[[Path], AbstractContextManager[Check]]
"""Gets an empty folder; sets up once what all inputs of a campaign are tried on."""


@dataclass(frozen=True)
class Target:
    """``share`` is how many inputs the suite tries; ``round_inputs`` how many a campaign does between two setups."""

    name: str
    inputs: SearchStrategy[Any]
    setup: Setup
    share: int
    round_inputs: int

    @property
    def crashes(self) -> list[Path]:
        """Inputs that once did harm."""
        return sorted((CRASHES / self.name).glob("*.txt"))


@dataclass
class Outcome:
    """What a run came to; ``crash`` is the shortest input that does harm, ``error`` what it raises."""

    inputs: int = 0
    seconds: float = 0.0
    crash: Any = None
    error: BaseException | None = field(default=None, repr=False)


TARGETS: dict[str, Target] = {}


def target(
    name: str, inputs: SearchStrategy[Any], *, share: int, round_inputs: int = 1000
) -> Callable[[Callable[[Path], Iterator[Check]]], Setup]:
    """Makes a target of a function that sets up, yields its check, and cleans up."""

    def register(function: Callable[[Path], Iterator[Check]]) -> Setup:
        setup = contextmanager(function)
        TARGETS[name] = Target(name, inputs, setup, share, round_inputs)
        return setup

    return register


def run(aim: Target, folder: Path, *, inputs: int, seed: int, seconds: float = float("inf")) -> Outcome:
    """Try random inputs until one does harm, ``inputs`` were tried or ``seconds`` are over."""
    outcome = Outcome()
    began = time.monotonic()
    enough = float("inf")

    with aim.setup(folder) as check:

        @hypothesis.seed(seed)
        @settings(
            max_examples=inputs,
            database=None,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(aim.inputs)
        def tried(value: Any) -> None:
            nonlocal enough
            if outcome.error is None and time.monotonic() - began > seconds:
                return
            if outcome.error is not None and time.monotonic() > enough:
                # As short as it got: what is shorter counts as harmless, so that hypothesis stops.
                if value == outcome.crash:
                    raise outcome.error
                return
            outcome.inputs += 1
            try:
                check(value)
            except Exception as error:
                if outcome.error is None:
                    enough = time.monotonic() + _SHORTEN_SECONDS
                outcome.crash, outcome.error = value, error
                raise

        try:
            tried()
        except Exception as error:
            if outcome.error is None:
                raise  # of hypothesis, or of the strategy
            outcome.error = error
    outcome.seconds = time.monotonic() - began
    return outcome


def replay(aim: Target, folder: Path, file: Path) -> None:
    """Try a crash that was kept once more; raises if it still is one."""
    with aim.setup(folder) as check:
        check(read(file))


def read(file: Path) -> Any:
    """The input in a file; what begins with ``#`` says what it was."""
    return ast.literal_eval(file.read_text(encoding="utf-8"))


def keep(aim: Target, outcome: Outcome) -> Path:
    """Write a crash into its file."""
    text = repr(outcome.crash)
    assert ast.literal_eval(text) == outcome.crash, "a strategy makes what repr cannot write"
    assert outcome.error is not None
    said = f"{type(outcome.error).__name__} in {traceback.extract_tb(outcome.error.__traceback__)[-1].name}"
    file = CRASHES / aim.name / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# {said}\n{text}\n", encoding="utf-8")
    return file
