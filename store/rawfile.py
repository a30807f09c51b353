"""RawFile: the database file as plain bytes, next to SQLite's own connections.

Invariants
    B1  In this process at most one descriptor is open per file, and it is closed only when no store of
        this process uses that file any more. POSIX drops all locks of a process on a file when *any* of
        its descriptors closes; SQLite's own locks would go, and another program could checkpoint under us.
    B2  Nothing is ever written through it.
    B3  Symbolic links, devices, pipes and directories are never opened.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from blake3 import blake3

from engine.errors import StoreForeign
from engine.store.failures import NOT_THERE
from engine.store.lock import lock_file, unlock_file

CHUNK_BYTES = 8 << 20  # one read; 4 GiB/s measured, and a mapping would need a second descriptor


class RawFile:
    """A counted, shared, read-only descriptor. Make it with `RawFile.open`."""

    _open: ClassVar[dict[tuple[int, int], RawFile]] = {}
    _guard: ClassVar[threading.RLock] = threading.RLock()

    # blake3 keeps a pool of threads. In a forked child those threads do not exist, and it would wait
    # for them for ever: see test_after_fork_a_child_may_open_the_store_itself.
    _hash_threads: ClassVar[int] = blake3.AUTO

    def __init__(self, fd: int, identity: tuple[int, int]) -> None:
        self.fd = fd
        self.identity = identity
        self.users = 0
        self.has_writer = False
        self.spare: list[int] = []  # descriptors that are closed with it

    @classmethod
    def open(cls, path: Path) -> RawFile:
        """The file at `path`, which must be a regular one. FileNotFoundError when there is none."""
        with cls._guard:
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise StoreForeign(file=path, kind=kind_of(found.st_mode))
            raw = cls._open.get((found.st_dev, found.st_ino))
            if raw is None:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                now = os.fstat(fd)
                raw = cls(fd, (now.st_dev, now.st_ino))
                known = cls._open.setdefault(raw.identity, raw)
                if known is not raw:  # it was renamed to here just now
                    known.spare.append(fd)  # to close it now would be against B1
                    raw = known
            raw.users += 1
            return raw

    def lock(self) -> bool:
        """Lock the file itself as well: a hard link to it may lie elsewhere. False: somebody has it."""
        with self._guard:  # a descriptor that is locked is locked once more without a word
            if self.has_writer or not lock_file(self.fd):
                return False
            self.has_writer = True
            return True

    def unlock(self) -> None:
        """Before closing: a reader may share the descriptor, or a child that was forked just now."""
        self.has_writer = False
        unlock_file(self.fd)

    def share(self) -> None:
        """One more uses it, and will `close` it."""
        with self._guard:
            self.users += 1

    def close(self) -> None:
        """Give it back. Call it after the connections to the file are closed (B1)."""
        with self._guard:
            self.users -= 1
            if self.users == 0:
                del self._open[self.identity]
                for fd in (self.fd, *self.spare):
                    os.close(fd)

    def is_at(self, path: Path) -> bool:
        """Whether the path still names this very file."""
        try:
            found = os.lstat(path)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            return False
        return (found.st_dev, found.st_ino) == self.identity

    def owner(self) -> int:
        return os.fstat(self.fd).st_uid

    def head(self) -> bytes:
        return os.pread(self.fd, 100, 0)

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def digest(self, *, beside: bool = False, stopped: Callable[[], bool] = lambda: False) -> bytes:
        """blake3 of the whole file: 256 MB take about 60 ms.

        beside   others are at work: take no more than one core
        stopped  asked every few milliseconds; True ends it, with a digest of no file
        """
        size = self.size()
        hasher = blake3(max_threads=1 if beside or size <= CHUNK_BYTES else self._hash_threads)
        buffer = memoryview(bytearray(min(CHUNK_BYTES, size + 1)))
        offset = 0
        while count := os.preadv(self.fd, [buffer], offset):
            if stopped():
                return b""
            hasher.update(buffer[:count])
            offset += count
        return hasher.digest()

    @classmethod
    def after_fork(cls) -> None:
        """In a child: its parent's descriptors are not ours to use."""
        for raw in cls._open.values():
            for fd in (raw.fd, *raw.spare):
                os.close(fd)
        cls._open = {}
        cls._hash_threads = 1
        cls._guard = threading.RLock()


def kind_of(mode: int) -> str:
    """The word for a file that is not a regular one."""
    for test, name in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return name
    return "a regular file"


os.register_at_fork(after_in_child=RawFile.after_fork)
