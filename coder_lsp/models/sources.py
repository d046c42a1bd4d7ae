"""Where model files come from: the seam, and the model hub. (``wheels`` is the other source.)

A source brings a :class:`~coder_lsp.models.partial.Partial` to the whole file, going on where it stands, and raises
:class:`DownloadError` in one plain line when it cannot. It proves nothing: ``pull`` compares the digest. The hub is
spoken to through huggingface_hub, which brings the user's endpoint, token, proxy and cache settings with it; its own
download function throws away what has arrived when it is interrupted, so the transfer itself is driven from here.
"""

from __future__ import annotations

import importlib
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast
from urllib.parse import urljoin, urlsplit

from coder_lsp.errors import DownloadError
from coder_lsp.models import files

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.models.catalog import CatalogEntry
    from coder_lsp.models.partial import Partial
    from coder_lsp.models.progress import Progress

CHUNK_BYTES = 1 << 20
"""Written at a time. What is less than that is lost when a connection breaks, and a bar moves in steps of it."""

_PAUSE_SECONDS = 1.0
"""Before a broken connection is taken up again."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Source(Protocol):
    """One place that can deliver one model's file."""

    @property
    def label(self) -> str:
        """What it is called in messages: ``the model hub``."""
        ...

    @property
    def origin(self) -> str:
        """What the model's record says: ``hub owner/repository``."""
        ...

    @property
    def stated_sha256(self) -> str | None:
        """The digest that the source itself states, known after ``fetch``: proves the transfer, not the content."""
        ...

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """Bring ``partial`` to its full length.

        :raises DownloadError: it could not; what has arrived is kept.
        """
        ...


class HubSource:
    """A file of a model hub repository."""

    label = "the model hub"

    def __init__(self, entry: CatalogEntry, repository: str) -> None:
        self._entry = entry
        self._repository = repository
        self.origin = f"hub {repository}"
        self.stated_sha256: str | None = None

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """As :meth:`Source.fetch`. Goes on with the bytes that are there; retries a broken connection a few times."""
        hub = _quiet_hub()
        url, etag, size, headers = self._locate(hub)
        self.stated_sha256 = etag if _DIGEST.fullmatch(etag) else None
        expected = self._entry.sha256
        if expected is not None and self.stated_sha256 not in {None, expected}:
            raise DownloadError(f"{self.label} holds another file as {self._repository}/{self._entry.file}")
        identity = expected or f"{self._repository} {etag}"
        if size is not None:
            files.need_space(partial.workspace, size - min(partial.claim(identity), size))
        try:
            while True:
                done = partial.claim(identity)
                if size is not None and done > size:  # a server that ignored where to begin
                    partial.discard()
                    done = partial.claim(identity)
                if done == size:
                    return
                progress.begin(f"pulling {self._entry.name}", done, size)
                try:
                    with files.disk_full_as_error(partial.workspace), partial.appending(done) as stream:
                        counted = cast("BinaryIO", _Counting(stream, progress))
                        hub.file_download.http_get(
                            url, counted, resume_size=done, headers=dict(headers), expected_size=size
                        )
                    return
                except DownloadError:
                    raise
                except Exception as error:  # the library's HTTP stack differs between its releases
                    # The library retries some breaks and not others; we go on for as long as something arrives.
                    if partial.size <= done or _status(error) is not None:
                        arrived = files.human(partial.size)
                        raise DownloadError(f"{self.label} broke off after {arrived} ({_reason(error)})") from error
                    time.sleep(_PAUSE_SECONDS)
        finally:
            progress.end()

    def _locate(self, hub: Any) -> tuple[str, str, int | None, dict[str, str]]:
        """Where the file is now: address, ETag, size, and the headers to ask with. One request, not repeated."""
        # The library reads its endpoint once, when it is imported; what is set now is what the user means now.
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        asked = hub.hf_hub_url(self._repository, self._entry.file, endpoint=endpoint)
        try:
            metadata = hub.get_hf_file_metadata(asked, timeout=hub.constants.HF_HUB_ETAG_TIMEOUT)
            headers = hub.utils.build_hf_headers()
        except Exception as error:
            raise DownloadError(_unreachable(self.label, error), hint=_hint(error)) from error
        headers["Accept-Encoding"] = "identity"  # a compressed answer could not be resumed
        url = urljoin(asked, metadata.location or asked)
        if urlsplit(url).netloc != urlsplit(asked).netloc:
            headers.pop("authorization", None)  # a signed address elsewhere must not see the user's token
        return url, metadata.etag or "", metadata.size, headers


def in_hub_cache(entry: CatalogEntry) -> tuple[Path, str] | None:
    """The file in the user's own hub cache, where another program downloaded it, and its repository. No network."""
    from pathlib import Path

    hub = _quiet_hub()
    for repository in entry.hub:
        found = hub.try_to_load_from_cache(repository, entry.file)
        if isinstance(found, str):
            return Path(found), repository
    return None


class _Counting:
    """A file that tells how far it has got; the part of the interface that the hub library's transfer uses."""

    def __init__(self, stream: BinaryIO, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def write(self, data: bytes) -> int:
        written = self._stream.write(data)
        self._progress.update(self._stream.tell())
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        return self._stream.truncate(size)

    def tell(self) -> int:
        return self._stream.tell()

    def flush(self) -> None:
        self._stream.flush()


def _quiet_hub() -> Any:
    """The hub library, without its own progress bars and warnings: we have ours."""
    hub: Any = importlib.import_module("huggingface_hub")
    for used in ("constants", "file_download", "utils"):
        importlib.import_module(f"huggingface_hub.{used}")
    hub.utils.disable_progress_bars()
    hub.utils.logging.set_verbosity_error()
    hub.constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES  # the library's 10 MB are half a minute on a slow line
    return hub


def _unreachable(label: str, error: BaseException) -> str:
    status = _status(error)
    if status in {401, 403}:
        return f"{label} refuses access (HTTP {status})"
    if status == 404:
        return f"{label} has no such file (HTTP 404)"
    if status is not None:
        return f"{label} answers HTTP {status}"
    return f"{label} cannot be reached ({_reason(error)})"


def _hint(error: BaseException) -> str:
    return "a gated repository needs a token: set HF_TOKEN" if _status(error) in {401, 403} else ""


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason(error: BaseException) -> str:
    """The cause in a few words, from whatever the HTTP library wrapped it in."""
    link: BaseException | None = error
    seen = 0
    while link is not None and seen < 12:
        text = f"{type(link).__name__} {link}".lower()
        if isinstance(link, socket.gaierror) or "name or service not known" in text or "name resolution" in text:
            return "its name cannot be resolved"
        if isinstance(link, ConnectionRefusedError) or "connection refused" in text:
            return "connection refused"
        if "offlinemode" in text:
            return "switched off by HF_HUB_OFFLINE"
        if isinstance(link, TimeoutError) or "timeout" in text or "timed out" in text:
            return "no answer in time"
        if "certificate" in text:
            return "its certificate is not trusted"
        link, seen = link.__cause__ or link.__context__, seen + 1
    status = _status(error)
    return f"HTTP {status}" if status is not None else type(error).__name__
