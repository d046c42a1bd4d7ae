"""Which file system a folder is on, as far as it matters: network drives do not report what other machines change."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "glusterfs", "9p", "davfs"),
        *("vboxsf", "prl_fs", "drvfs", "fuse.vmhgfs-fuse", "vmhgfs"),  # folders that a virtual machine shares
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.davfs2", "fuse.smbnetfs"),
    }
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the network file system that a path is on; empty for a local one, and where that cannot be known."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    place = os.path.realpath(path).rstrip("/") + "/"
    best, kind = "", ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # The kernel writes a space in a name as \040.
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[1]).rstrip("/") + "/"
        if place.startswith(point) and len(point) >= len(best):  # of two at one place the later one is on top
            best, kind = point, fields[2]
    return kind if kind in NETWORK_FILE_SYSTEMS else ""
