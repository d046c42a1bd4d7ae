"""Which host is meant, and what on disk says that it runs: its lock, its record, its socket's place.

The address of a host is a hash of everything that must be equal for two windows to share one: the user, the version of
this package, the model file and how it is loaded. LoRA adapters are no part of it: each request names its own. In the
runtime folder (0700) each address has

- ``host-KEY.lock``   held by the running host until its process ends, however it ends; never deleted, since deleting a
  lock file lets two processes hold "it";
- ``host-KEY.json``   the :class:`Endpoint`, written once the host listens (0600, replaced atomically);
- ``host-KEY.sock``   the socket.

Only the holder of the lock may write or remove the other two. Small blocking file work; callers on an event loop use a
thread.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp import __version__, paths
from coder_lsp.errors import HostUnavailable
from coder_lsp.host.protocol import PROTOCOL_VERSION, MalformedMessage, from_json, to_json

if TYPE_CHECKING:
    import psutil
    from filelock import BaseFileLock

    from coder_lsp.host.protocol import HostSettings

SOCKET_PATH_BYTES = 103
"""Longest path of a Unix socket: ``sun_path`` has 104 bytes on macOS and BSD (108 on Linux), one of them the end."""


@dataclass(frozen=True)
class Endpoint:
    """Where a host listens. ``created`` is the start of its process, as :func:`process_start` has it."""

    key: str
    pid: int
    created: float
    model: str
    transport: str
    """``unix`` or ``tcp``."""
    path: str = ""
    port: int = 0
    token: str = field(default="", repr=False)


def address_key(settings: HostSettings) -> str:
    """Name of the host for these settings: 20 hex digits."""
    facts: list[Any] = [
        os.geteuid() if hasattr(os, "geteuid") else getpass.getuser(),
        PROTOCOL_VERSION,
        __version__,
        _file_identity(settings.model_path),
        settings.template,
        asdict(settings.engine),
        asdict(settings.prompt),
        asdict(settings.remote),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def hold_lock(key: str) -> BaseFileLock | None:
    """Become the one host of this address; None if there is one. Released when the process ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(_file(key, "lock"), timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def lock_identity(key: str) -> tuple[int, int] | None:
    """Which file the lock of an address is, None if there is none. Locks are on files, whatever their names become."""
    try:
        facts = _file(key, "lock").stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def read_endpoint(key: str) -> Endpoint | None:
    """The record of a host, which may be dead by now; None if there is none that can be read.

    What a newer version may have added to it is passed over, so that its hosts can be listed and ended, too.
    """
    try:
        table = json.loads(_file(key, "json").read_bytes())
        known = {each.name for each in fields(Endpoint)}
        return from_json(Endpoint, {name: value for name, value in table.items() if name in known})
    except (OSError, ValueError, AttributeError, MalformedMessage):
        return None


def write_endpoint(endpoint: Endpoint) -> None:
    """For the holder of the lock."""
    handle, name = tempfile.mkstemp(dir=private_runtime_dir(), prefix=".host-")  # 0600
    with os.fdopen(handle, "w") as stream:
        json.dump(to_json(endpoint), stream)
    Path(name).replace(_file(endpoint.key, "json"))


def remove_traces(key: str) -> None:
    """Remove record and socket; for the holder of the lock."""
    endpoint = read_endpoint(key)
    if endpoint and endpoint.path:
        _unlink(Path(endpoint.path))
    _unlink(_file(key, "json"))
    _unlink(socket_path(key))


def known_keys() -> list[str]:
    """Addresses that have a record, of running hosts or of killed ones."""
    return sorted(path.stem.removeprefix("host-") for path in private_runtime_dir().glob("host-*.json"))


def sweep() -> list[str]:
    """Remove what killed hosts left behind; returns their keys."""
    swept = []
    for key in known_keys():
        lock = hold_lock(key)
        if lock:
            remove_traces(key)
            lock.release()
            swept.append(key)
    return swept


def process_start(process: psutil.Process) -> float:
    """When a process started, in seconds, to tell it from a later one under the same number.

    On Linux since the machine did: there a start by the wall clock is reckoned anew at each look, and another one once
    the clock was set.
    """
    import psutil

    started = float(process.create_time())
    return started - psutil.boot_time() if sys.platform == "linux" else started


def kill(endpoint: Endpoint) -> bool:
    """End a host that does not answer; False if its process is gone, or is another one under the same number."""
    import psutil

    try:
        process = psutil.Process(endpoint.pid)
        if abs(process_start(process) - endpoint.created) > 1.0:
            return False
        process.kill()
        process.wait(timeout=5)
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        pass  # dead, but its parent has not looked yet
    return True


def log_path() -> Path:
    """The log of all hosts of this user."""
    return paths.state_dir() / "host.log"


def socket_path(key: str) -> Path:
    """Where the socket of this address goes: the runtime folder, or a private one under /tmp if its path is too long.

    :raises HostUnavailable: the fallback folder belongs to somebody else, or is too deep as well.
    """
    path = _file(key, "sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    # The runtime folder is part of the name, as it would have been part of the path.
    digest = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"coder-lsp-{digest}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    path = _require_private(folder) / f"{key}.sock"
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise HostUnavailable(
            f"the path of the socket is too long: {path}", hint="set TMPDIR or CODER_LSP_HOME to a shorter folder"
        )
    return path


def private_runtime_dir() -> Path:
    """The runtime folder, checked: ours, and nobody else can look into it.

    :raises HostUnavailable: it belongs to somebody else.
    """
    return _require_private(paths.runtime_dir())


def _require_private(folder: Path) -> Path:
    if not hasattr(os, "geteuid"):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.lstat()
    except OSError as error:
        raise HostUnavailable(
            f"the folder for the socket of the model host cannot be made: {folder} ({error.strerror})",
            hint="make room or make it writable, or set CODER_LSP_HOME or XDG_RUNTIME_DIR to a folder that is",
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise HostUnavailable(
            f"{folder} is not a folder of this user", hint="remove it, or set CODER_LSP_HOME to another folder"
        )
    if facts.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def _file(key: str, ending: str) -> Path:
    return private_runtime_dir() / f"host-{key}.{ending}"


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _file_identity(path: str) -> list[str | int]:
    """Path, size and time of change, so that a replaced file is another model; zeros if there is none. Of a folder
    those of the weights in it.
    """
    if not path:
        return ["", 0, 0]  # a server's model
    real = os.path.realpath(path)
    try:
        facts = Path(real).stat()
        if stat.S_ISDIR(facts.st_mode):
            within = [file.stat() for file in sorted(Path(real).glob("*.safetensors"))]
            newest = max((each.st_mtime_ns for each in within), default=facts.st_mtime_ns)
            return [real, sum(each.st_size for each in within), newest]
    except OSError:
        return [real, 0, 0]
    return [real, facts.st_size, facts.st_mtime_ns]
