"""Where messages begin in a stream of bytes, for pygls' loop, also behind bytes that are none.

pygls takes a header only if it stands alone on its line, spelled as in the specification. One wrong length or one
missing header glues a body to the header behind it, that message is not seen, so its body is glued to the next one, and
the session is deaf to its end. Here a header counts wherever its line ends, so that what is wrong costs the messages it
is in. Bytes that were passed over are counted in the log and never quoted.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1 << 28
"""Five times the largest document that VS Code opens for extensions. A greater length is a mistake: who waited for so
much would not answer again."""

_LENGTH = re.compile(rb"(?P<before>.*?)content-length[ \t]*:[ \t]*(?P<bytes>\d+)[ \t]*\r?\n", re.IGNORECASE | re.DOTALL)
_OTHER_HEADER = re.compile(rb"[\w-]+[ \t]*:[^{}]*\r?\n", re.ASCII)
_MOST_DIGITS = 10


class FrameReader:
    """``stream`` as :func:`pygls.io_.run_async` reads one: a header line, an empty line, a body, and so on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._blank_is_due = False
        """The line with the length was given; the empty one behind it is what the loop asks for next."""

    async def readline(self) -> bytes:
        """``Content-Length: N``, then an empty line; what else there is between two messages is left out."""
        if self._blank_is_due:
            self._blank_is_due = False
            return b"\r\n"
        passed_over, digits = 0, b""
        while True:
            try:
                line: bytes = await self._stream.readline()
            except ValueError:
                # asyncio's, for a line that does not fit its buffer, which is empty now.
                passed_over, digits = passed_over + 1, b""
                continue
            if not line:
                return line
            if digits and not line.strip():
                break
            header = _LENGTH.fullmatch(line)
            if header is not None:
                # Of two the later one: before it there is what is left of another message.
                digits = header["bytes"].lstrip(b"0")
                if len(digits) > _MOST_DIGITS or int(digits or b"0") > MAX_MESSAGE_BYTES:
                    digits = b""
                passed_over += len(header["before"]) + (0 if digits else len(line) - len(header["before"]))
            elif not _OTHER_HEADER.fullmatch(line):
                passed_over += len(line.strip())
        if passed_over:
            logger.warning("no messages, passed over: %d bytes or more", passed_over)
        self._blank_is_due = True
        return b"Content-Length: %b\r\n" % digits

    def readexactly(self, n: int) -> Awaitable[bytes]:
        return cast("Awaitable[bytes]", self._stream.readexactly(n))
