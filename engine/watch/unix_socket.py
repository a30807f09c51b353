"""Unix sockets with a name in the file system: listening on one, connecting to one.

Invariants
    U1  Only our own user can connect: the file is 0600 before the first connection is possible.
    U2  A file is replaced only if it is a socket on which nobody answers, and never by two at once.
    U3  A path may be longer than an address of the kernel: it is then named from its directory.
    U4  Nobody is waited for without a limit.

Failures are `OSError`s; the caller knows what the socket is for, and what to tell.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ADDRESS_BYTES: Final = 103  # of sun_path where it is shortest (104 with its end, on BSD; 108 on Linux)
BACKLOG: Final = 64  # clients that connect at the same moment
LOCK_SECONDS: Final = 2.0  # whoever has the lock looks at one file and binds: some milliseconds
STEP_SECONDS: Final = 0.005  # between two attempts
SHORT_SECONDS: Final = 0.1  # for a server, until descriptors or threads may be there again
PRIVATE: Final = 0o600
CREDENTIALS: Final = "3i"  # struct ucred: pid, uid, gid


def listen(path: str | os.PathLike[str]) -> socket.socket:
    """A socket that listens at `path`, 0600. Give it up with `withdraw`.

    OSError, with errno EADDRINUSE if another process answers there, EEXIST if something lies there that
    is not a socket. A socket that a dead process left is replaced.
    """
    with _directory(path) as (directory, name), _locked(directory):
        address = _address(path, directory, name)
        _make_room(path, address, directory, name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(address)
            # Nobody can connect before `listen`, so this is early enough for any umask (U1).
            os.chmod(name, PRIVATE, dir_fd=directory)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


def withdraw(listener: socket.socket, path: str | os.PathLike[str]) -> None:
    """Stop listening, and remove the file unless another process listens there by now."""
    try:
        listener.shutdown(socket.SHUT_RDWR)  # a forked child may have it too: it ends for both
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF, errno.EINVAL):
            raise
    finally:
        listener.close()
    try:
        with _directory(path) as (directory, name), _locked(directory):
            if _is_socket(name, directory) and not _answers(_address(path, directory, name)):
                os.unlink(name, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):  # the directory went away, and the file with it
        return


def connect(path: str | os.PathLike[str], timeout: float) -> socket.socket:
    """A connection to whoever listens at `path`; `timeout` seconds for this and for each later call on it.

    OSError: FileNotFoundError or ConnectionRefusedError if nobody is there, TimeoutError if nobody has
    time, PermissionError if the other side is not our user (nor root).
    """
    deadline = time.monotonic() + timeout
    with _directory(path) as (directory, name):
        address = _address(path, directory, name)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            while True:
                try:
                    connection.connect(address)
                    break
                except BlockingIOError:  # its queue is full: Linux says so at once instead of waiting
                    if time.monotonic() > deadline:
                        raise TimeoutError(errno.ETIMEDOUT, "nobody answers", os.fspath(path)) from None
                    time.sleep(STEP_SECONDS)
            owner = peer_user(connection)
            if owner not in (None, os.geteuid(), 0):
                raise PermissionError(errno.EPERM, f"user {owner} answers there", os.fspath(path))
        except BaseException:
            connection.close()
            raise
        return connection


def peer_user(connection: socket.socket) -> int | None:
    """The user id of the process on the other side; None where the kernel does not tell."""
    if sys.platform != "linux":
        return None
    known = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(CREDENTIALS))
    return int(struct.unpack(CREDENTIALS, known)[1])


# -- how -----------------------------------------------------------------------------------------


@contextmanager
def _directory(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """The directory of `path` as a descriptor, and the name in it."""
    text = os.fspath(path)
    parent, name = os.path.split(text)
    if name in ("", ".", "..") or "\0" in text:  # a first NUL would mean a socket without a file
        raise OSError(errno.EINVAL, "this is not the name of a socket", text)
    directory = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory, name
    finally:
        os.close(directory)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """Keep others out between looking at a dead socket and binding in its place (U2)."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(STEP_SECONDS)
    yield  # the lock ends with the descriptor


def _address(path: str | os.PathLike[str], directory: int, name: str) -> bytes:
    direct = os.fsencode(path)
    if len(direct) <= ADDRESS_BYTES:
        return direct
    near = os.fsencode(f"/proc/self/fd/{directory}/{name}")
    if len(near) > ADDRESS_BYTES or not os.path.isdir("/proc/self/fd"):
        raise OSError(errno.ENAMETOOLONG, "this is too long for a socket", os.fspath(path))
    return near


def _make_room(path: str | os.PathLike[str], address: bytes, directory: int, name: str) -> None:
    try:
        kind = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "something lies there that is not a socket", os.fspath(path))
    if _answers(address):
        raise OSError(errno.EADDRINUSE, "another process answers there", os.fspath(path))
    os.unlink(name, dir_fd=directory)


def _is_socket(name: str, directory: int) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _answers(address: bytes) -> bool:
    """Whether a process listens. It need not have time for us: a full queue is somebody's queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        refused = probe.connect_ex(address)
    return refused not in (errno.ECONNREFUSED, errno.ENOENT)
