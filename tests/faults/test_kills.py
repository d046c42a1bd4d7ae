"""A short campaign of kills; ``scripts/faults`` has a long one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from faults.kills import campaign


async def test_ten_kills_at_random_moments_leave_nothing_wrong():
    # Short: the path of the host's socket depends on it.
    with tempfile.TemporaryDirectory(prefix="clf-", ignore_cleanup_errors=True) as folder:
        tally = await campaign(Path(folder), kills=10, seed=1, compare_each=5)
    assert tally.wrong == []
    assert tally.kills.total() == 10
    assert set(tally.kills) == {"host", "front"}
    assert tally.requests > 100
    assert tally.compared == 3
