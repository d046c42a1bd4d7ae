"""How quick a model was on this machine as it was used: tokens written a second, for those who choose between models.

One small file a model in the state folder, written by the host that serves it, every so often and at its end. It is
good for one model file and one processor (``engine.tuned.key``); anything damaged is as if there was nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import deque
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from coder_lsp import paths
from coder_lsp.engine import tuned

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_TOKENS = 4
"""What was written in fewer tokens was over before it could be timed."""
_ANSWERS = 64
"""The newest ones count: by day a laptop is slower than on its charger at night."""
_SAVED_AFTER = 32


class Speed:
    """What the answers of one host tell of its model. Never raises for what a disk can do."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._answers: deque[float] = deque(maxlen=_ANSWERS)
        self._unsaved = 0
        self._saved = False

    def note(self, tokens: int, decode_ms: float) -> None:
        """So many tokens were written in so long."""
        if tokens < _LEAST_TOKENS or decode_ms <= 0:
            return
        self._answers.append(1000 * tokens / decode_ms)
        self._unsaved += 1
        # The first at once: who has just installed this compares the models now.
        if not self._saved or self._unsaved >= _SAVED_AFTER:
            self.save()

    def save(self) -> None:
        if not self._unsaved:
            return
        self._unsaved, self._saved = 0, True
        with contextlib.suppress(OSError):
            path = _path(self._model)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            with os.fdopen(handle, "w") as stream:
                json.dump({"decode_tokens_per_s": round(median(self._answers), 1)}, stream)
            Path(name).replace(path)


def recall(model: Path) -> float | None:
    """Tokens a second that a model file wrote here; None if it was not used yet."""
    try:
        speed = json.loads(_path(model).read_bytes())["decode_tokens_per_s"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(speed) if isinstance(speed, (int, float)) and speed > 0 else None


def estimate(size: int, known: Iterable[tuple[int, float]]) -> float | None:
    """Tokens a second that a file of ``size`` bytes should write, from (bytes, tokens a second) of others.

    A processor reads all weights for every token, so the time of a token grows with the file: of the one that is
    nearest in size, half of it twice the speed. None if nothing is known.
    """
    nearest = min(known, key=lambda other: max(other[0], size) / max(1, min(other[0], size)), default=None)
    return None if nearest is None else round(nearest[1] * nearest[0] / max(1, size), 1)


def _path(model: Path) -> Path:
    """:raises OSError: there is no such model."""
    digest = hashlib.blake2b(tuned.key(model).encode(), digest_size=8).hexdigest()
    return paths.state_dir() / "speeds" / f"{digest}.json"
