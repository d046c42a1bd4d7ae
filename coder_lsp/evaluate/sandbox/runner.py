"""The sandbox from outside: what a program may read, what this system can enforce, and one run.

Each run is a process of its own (``supervisor``), so many may go on at once, from any thread, and what happens to one
happens to nobody else.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import coder_lsp
from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.evaluate.sandbox import cgroup
from coder_lsp.evaluate.sandbox.limits import Limits, Outcome
from coder_lsp.evaluate.sandbox.order import BOX, NOBODY, Means, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LINUX = sys.platform == "linux"
LIMITS = Limits()
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/System", "/Library")
_SETTINGS = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "java*")
"""Of /etc, what programs need to be found and to start: nothing that names users, hosts or passwords."""
_MOST_LINKS = 40
"""As the kernel follows."""
_SHARED = (".local", ".cargo")
"""In the home: besides a ``bin`` they hold what other programs keep, passwords among it."""
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_GRACE_SECONDS = 90.0
"""For the supervisor to prepare a run and to clean up; it ends by itself long before, unless it is stopped."""
_OTHER_RUNS = 3
_COUNTED_BY_NAMESPACE = (5, 14)
"""Since this kernel a namespace counts its own processes; before it, all of its user's."""


def require_permission(allowed: bool) -> None:
    """:raises InputError: the user did not say that programs may be run."""
    if not allowed:
        raise InputError(
            "this runs programs that a model wrote, and nobody has read them",
            hint="say --allow-execution if that is all right; they run in a sandbox without network and without your "
            "files" + "".join(f"\nnot enforced on this system: {what}" for what in unenforced()),
        )


def run(
    command: Sequence[str],
    *,
    files: Mapping[str, str],
    stdin: str = "",
    limits: Limits = LIMITS,
    tools: Sequence[str] = (),
    readable: Sequence[str] = (),
    means: Means | None = None,
) -> Outcome:
    """Run a program in a new folder that holds ``files``, by their paths in it, and wait for its end.

    It may read the system's programs and libraries, the installations that the first word of ``command`` and ``tools``
    belong to, and ``readable``; it may write into its folder, which is gone afterwards. ``means``: use less than this
    system has (for tests).

    :raises InputError: there is no such program, or a file would lie outside the folder.
    :raises CoderLspError: the sandbox itself failed.
    """
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise InputError(f"{name!r} does not name a file in the sandbox's folder")
    programs = [_found(name) for name in (command[0], *tools)]
    means = available() if means is None else means
    return _run((programs[0], *command[1:]), dict(files), stdin, limits, means, programs=tuple(programs), lent=readable)


@functools.cache
def available() -> Means:
    """What this system lets the sandbox use, tried once with a program that does nothing."""
    if not LINUX:
        return Means(why_no_namespaces=f"{platform.system()} has none")
    from coder_lsp.evaluate.sandbox import landlock, seccomp

    known, filters = landlock.version(), seccomp.available()
    tried = _run((sys.executable, "-S", "-c", "pass"), {}, "", LIMITS, Means(namespaces=True, seccomp=filters))
    if tried.status == "passed":
        return Means(namespaces=True, seccomp=filters, landlock=known)
    why = tried.stderr.strip() or tried.reason or tried.status
    return Means(seccomp=filters, landlock=known, why_no_namespaces=why.splitlines()[-1])


def unenforced() -> list[str]:
    """What this system cannot hold a program to, for people; empty if all of it."""
    means = available()
    found = []
    if not means.namespaces:
        because = f" ({means.why_no_namespaces})" if means.why_no_namespaces else ""
        if not means.landlock:
            found.append(f"files: a program can read and write all that you can{because}")
        if not means.seccomp:
            found.append(f"network: a program can reach whatever you can{because}")
            found.append(f"other processes: a program can end yours{because}")
        if not LINUX:
            found.append("a process that leaves its session outlives the program")
            found.append("memory and files of all processes together; each one's are limited")
        else:
            found.append("files and processes of all together are counted ten times a second, not limited")
    if LINUX and "memory" not in _groups():
        found.append("memory of all processes together is looked at ten times a second, not limited; each one's is")
    return found


