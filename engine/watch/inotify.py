"""Inotify: what Linux tells of the inotify instances of this process, and of its limits.

watchfiles hides its instances; they are found in /proc. Other systems have none, and nothing is known there.

Invariants
    I1  Only asked, never changed: an instance belongs to watchfiles, and may be closed at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios


def instances() -> set[int]:
    """This process's inotify instances; none where the system has no such list."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                    found.add(int(name))
    return found


def waiting(descriptor: int) -> int:
    """Bytes in the queue of an inotify instance; 0 where that cannot be asked, or it is closed by now."""
    count = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder)


def watched_inodes(descriptor: int) -> list[int]:
    """The numbers of what an inotify instance watches, one a watch; none where that cannot be asked."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
            lines = info.read().split("\n")
    except OSError:
        return []
    # "inotify wd:1 ino:2a8f59 sdev:fe00000 mask:..."
    return [int(line.split(" ")[2][4:], 16) for line in lines if line.startswith("inotify wd:")]


def limits_hint() -> str:
    """What to do about the system's limits, with their present values."""
    told = []
    for name in ("max_user_watches", "max_user_instances"):
        try:
            with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
                told.append(f"fs.inotify.{name} = {int(file.read())}")
        except (OSError, ValueError):  # another system
            continue
    raised = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
    return f"{'; '.join(told)}. Raise them: {raised}" if told else "Raise the system's limit of file watches."
