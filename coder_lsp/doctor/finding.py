"""What a check finds, and how a check that itself fails becomes a finding.

Every problem carries its fix: a finding that is not all right and says nothing about what to do is a mistake, and is
refused. Bottom of ``doctor``; knows no check.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from coder_lsp.errors import CoderLspError


class Status(str, enum.Enum):
    """Values are what ``--json`` prints."""

    OK = "ok"
    WARN = "warn"
    """Works, but worse than it could."""
    FAIL = "fail"
    """Does not work."""


@dataclass(frozen=True)
class Finding:
    """What is the case with ``name``; ``fix`` is what the user can do about it."""

    name: str
    status: Status
    detail: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.status is not Status.OK and not self.fix:
            raise ValueError(f"the finding {self.name!r} is {self.status.value} and has no fix")


Check = Callable[[], Iterable[Finding]]


def ok(name: str, detail: str) -> Finding:
    return Finding(name, Status.OK, detail)


def warn(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Status.WARN, detail, fix)


def fail(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Status.FAIL, detail, fix)


def run(name: str, check: Check) -> Iterator[Finding]:
    """The findings of a check as they come; an error that it does not catch ends it as a failure under ``name``."""
    try:
        yield from check()
    except CoderLspError as error:
        yield fail(name, error.message, error.hint or REPORT)
    except Exception as error:  # noqa: BLE001  (a check that breaks must not hide what the others find)
        yield fail(name, f"the check itself failed: {type(error).__name__}: {error}", REPORT)


REPORT = "Please report this together with the output of `coder-lsp doctor --json`."
"""The fix for what should not be possible."""
