"""What comes with a command, read with care, and its refusal in the protocol's words.

Arguments come from keymaps and plugins, so a wrong one is refused with what would be right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from coder_lsp.server.status import in_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.errors import CoderLspError

_REQUEST_FAILED = lsp.LSPErrorCodes.RequestFailed.value


def one(what: str, arguments: Sequence[Any]) -> str | None:
    """The only argument, or None without one; also as ``null`` and as the empty text.

    :raises JsonRpcInvalidParams: there are several, or it is no text.
    """
    if len(arguments) > 1:
        raise JsonRpcInvalidParams(f"at most one argument is taken, the {what}; got {len(arguments)}")
    argument = arguments[0] if arguments else None
    if argument is not None and not isinstance(argument, str):
        raise JsonRpcInvalidParams(f"the {what} must be text, not {type(argument).__name__}")
    return argument or None


def value_of(given: Any, *names: str) -> Any:
    """What an object holds under the names, one inside the other; None where there is none. pygls reads objects as
    dicts in one place and as attributes in another.
    """
    for name in names:
        given = given.get(name) if isinstance(given, dict) else getattr(given, name, None)
    return given


def refused(error: CoderLspError) -> JsonRpcException:
    """A failure as the answer to a command, which the editor shows."""
    return JsonRpcException(in_one_line(str(error)), _REQUEST_FAILED)
