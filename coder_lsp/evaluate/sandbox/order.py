"""What the supervisor is told to do, as it crosses to its process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from coder_lsp.evaluate.sandbox.limits import Limits

BOX = "/box"
"""The program's folder where it has a file system of its own; elsewhere it is a temporary folder."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
NOBODY = 65534


@dataclass(frozen=True)
class Means:
    """What this system lets the sandbox use; ``why_no_namespaces`` is empty where it has them.

    ``landlock`` is its version. It is for systems without namespaces, where it does the file system's part.
    """

    namespaces: bool = False
    seccomp: bool = False
    landlock: int = 0
    why_no_namespaces: str = ""


@dataclass(frozen=True)
class Order:
    """One run. ``readable`` are pairs of a path and what it really is; ``groups`` files that a cgroup is joined by.

    ``existing`` are the threads that the user has already, where the system counts them along. ``uid`` is who the
    program runs as, None for who asks; ``keep`` a capability that it then needs to read what root alone may.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    files: dict[str, str] = field(repr=False)
    stdin: str = field(repr=False)
    limits: Limits
    means: Means
    readable: tuple[tuple[str, str], ...]
    folder: str
    groups: tuple[str, ...] = ()
    memory_group: bool = False
    existing: int = 0
    uid: int | None = None
    keep: int | None = None

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Order:
        row: dict[str, Any] = json.loads(text)
        row["limits"], row["means"] = Limits(**row["limits"]), Means(**row["means"])
        row["command"], row["groups"] = tuple(row["command"]), tuple(row["groups"])
        row["readable"] = tuple((path, real) for path, real in row["readable"])
        return cls(**row)
