"""Lock: one writer per store, and who it is.

Invariants
    L1  The lock is the kernel's (flock): it ends with its process, however that ends.
    L2  It belongs to the file `lock` itself, so two paths to one directory share it.
    L3  The text in the file only serves messages; nobody decides anything by it but how long to retry.
    L4  Readers share a second lock, `lock.readers`. While one of them reads, nothing is merged, so that
        every merge is complete and can be sealed.
    L5  A forked child does not keep its parent's locks.
    L6  An interrupt leaves no lock behind: who was taking it has none, and who was releasing it releases it
        now, or when it is told so once more. See test_store_lock_struck.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from engine.errors import StoreInUse
from engine.store.failures import FULL

# Who is named as holder has just died or is about to write its name: look again for this long.
RETRY_SECONDS = 0.5
RETRY_STEP_SECONDS = 0.01
MERGE_SECONDS = 10.0  # merging and sealing takes about 5 ms per MB


class Held:
    """A lock that this process has or is taking. `release` gives it up; so does the end of the process."""

    _all: ClassVar[set[Held]] = set()

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._all.add(self)

    def release(self) -> None:
        """Once; a second time it does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                self._all.discard(self)
                self._before_release(fd)
                fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was forked in this moment keeps its descriptor
            finally:
                os.close(fd)  # at once: a call of ours would be the next place for an interrupt

    def _before_release(self, fd: int) -> None:
        """Something else to do."""

    @classmethod
    def after_fork(cls) -> None:
        for lock in cls._all:
            fd, lock.fd = lock.fd, -1
            if fd >= 0:
                os.close(fd)
        cls._all = set()


class WriterLock(Held):
    """The right to write. Make it with `WriterLock.acquire`; release it when nothing else is open."""

    _is_named = False  # in the file

    @classmethod
    def acquire(cls, path: Path) -> WriterLock:
        """Take the lock, or raise StoreInUse within a second. OSError: the file cannot be made."""
        lock = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            deadline = time.monotonic() + RETRY_SECONDS
            while not _flock(lock.fd, fcntl.LOCK_EX):
                holder = os.pread(lock.fd, 1000, 0)
                if _is_alive(holder) or time.monotonic() > deadline:
                    raise in_use(path, holder)
                time.sleep(RETRY_STEP_SECONDS)
            lock._is_named = True
            _name_holder(lock.fd)
        except BaseException:
            lock.release()
            raise
        return lock

    def _before_release(self, fd: int) -> None:
        if self._is_named:  # else it is the name of who holds it
            with suppress(OSError):  # on a full disk it may have to stay
                os.ftruncate(fd, 0)


def make_lock_file(path: Path) -> None:
    """Make the file that readers lock; they make nothing themselves."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def hold_as_reader(path: Path) -> Held | None:
    """Keep the log from being merged while we read. None: there is no such file, so nobody merges."""
    try:
        held = Held(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except FileNotFoundError:
        return None
    deadline = time.monotonic() + MERGE_SECONDS
    try:
        while not _flock(held.fd, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise StoreInUse(store=path.parent, holder="a writer that is merging its log")
            time.sleep(RETRY_STEP_SECONDS)
    except BaseException:
        held.release()
        raise
    return held


def keep_readers_out(path: Path) -> tuple[bool, Held]:
    """Whether no reader of ours is there, and what keeps new ones waiting until it is released."""
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # deleted, the file comes back
    held = Held(os.open(path, flags, 0o600))
    try:
        return _flock(held.fd, fcntl.LOCK_EX), held
    except BaseException:
        held.release()
        raise


@contextmanager
def while_no_writer(path: Path) -> Iterator[bool]:
    """Yield whether there is no writer, and keep new ones out for so long. Nothing is created."""
    try:
        held = Held(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except FileNotFoundError:  # never written to, or a copy: nobody can be writing
        yield True
        return
    try:
        yield _flock(held.fd, fcntl.LOCK_SH)
    finally:
        held.release()


def lock_file(fd: int) -> bool:
    """Lock an open file. False: another process has it, or another descriptor."""
    return _flock(fd, fcntl.LOCK_EX)


def unlock_file(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_UN)


def in_use(path: Path, holder: bytes) -> StoreInUse:
    """The message that names who has the store."""
    lines = holder.decode(errors="replace").splitlines()
    if len(lines) < 3:
        return StoreInUse(store=path.parent, holder="unknown")
    pid, host, since = lines[:3]
    if pid == str(os.getpid()) and host == os.uname().nodename:
        hint = "It is open in this process already: use that engine, threads may share it; or read_only=True."
        return StoreInUse(store=path.parent, holder=f"process {pid}, this one, since {since}", hint=hint)
    where = "" if host == os.uname().nodename else f" on {host}"
    return StoreInUse(store=path.parent, holder=f"process {pid}{where}, since {since}")


def _name_holder(fd: int) -> None:
    """Write who holds the lock, for messages (L3). A full disk is no reason not to hold it."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n{os.uname().nodename}\n{started}\n".encode(), 0)
    except OSError as error:
        if error.errno not in FULL:
            raise


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(holder: bytes) -> bool:
    """Whether the process named in the file exists, as far as can be told from here."""
    lines = holder.decode(errors="replace").splitlines()
    if len(lines) < 3 or not lines[0].isdecimal():
        return False
    if lines[1] != os.uname().nodename:
        return True
    try:
        os.kill(int(lines[0]), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


os.register_at_fork(after_in_child=Held.after_fork)
