"""One suggestion that was on screen and what became of it. Numbers and a few fixed words: no text, no path, no URI."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fate(str, enum.Enum):
    """What became of a suggestion."""

    ACCEPTED = "accepted"
    """In whole or in part."""
    REJECTED = "rejected"
    """Refused, taken back at once, or written over after there was time to read it."""
    IGNORED = "ignored"
    """Written over before anyone can have read it, or left behind with its document. Says nothing about it."""
    TYPED = "typed"
    """The user wrote the same himself: right, and not needed."""


@dataclass(frozen=True)
class Shown:
    """``key`` is a random number; a later value with the same key replaces an earlier one.

    Characters are code points. ``at`` is the time in whole steps of :data:`TIME_STEP_S`.
    """

    key: int
    at: int
    language: str
    shape: str
    source: str
    automatic: bool
    fate: Fate
    accepted_characters: int = 0
    reported: bool = False
    """The client said so; else it follows from how the document changed."""
    shown_ms: float = 0.0
    latency_ms: float = 0.0
    """From the request to its answer."""
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    characters: int = 0
    lines: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    evaluated_tokens: int = 0
    generated_tokens: int = 0
    features: tuple[float, ...] = ()
    """``completion.show_filter.ShowFeatures.values()``, empty where nobody judged."""
    weight: float = 1.0


TIME_STEP_S = 600
"""Times are rounded down to it: enough for a report by days, too coarse to say who typed when."""
