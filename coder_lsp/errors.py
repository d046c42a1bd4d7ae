"""Every error this package raises on purpose, in one tree.

A message names the fact, the value and, in ``hint``, the next step a user can take. Foreign exceptions become one
of these at the boundary where they enter, with their cause kept. Cancellation is not an error: it is a
:class:`~coder_lsp.types.FinishReason`; "no suggestion" is a value with a reason.

    CoderLspError
     ├─ ConfigError            a setting that cannot be used
     ├─ InputError             a file, position or argument given by the user that cannot be used
     ├─ ModelError
     │   ├─ ModelNotFound      the name is neither in the catalogue nor on this machine
     │   ├─ ModelNotInstalled  known, but not pulled yet
     │   ├─ ModelCorrupt       not a GGUF, truncated, or with another digest than it should have
     │   ├─ ModelFromNewerVersion  a newer coder-lsp put it here
     │   └─ ModelUnsupported   an architecture or a vocabulary this build cannot run
     ├─ DownloadError
     │   ├─ OfflineError       the network is forbidden by the user
     │   └─ DiskFull           not enough free space, found out before writing
     ├─ EngineError
     │   ├─ EngineVersionError the native module was built against another llama-cpp-python
     │   ├─ OutOfMemory        the model or its cache does not fit
     │   ├─ ContextOverflow    more prompt tokens than a sequence holds
     │   └─ RemoteError        a server that completes for us, and what is wrong with it
     │       ├─ RemoteUnreachable  it does not answer, or broke off
     │       ├─ RemoteRefused      it does not let us in, or does not know what we ask for
     │       ├─ RemoteBusy         it, or our own limit, says: not now
     │       └─ RemoteGarbage      what it says is not what its protocol has
     └─ HostError
         ├─ HostUnavailable    no host could be started or reached
         └─ HostCrashed        the host went away while it worked for us
"""

from __future__ import annotations

import traceback
from pathlib import Path


class CoderLspError(Exception):
    """Base of the tree: ``message`` states the fact, ``hint`` the next step (may be empty)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(CoderLspError):
    """A setting that cannot be used; loading collects all of them and goes on with defaults."""


class InputError(CoderLspError):
    """A file, position or argument from the user that cannot be used."""

    exit_code = 2


class ModelError(CoderLspError):
    """Something about a model file or its name."""


class ModelNotFound(ModelError):
    """The name is neither in the catalogue nor on this machine."""


class ModelNotInstalled(ModelError):
    """The model is known but its file is not on this machine."""


class ModelCorrupt(ModelError):
    """The file is not a GGUF, is truncated, or has another digest than it should have."""


class ModelFromNewerVersion(ModelError):
    """A newer coder-lsp put it here, in a form that this one does not know: not damaged, and not to be touched."""


class ModelUnsupported(ModelError):
    """An architecture or a vocabulary that this build cannot run."""


class DownloadError(CoderLspError):
    """A transfer that failed; what had arrived is kept for the next try."""


class OfflineError(DownloadError):
    """The network would be needed, and the user forbids it."""


class DiskFull(DownloadError):
    """Not enough free space, found out before writing."""


class EngineError(CoderLspError):
    """The inference engine could not do what was asked."""


class EngineVersionError(EngineError):
    """The native module was built against another llama-cpp-python than the one installed."""


class OutOfMemory(EngineError):
    """The model or its KV cache does not fit into memory."""


class ContextOverflow(EngineError):
    """A prompt with more tokens than one sequence of the KV cache holds."""


class RemoteError(EngineError):
    """A server that completes in place of this machine could not."""

    retry_after_s: float | None = None
    """When it wants to be asked again, if it says so."""


class RemoteUnreachable(RemoteError):
    """It does not answer, or the connection broke."""


class RemoteResting(RemoteUnreachable):
    """It failed a moment ago, and is not asked again yet."""


class RemoteRefused(RemoteError):
    """It wants another key, or does not know the model or the method."""


class RemoteRejected(RemoteError):
    """It does not take this request; another one it may take."""


class RemoteBusy(RemoteError):
    """It says that there are too many requests, or our own limits do."""


class RemoteGarbage(RemoteError):
    """An answer that its protocol does not have."""


class HostError(CoderLspError):
    """Something about the model host process."""


class HostUnavailable(HostError):
    """No host could be started or reached."""


class HostCrashed(HostError):
    """The host went away while it worked for us."""


def origin(error: BaseException) -> str:
    """Where a fault of ours came from, innermost first. For logs: its words may quote a text and are left out."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in reversed(frames)) or "?"
