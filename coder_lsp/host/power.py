"""Whether work may be done ahead now: by the settings, and by whether the computer runs on its battery."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.config import IdleConfig

LOOK_SECONDS = 30.0
"""How long an answer of the system holds: asking takes milliseconds on some."""


class Power:
    """Asks the system now and then. ``on_battery`` and ``clock`` are for tests."""

    def __init__(
        self,
        idle: IdleConfig,
        *,
        on_battery: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle = idle
        self._on_battery = on_battery or runs_on_battery
        self._clock = clock
        self._looked: float | None = None
        self._battery = False

    def allows_work_ahead(self) -> bool:
        if not self._idle.enabled:
            return False
        if self._idle.on_battery:
            return True
        now = self._clock()
        if self._looked is None or now - self._looked >= LOOK_SECONDS:
            self._looked, self._battery = now, self._on_battery()
        return not self._battery


def runs_on_battery() -> bool:
    """False where there is none, or the system does not say."""
    import psutil

    try:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, RuntimeError, ValueError):  # odd entries of power supplies
        return False
    return battery is not None and battery.power_plugged is False
