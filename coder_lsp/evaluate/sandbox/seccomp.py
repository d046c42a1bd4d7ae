"""Which system calls a sandboxed program may not make: a small BPF program for seccomp.

Refused are sockets (which is the network, and services of the machine that listen on Unix sockets), looking into other
processes, memory that no limit counts, and what could undo the sandbox. A refused call returns EPERM, so runtimes that
only try it go on. Where there are no namespaces, signals are for oneself alone, and what Landlock
does not look at is refused: modes, owners, times and attributes of files, which a program that runs as the user could
change on all that are the user's, and ways to empty a file that old versions of Landlock let pass.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

from coder_lsp.evaluate.sandbox import libc

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND, _THIRD = 0, 4, 16, 24, 32
"""Where seccomp_data has the call, the architecture and the low halves of three arguments (little endian)."""
_X32 = 0x40000000
_NEW_NAMESPACE = 0x7E020000
"""Flags of clone: every kind of namespace."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""Writes into a terminal as if somebody typed."""
_SET_FLAGS, _SET_ATTRIBUTES = 0x40086602, 0x401C5820
"""FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR: take a file that is merely open for reading."""
_OPENAT2 = 437
_EMPTIES_AS_IT_READS = os.O_TRUNC | os.O_ACCMODE

# Same number everywhere: all system calls since Linux 5.1.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
_FILES_COMMON = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469}
_X86_64 = {
    "shmget": 29, "socket": 41, "semget": 64, "msgget": 68, "ptrace": 101, "syslog": 103, "setpriority": 141,
    "vhangup": 153, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165,
    "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
    "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "clock_settime": 227,
    "mq_open": 240, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251,
    "migrate_pages": 256, "unshare": 272, "move_pages": 279, "perf_event_open": 298, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
    "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip
_AARCH64 = {
    "ioprio_set": 30, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "vhangup": 58, "quotactl": 60,
    "acct": 89, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112,
    "syslog": 116, "ptrace": 117, "setpriority": 140, "reboot": 142, "sethostname": 161, "setdomainname": 162,
    "settimeofday": 170, "adjtimex": 171, "mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194, "socket": 198,
    "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225, "migrate_pages": 238,
    "move_pages": 239, "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "finit_module": 273,
    "memfd_create": 279, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
_FILES_X86_64 = {
    "truncate": 76, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "utimes": 235,
    "fchownat": 260, "futimesat": 261, "fchmodat": 268, "utimensat": 280,
}  # fmt: skip
_FILES_AARCH64 = {
    "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    "truncate": 45, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88,
}  # fmt: skip


@dataclass(frozen=True)
class _Machine:
    """``architecture`` as linux/audit.h has it; ``signals``: calls whose first argument is who gets one.

    ``files`` are refused where there are no namespaces; ``opens``: calls that open a file, and where their flags are.
    """

    architecture: int
    refused: tuple[int, ...]
    files: tuple[int, ...]
    opens: tuple[tuple[int, int], ...]
    signals: tuple[int, ...]
    pidfd_signal: int
    clone: int
    clone3: int
    prlimit: int
    ioctl: int
    has_x32: bool


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, tuple({**_X86_64, **_COMMON}.values()), tuple({**_FILES_X86_64, **_FILES_COMMON}.values()),
        ((2, _SECOND), (257, _THIRD)), (62, 200, 234, 129, 297), 424, 56, 435, 302, 16, True,
    ),
    "aarch64": _Machine(
        0xC00000B7, tuple({**_AARCH64, **_COMMON}.values()), tuple({**_FILES_AARCH64, **_FILES_COMMON}.values()),
        ((56, _THIRD),), (129, 130, 131, 138, 240), 424, 220, 435, 261, 29, False,
    ),
}  # fmt: skip


def available() -> bool:
    """Whether this machine's calls are known here and its kernel takes filters."""
    return platform.machine() in _MACHINES and Path("/proc/sys/kernel/seccomp").exists()


def install(*, alone: int | None) -> None:
    """From now on, for this process and all that it starts. ``alone``: its pid, where it has no namespaces.

    :raises OSError: the kernel does not take it.
    """
    program = _program(_MACHINES[platform.machine()], alone)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count, and where the instructions are.
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
    libc.prctl(libc.PR_SET_SECCOMP, 2, ctypes.addressof(header))


Instruction = tuple[int, int, int, int]
"""Operation, instructions to skip if true, if false, and a constant."""


def _program(machine: _Machine, own: int | None) -> list[Instruction]:
    refuse = (_RETURN, 0, 0, _REFUSE | _EPERM)
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.architecture),
        # Calls of another architecture have other numbers.
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine.has_x32:
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE | _ENOSYS)]
    # Its flags are in memory, where a filter cannot look; the C library then uses clone.
    program += [(_EQUAL, 0, 1, machine.clone3), (_RETURN, 0, 0, _REFUSE | _ENOSYS)]
    for number in machine.refused:
        program += [(_EQUAL, 0, 1, number), refuse]
    allow = (_RETURN, 0, 0, _ALLOW)
    if own is not None:
        program += _without_namespaces(machine, own)
    program += [(_EQUAL, 0, 4, machine.clone), (_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NEW_NAMESPACE), refuse, allow]
    # Limits of other processes: the supervisor's, where it is the same user's.
    program += [(_EQUAL, 0, 4, machine.prlimit), (_LOAD, 0, 0, _FIRST), (_EQUAL, 1, 0, 0), refuse, allow]
    program += [
        (_EQUAL, 0, 6, machine.ioctl),
        (_LOAD, 0, 0, _SECOND),
        (_EQUAL, 3, 0, _TIOCSTI),
        (_EQUAL, 2, 0, _TIOCLINUX),
        (_EQUAL, 1, 0, _SET_FLAGS),
        (_EQUAL, 0, 1, _SET_ATTRIBUTES),
        refuse,
        allow,
    ]
    return program


def _without_namespaces(machine: _Machine, own: int) -> list[Instruction]:
    refuse, allow = (_RETURN, 0, 0, _REFUSE | _EPERM), (_RETURN, 0, 0, _ALLOW)
    program: list[Instruction] = []
    for number in (*machine.files, machine.pidfd_signal):
        program += [(_EQUAL, 0, 1, number), refuse]
    for number in machine.signals:
        # 0 is the own group.
        program += [
            (_EQUAL, 0, 5, number),
            (_LOAD, 0, 0, _FIRST),
            (_EQUAL, 2, 0, own),
            (_EQUAL, 1, 0, 0),
            refuse,
            allow,
        ]
    # Its flags are in memory, too.
    program += [(_EQUAL, 0, 1, _OPENAT2), (_RETURN, 0, 0, _REFUSE | _ENOSYS)]
    for number, flags in machine.opens:
        program += [
            (_EQUAL, 0, 5, number),
            (_LOAD, 0, 0, flags),
            (_AND, 0, 0, _EMPTIES_AS_IT_READS),
            (_EQUAL, 0, 1, os.O_TRUNC),
            refuse,
            allow,
        ]
    return program