@functools.cache
def _groups() -> tuple[str, ...]:
    group = cgroup.make(LIMITS) if LINUX else None
    if group is None:
        return ()
    group.remove()
    return group.controllers


def _found(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise InputError(f"there is no program {name}", hint="install it, or leave its language out")
    # Not resolve(): a venv's Python is a link.
    return os.path.abspath(program)  # noqa: PTH100


def _run(
    command: tuple[str, ...],
    files: dict[str, str],
    stdin: str,
    limits: Limits,
    means: Means,
    *,
    programs: tuple[str, ...] = (),
    lent: Sequence[str] = (),
) -> Outcome:
    programs = programs or command[:1]
    readable = _readable(programs, lent)
    with _folder(means) as (folder, uid), _group(limits) as group:
        if not means.namespaces:
            from coder_lsp.evaluate.sandbox import mounts

            mounts.write(files, folder)
        order = Order(
            command=command,
            environment=_environment(programs, folder),
            files=files if means.namespaces else {},
            stdin=stdin,
            limits=limits,
            means=means,
            readable=readable,
            folder=folder,
            groups=group.joins if group else (),
            memory_group=bool(group and "memory" in group.controllers),
            existing=_existing(means, uid, limits),
            uid=uid,
            keep=None if means.namespaces or uid is None else _right_to_read((*(real for _, real in readable), folder)),
        )
        row = _supervise(order)
    return Outcome(**row, enforced=_enforced(means, group))


def _supervise(order: Order) -> dict[str, Any]:
    package = Path(coder_lsp.__file__).parents[1]
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "coder_lsp.evaluate.sandbox.supervisor", str(read)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Nothing of ours, which may hold secrets: a program can sometimes look at who started it.
            env={"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"},
            cwd="/",
            pass_fds=(read,),
            start_new_session=True,
            encoding="utf-8",
        )
        os.close(read)
        read = -1
        try:
            said, complaint = process.communicate(order.dump(), timeout=order.limits.seconds + _GRACE_SECONDS)
        except BaseException as error:
            # Its end of the pipe closes, and it ends what it started before it ends itself.
            os.close(write)
            write = -1
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
            if isinstance(error, subprocess.TimeoutExpired):
                raise CoderLspError("the sandbox's supervisor did not come to an end", hint="try again") from error
            raise
    finally:
        for descriptor in (read, write):
            if descriptor >= 0:
                os.close(descriptor)
    try:
        row: dict[str, Any] = json.loads(said)
    except ValueError as error:
        last = complaint.strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise CoderLspError(f"the sandbox's supervisor failed: {last[0]}", hint="please report this") from error
    return row


