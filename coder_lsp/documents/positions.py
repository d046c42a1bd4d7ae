"""The arithmetic between a client's position units and code points, within one line.

An LSP client counts a line's characters in UTF-8 bytes, UTF-16 units or code points, as agreed in ``initialize``.
Nothing here knows documents or the protocol's types.
"""

from __future__ import annotations

import enum

_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_LAST_OF_ONE_UNIT = "\uffff"
"""Above it a code point takes two UTF-16 units."""


class Encoding(str, enum.Enum):
    """Unit of the client's columns (LSP ``PositionEncodingKind``)."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


def code_points_before(line: str, units: int, encoding: Encoding) -> int:
    """How many code points of ``line`` lie before the column ``units``.

    Beyond the line it is the line's length; inside a code point (between two surrogates, inside a UTF-8 sequence) it
    is that code point's start. Negative counts as zero.

    >>> code_points_before("x😀y", 3, Encoding.UTF16), code_points_before("x😀y", 2, Encoding.UTF16)
    (2, 1)
    """
    units = max(units, 0)
    if encoding is Encoding.UTF32 or line.isascii():
        return min(units, len(line))
    if encoding is Encoding.UTF8:
        data = line.encode()
        head = data[:units]
        inside = units < len(data) and data[units] in _CONTINUATION_BYTES
        return len(head.translate(None, _CONTINUATION_BYTES)) - inside
    if max(line) <= _LAST_OF_ONE_UNIT:
        return min(units, len(line))
    # "ignore" drops the first half of a pair that the column cuts.
    return len(line.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore"))


def units_of(text: str, encoding: Encoding) -> int:
    """The length of ``text`` in the client's units.

    >>> [units_of("x😀", encoding) for encoding in Encoding]
    [5, 3, 2]
    """
    if encoding is Encoding.UTF32 or text.isascii():
        return len(text)
    if encoding is Encoding.UTF8:
        return len(text.encode())
    return len(text.encode("utf-16-le")) // 2
