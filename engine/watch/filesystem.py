"""Filesystem: whether the kernel hears of all changes of the file system that a root is on, and which it is.

On network and host-shared mounts others write without this kernel's knowledge (watchman and Gradle refuse
them; cocoindex warns). Here such a root is scanned. And what is mounted over a directory hides the one that
is watched, of which no event tells.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

MOUNTS: Final = "/proc/self/mountinfo"
_NAMES = (
    "9p afs beegfs ceph cifs davfs fuse.glusterfs fuse.grpcfuse fuse.osxfs fuse.rclone fuse.s3fs fuse.sshfs "
    "gfs2 glusterfs gpfs lustre nfs nfs4 ocfs2 prl_fs smb2 smb3 smbfs vboxsf virtiofs vmhgfs"
)
SILENT = frozenset(_NAMES.split())
_ESCAPED = re.compile(r"\\([0-7]{3})")


def why_silent(root: Path, mounts: str = MOUNTS) -> str:
    """Why changes below a root go by without events; "" where they do not, or nobody knows."""
    place = os.path.realpath(root)
    longest, kind = "", ""
    for _, point, found in _mounted(mounts):
        if _is_in(place, point) and len(point) >= len(longest):
            longest, kind = point, found
    return (
        f"{longest} is a {kind} mount: its kernel tells of no changes made elsewhere"
        if kind in SILENT
        else ""
    )


class Mounts:
    """The mounts above and below a root. `changed` is called when they are others; thread safe.

    Made before the root is looked at; close it.
    """

    def __init__(self, root: Path, changed: Callable[[], None], mounts: str = MOUNTS) -> None:
        self._root = root
        self._changed = changed
        self._mounts = mounts
        self._lock = threading.Lock()
        self._poller = select.poll()
        self._file: int | None = None
        with contextlib.suppress(OSError):  # another system
            self._file = os.open(mounts, os.O_RDONLY | os.O_CLOEXEC)
            self._poller.register(self._file, select.POLLPRI)
        self._known = self._here()

    def look(self) -> None:
        """Whether they are others than at the last call. Who asks later finds `changed` called already."""
        with self._lock:
            # The kernel says so once, whatever was mounted wherever. One call of the system, as a rule.
            if self._file is None or not self._poller.poll(0):
                return
            before, self._known = self._known, self._here()
            if self._known != before:
                self._changed()

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            if self._file is not None:
                self._poller.unregister(self._file)
                os.close(self._file)
            self._file = None

    def _here(self) -> list[tuple[str, str, str]]:
        place = os.path.realpath(self._root)
        return [one for one in _mounted(self._mounts) if _is_in(place, one[1]) or _is_in(one[1], place)]


def _mounted(mounts: str) -> Iterator[tuple[str, str, str]]:
    """The number of each mount, where it is, and the kind of its file system; none on another system."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = list(file)
    except OSError:
        return
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) >= 5 and after:
            point = _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])  # "\040" is a space
            yield fields[0], point, after.split(" ")[0]


def _is_in(place: str, directory: str) -> bool:
    return place == directory or place.startswith(directory.rstrip("/") + "/")