def _readable(programs: Iterable[str], lent: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """What may be read: paths, each with what it really is, folders before what is in them."""
    wanted = [*lent, *_SYSTEM, *(str(path) for name in _SETTINGS for path in Path("/etc").glob(name))]
    for program in programs:
        wanted += [place for path in _hops(program) for place in _installation(path)]
        # A venv says where the Python is that it belongs to.
        if program == sys.executable:
            wanted += [sys.prefix, sys.base_prefix]
    found = {path: os.path.realpath(path) for path in wanted if os.path.exists(path)}  # noqa: PTH110  # as given
    return tuple(sorted(found.items(), key=lambda pair: (pair[1], pair[0])))


def _hops(program: str) -> list[str]:
    """A program, what that is a link to, and so on: each must be there for it to be found."""
    hops = [program]
    while os.path.islink(hops[-1]) and len(hops) < _MOST_LINKS:  # noqa: PTH114  # one hop at a time
        target = os.readlink(hops[-1])  # noqa: PTH115
        hops.append(os.path.normpath(os.path.join(os.path.dirname(hops[-1]), target)))  # noqa: PTH118, PTH120
    return [*hops, os.path.realpath(program)]


def _installation(program: str) -> list[str]:
    """``…/x`` for ``…/x/bin/program``, unless people keep other things there as well; else the file alone."""
    folder = Path(program).parent
    place = folder.parent
    home = Path.home()
    shared = (Path("/"), home, *home.parents, *(home / name for name in _SHARED))
    return [str(place)] if folder.name == "bin" and place not in shared else [program]


def _environment(programs: Iterable[str], folder: str) -> dict[str, str]:
    path = dict.fromkeys((*(str(Path(program).parent) for program in programs), *_PATH))
    return {
        "PATH": os.pathsep.join(path),
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Else Node ends at once where the system's cannot be read.
        "OPENSSL_CONF": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
    }


@contextlib.contextmanager
def _folder(means: Means) -> Iterator[tuple[str, int | None]]:
    """Where the program works, and who it is: nobody, if root asks, as nothing limits how many processes root has."""
    uid = NOBODY if LINUX and os.geteuid() == 0 and _can_be_nobody() else None
    if means.namespaces:
        yield BOX, uid
        return
    folder = os.path.realpath(tempfile.mkdtemp(prefix="coder-lsp-run-"))
    try:
        if uid is not None:
            os.chown(folder, uid, uid)
        yield folder, uid
    finally:
        # Whatever the program made there: folders nobody may enter, or deeper than Python can follow.
        for command in (["/bin/chmod", "-R", "u+rwX", folder], ["/bin/rm", "-rf", folder]):
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _can_be_nobody() -> bool:
    """Not so for a root without rights, nor in containers that have few users."""
    from coder_lsp.evaluate.sandbox import libc

    if not {libc.CAP_SETGID, libc.CAP_SETUID} <= _capabilities():
        return False
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
            first, _, count = map(int, line.split())
            if first <= NOBODY < first + count:
                return True
    return False


@functools.cache
def _capabilities() -> frozenset[int]:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(number for number in range(64) if bits >> number & 1)
    return frozenset()


def _right_to_read(paths: Iterable[str]) -> int | None:
    """The capability that nobody needs to get to a Python in root's home, say. What else it gives, Landlock refuses."""
    from coder_lsp.evaluate.sandbox import libc

    if all(parent.stat().st_mode & 0o001 for path in paths for parent in Path(path).parents):
        return None
    wanted = (libc.CAP_DAC_READ_SEARCH, libc.CAP_DAC_OVERRIDE)
    return next((each for each in wanted if each in _capabilities()), None)


@contextlib.contextmanager
def _group(limits: Limits) -> Iterator[cgroup.Group | None]:
    group = cgroup.make(limits) if LINUX and _groups() else None
    try:
        yield group
    finally:
        if group:
            group.remove()


def _existing(means: Means, uid: int | None, limits: Limits) -> int:
    """Threads that may count against the limit of processes and are not the program's."""
    if not LINUX:
        return 1024
    if means.namespaces:
        release = re.match(r"(\d+)\.(\d+)", platform.release())
        if release and (int(release[1]), int(release[2])) >= _COUNTED_BY_NAMESPACE:
            # The two of the sandbox, where they are the same user.
            return 2
    from coder_lsp.evaluate.sandbox import processes

    # Other runs start more meanwhile. How many are this program's own is looked at besides.
    return processes.threads_of(os.getuid() if uid is None else uid) + _OTHER_RUNS * limits.processes


def _enforced(means: Means, group: cgroup.Group | None) -> tuple[str, ...]:
    found = ["own session", "empty environment", "rlimits"]
    if LINUX:
        found.append("no_new_privs")
    if means.namespaces:
        found.append("namespaces: user, mount, pid, network, ipc, uts, cgroup")
    elif means.landlock:
        found.append(f"landlock {means.landlock}")
    if means.seccomp:
        found.append("seccomp")
    if group:
        found.append("cgroup: " + ", ".join(group.controllers))
    return tuple(found)
