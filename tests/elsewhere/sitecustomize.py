"""Elsewhere: a Python that finds nothing of what Linux alone has, as on another POSIX system.

`PYTHONPATH=$PWD/tests/elsewhere python -m pytest` runs all tests so; a few are of Linux, and fail. There is
no /proc, no O_PATH, no count of usable processors, no size of pipes, nobody says whose a socket is, and
`sys.platform` names another system.
"""

from __future__ import annotations

# Modules that ask for the system as they are imported: they are for the one that there is.
import asyncio
import builtins
import ctypes.util
import errno
import fcntl
import http.server
import io
import multiprocessing
import os
import platform
import select
import socket
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

_IMPORTED = (
    asyncio,
    ctypes.util,
    http.server,
    multiprocessing,
    platform,
    subprocess,
    tempfile,
    urllib.request,
    uuid,
)
_OF_LINUX: dict[Any, tuple[str, ...]] = {
    os: ("O_PATH", "sched_getaffinity", "posix_fadvise", "memfd_create", "pidfd_open"),
    fcntl: ("F_SETPIPE_SZ", "F_GETPIPE_SZ"),
    socket: ("SO_PEERCRED",),
    select: ("epoll",),
}


def _hidden(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the system to which there is no /proc."""

    def asked(path: Any, *args: Any, **options: Any) -> Any:
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if name == "/proc" or name.startswith("/proc/"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return call(path, *args, **options)

    return asked


def _leave_linux() -> None:
    sysconfig.get_config_vars()
    subprocess._CAN_USE_PIDFD_OPEN = False  # type: ignore[attr-defined]  # 3.15 found out when it was imported
    for module, names in _OF_LINUX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for name in ("open", "stat", "lstat", "readlink", "listdir", "scandir", "chdir", "access"):
        before = getattr(os, name)
        after = _hidden(before)
        setattr(os, name, after)
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if before in able:
                able.add(after)
    builtins.open = io.open = _hidden(builtins.open)
    sys.platform = "darwin"


_leave_linux()
