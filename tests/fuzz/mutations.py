"""Real bytes, a little wrong: what a bad disk, a cut transfer or an attacker makes of a file.

An input is a list of changes, not the bytes, so that a kept crash is short and says what was done. Places are numbers
taken modulo the length, so that every change fits every file.
"""

from __future__ import annotations

from hypothesis import strategies as st

_LARGE = st.sampled_from(
    [b"\x00", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x80" + b"\x00" * 7, b"\x00" * 7 + b"\x80"]
)
"""Where a number stands: nothing, the most, the least."""


def changes(*, most: int = 6, within: int = 1 << 20) -> st.SearchStrategy[list[tuple[object, ...]]]:
    """Up to ``most`` changes, the places below ``within`` (a file's head, where its structure is)."""
    places = st.integers(0, within)
    lengths = st.integers(1, 64) | st.integers(1, 1 << 16)
    return st.lists(
        st.one_of(
            st.tuples(st.just("flip"), places, st.integers(0, 7)),
            st.tuples(st.just("set"), places, _LARGE | st.binary(min_size=1, max_size=8)),
            st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=16)),
            st.tuples(st.just("delete"), places, lengths),
            st.tuples(st.just("copy"), places, places, lengths),
            st.tuples(st.just("cut"), places),
        ),
        min_size=1,
        max_size=most,
    )


def changed(data: bytes, wanted: list[tuple[object, ...]]) -> bytes:
    """``data`` after the changes, one after the other."""
    now = bytearray(data)
    for kind, place, *rest in wanted:
        at = place % (len(now) + 1)
        if kind == "flip" and at < len(now):
            now[at] ^= 1 << rest[0]
        elif kind == "set":
            now[at : at + len(rest[0])] = rest[0]
        elif kind == "insert":
            now[at:at] = rest[0]
        elif kind == "delete":
            del now[at : at + rest[0]]
        elif kind == "copy":
            source = rest[0] % (len(now) + 1)
            now[at:at] = now[source : source + rest[1]]
        elif kind == "cut":
            del now[at:]
    return bytes(now)
