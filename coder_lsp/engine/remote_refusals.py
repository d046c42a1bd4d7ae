"""What a server's refusal means: which error a status is, and what of its own words may be repeated."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from coder_lsp.errors import RemoteBusy, RemoteError, RemoteRefused, RemoteRejected, RemoteUnreachable

REFUSAL_BYTES = 1600
"""More of a refusal is not read."""
_CHARACTERS = 200
_QUOTED_CHARACTERS = 12
"""So much of a prompt in a server's complaint is a quotation of it."""
_REJECTED = (400, 413, 422)
_TOO_MANY, _NOT_IMPLEMENTED = 429, 501


def refusal(
    origin: str, path: str, status: int, content: bytes, sent: Any, *, retry_after: str | None = None
) -> RemoteError:
    """The error for a status that is none of success. ``sent``: the body that was refused."""
    said = _message(content)
    if _quotes(said, sent):
        said = ""  # it will be logged, and no log has source text
    what = f"{origin}{path} answers {status}" + (f": {said}" if said else "")
    if status in {401, 403}:
        hint = "give the right key: coder-lsp remote key set, or CODER_LSP_REMOTE_KEY in the environment"
        return RemoteRefused(f"{origin} refuses the key (status {status})", hint=hint)
    if 300 <= status < 400:
        return RemoteRefused(f"{what} (redirects are not followed)", hint="set remote.url to where it leads")
    if status == _TOO_MANY or (status >= 500 and status != _NOT_IMPLEMENTED):
        error: RemoteError = RemoteBusy(what) if status == _TOO_MANY else RemoteUnreachable(what)
        with contextlib.suppress(TypeError, ValueError):
            error.retry_after_s = float(retry_after)  # type: ignore[arg-type]
        return error
    if status in _REJECTED:
        return RemoteRejected(what, hint="if all are: check remote.protocol by coder-lsp remote check")
    return RemoteRefused(what, hint="check remote.url, remote.protocol and remote.model: coder-lsp remote check")


def _message(content: bytes) -> str:
    """What a server says is wrong, in one short line; empty if it cannot be told."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail", "object"):
        if isinstance(said, dict) and key in said:
            said = said[key]
    text = said if isinstance(said, str) else ""
    return " ".join(text.split())[:_CHARACTERS]


def _quotes(said: str, sent: Any) -> bool:
    """Whether a part of what was sent is in what is said of it."""
    if isinstance(sent, dict):
        return any(_quotes(said, each) for each in sent.values())
    if isinstance(sent, list):
        return any(_quotes(said, each) for each in sent)
    # Spaces were made single in what is said.
    text = " ".join(sent.split()) if isinstance(sent, str) else ""
    last = max(0, len(said) - _QUOTED_CHARACTERS)
    return len(text) >= _QUOTED_CHARACTERS and any(
        said[at : at + _QUOTED_CHARACTERS] in text for at in range(last + 1) if len(said) >= _QUOTED_CHARACTERS
    )
