"""``scripts/fuzz``: long campaigns with a random seed, and a table of what they came to."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from fuzz import targets
from fuzz.engine import TARGETS, Outcome, Target, keep, run

_MOST_CRASHES = 5
"""Of one target in one run: after that many it has had its say."""
_SAID_CHARACTERS = 300


def campaign(aim: Target, seconds: float, seed: int) -> tuple[Outcome, list[Path]]:
    """Rounds with a seed of their own each, until the time is over."""
    total, kept, number = Outcome(), [], 0
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and len(kept) < _MOST_CRASHES:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            # A home of its own: nothing of the user's is read or written.
            home = Path(folder) / "home"
            home.mkdir()
            os.environ["CODER_LSP_HOME"] = str(home)
            work = Path(folder) / "work"
            work.mkdir()
            round_of = run(aim, work, inputs=aim.round_inputs, seed=seed + number, seconds=left)
        total.inputs += round_of.inputs
        total.seconds += round_of.seconds
        number += 1
        if round_of.error is not None and (file := keep(aim, round_of)) not in kept:
            kept.append(file)
            said = f"{type(round_of.error).__name__}: {round_of.error}"[:_SAID_CHARACTERS]
            print(f"  {aim.name}: {said}, kept as {file}", file=sys.stderr, flush=True)
    return total, kept


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(sorted(TARGETS))} [all]")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target [1]")
    parser.add_argument("--seed", type=int, help="to have the same inputs again [random]")
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    print("| target | inputs | seconds | crashes |\n|---|---:|---:|---:|", flush=True)
    found = 0
    for name in given.targets or sorted(TARGETS):
        total, kept = campaign(TARGETS[name], 60 * given.minutes, seed)
        found += len(kept)
        print(f"| {name} | {total.inputs:,} | {total.seconds:.0f} | {len(kept)} |", flush=True)
    return 1 if found else 0


assert targets
sys.exit(main())
