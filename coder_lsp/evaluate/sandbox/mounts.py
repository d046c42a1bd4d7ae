"""A file system of its own for a program: what it may read, read-only, devices that hold nothing, and one folder.

The folder lies in memory and is gone with the program; nothing of it touches a disk. Made inside a new mount namespace
by a process that may mount there. The pattern (a small tmpfs as a first root, from which the old one is looked at and
then let go) is that of bubblewrap.
"""

# os and os.path throughout: the supervisor starts once a program and loads as little as it can.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH110, PTH112, PTH114, PTH115, PTH118, PTH119, PTH120, PTH123, PTH211
# What is opened to all here is the program's own folder, and /tmp a place in a root that nobody else sees.
# ruff: noqa: S103, S108

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coder_lsp.evaluate.sandbox import libc
from coder_lsp.evaluate.sandbox.order import BOX, DEVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OLD, _NEW = "/old", "/new"
_PLAIN = libc.MS_NOSUID | libc.MS_NODEV
_READ_ONLY = libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID
_INODES = 16_384
_LINKS = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
          "/dev/stderr": "/proc/self/fd/2", "/dev/shm": BOX}  # fmt: skip  # in the sandbox


def build(readable: Sequence[tuple[str, str]], files: Mapping[str, str], files_mb: int) -> None:
    """Make it, and go there.

    :raises OSError: the system does not allow a part of it.
    """
    libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", "/tmp", "tmpfs", _PLAIN, "mode=0755,size=1m")  # a mount point that is there
    os.chdir("/tmp")
    os.mkdir(_OLD[1:])
    libc.pivot_root(".", _OLD[1:])
    os.chdir("/")
    os.mkdir(_NEW)
    libc.mount("tmpfs", _NEW, "tmpfs", _PLAIN, "mode=0755,size=4m")
    for path, real in readable:
        _show(path, real)
    _devices()
    os.makedirs(f"{_NEW}/proc", exist_ok=True)
    try:
        libc.mount("proc", f"{_NEW}/proc", "proc", _PLAIN | libc.MS_NOEXEC)
    except OSError:
        # Containers hide parts of theirs, and then there is no new one; most programs do without.
        os.rmdir(f"{_NEW}/proc")
        os.mkdir(f"{_NEW}/proc")
    box = _NEW + BOX
    os.mkdir(box)
    libc.mount("tmpfs", box, "tmpfs", _PLAIN, f"mode=0777,size={files_mb}m,nr_inodes={_INODES}")
    write(files, box)
    if not os.path.lexists(f"{_NEW}/tmp"):
        os.symlink(BOX, f"{_NEW}/tmp")
    libc.restrict_mount(_NEW, libc.MOUNT_ATTR_RDONLY, recursive=False)
    os.chdir(_NEW)
    # The old root comes to lie over the new one, and is taken off.
    libc.pivot_root(".", ".")
    libc.unmount(".")
    os.chdir(BOX)


def write(files: Mapping[str, str], folder: str) -> None:
    """The program's files, by their paths in its folder."""
    for name, text in files.items():
        path = f"{folder}/{name}"
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            os.makedirs(parent)
        with open(path, "w", encoding="utf-8", errors="replace", newline="") as stream:
            stream.write(text)
        # Whatever the caller's umask: the program may be somebody else, and do with it what it likes.
        os.chmod(path, 0o777)
    for root, folders, _ in os.walk(folder):
        for each in folders:
            os.chmod(f"{root}/{each}", 0o777)


def _show(path: str, real: str) -> None:
    source, target = _OLD + real, _NEW + real
    if not os.path.lexists(target):
        if os.path.isdir(source):
            os.makedirs(target)
        elif os.path.lexists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _empty(target)
        else:
            return
        libc.mount(source, target, None, libc.MS_BIND | libc.MS_REC)
        libc.restrict_mount(target, _READ_ONLY | libc.MOUNT_ATTR_NODEV, recursive=True)
    place = _NEW + _folder_of(path) + "/" + os.path.basename(path)
    if path != real and not os.path.lexists(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(real, place)


def _folder_of(path: str) -> str:
    """Where a path's folder is in the new root, whose links lead elsewhere as long as it is not the root."""
    found = ""
    for part in os.path.dirname(path).split("/")[1:]:
        found = f"{found}/{part}" if part else found
        while os.path.islink(_NEW + found):
            found = os.path.normpath(os.path.join(os.path.dirname(found), os.readlink(_NEW + found)))
    return found


def _devices() -> None:
    os.mkdir(f"{_NEW}/dev")
    for path in filter(lambda path: os.path.exists(_OLD + path), DEVICES):
        _empty(_NEW + path)
        libc.mount(_OLD + path, _NEW + path, None, libc.MS_BIND)
        libc.restrict_mount(_NEW + path, _READ_ONLY, recursive=False)
    for path, target in _LINKS.items():
        os.symlink(target, _NEW + path)


def _empty(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
