"""``scripts/faults``: a long campaign of kills, and a table of what it came to."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from faults.kills import Tally, campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="[200]")
    parser.add_argument("--seed", type=int, help="to have the same choices again [random]")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)

    told = 0

    def note(tally: Tally) -> None:
        nonlocal told
        for line in tally.wrong[told:]:
            print(f"\r{line}", file=sys.stderr)
        told = len(tally.wrong)
        print(f"\r{tally.kills.total()} of {given.kills}, {told} wrong ", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="clf-", ignore_cleanup_errors=True) as folder:
        tally = asyncio.run(campaign(Path(folder), given.kills, seed, note=note))
    print(file=sys.stderr)
    print(json.dumps(asdict(tally), indent=2))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
