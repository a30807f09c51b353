"""Filesystem: whether the kernel hears of all changes of the file system that a root is on.

On network and host-shared mounts others write without this kernel's knowledge (watchman and Gradle refuse
them; cocoindex warns). Here such a root is scanned.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAMES = (
    "9p afs beegfs ceph cifs davfs fuse.glusterfs fuse.grpcfuse fuse.osxfs fuse.rclone fuse.s3fs fuse.sshfs "
    "gfs2 glusterfs gpfs lustre nfs nfs4 ocfs2 prl_fs smb2 smb3 smbfs vboxsf virtiofs vmhgfs"
)
SILENT = frozenset(_NAMES.split())
_ESCAPED = re.compile(r"\\([0-7]{3})")


def why_silent(root: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """Why changes below a root go by without events; "" where they do not, or nobody knows."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = list(file)
    except OSError:  # another system: it has no such mounts listed
        return ""
    place = os.path.realpath(root)
    longest, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])  # "\040" is a space
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):
            longest, kind = point, after.split(" ")[0]
    return (
        f"{longest} is a {kind} mount: its kernel tells of no changes made elsewhere"
        if kind in SILENT
        else ""
    )
