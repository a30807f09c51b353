"""Failures: what an error of SQLite or of the operating system means for the user.

Invariants
    F1  Only SQLITE_ERRORS and OSError are translated; KeyboardInterrupt and bugs pass as they are.
    F2  Anything that says the file is not what it should be becomes StoreDamaged. Where that is doubtful, the
        store is looked at once more before it is set aside.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import StoreDamaged, StoreError, StoreFull, StoreInUse, StoreReadOnly

_CANNOT_WRITE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_NOT_ABOUT_THE_FILE = (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_TOOBIG)
# A quota, a limit on file sizes, or the disk; the second of the index of the log, which readers need too.
NO_ROOM = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a path leads nowhere, or somewhere else by now
# The disk or the system failed at it: that says nothing of a file, and may be over the next time.
PASSING = (errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
NO_WRITING = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
LONGEST_PATH = 504  # bytes: SQLite takes 512, and adds an ending
DESCRIPTORS = 8  # a store has six; when this is looked at, some of them may be closed again

OTHER_STORE = "Name another store."
_CLOSE_SOME = "Close some, or let the process have more (ulimit -n)."

# The second comes where a damaged name stands in the very text of SQLite's message.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)


def from_sqlite(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> StoreError:
    """The error to raise instead of `error`."""
    if isinstance(error, UnicodeDecodeError):
        return StoreDamaged(store=path, reason="names that are no text")
    kind: type[StoreError] = StoreError
    hint: str | None = None
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary is None:  # raised by the Python module itself: closed connection, too large a value
        pass
    elif primary == sqlite3.SQLITE_FULL:
        kind = StoreFull
    elif code in NO_ROOM:
        kind, hint = StoreFull, "Answers stay right from memory; the next commit tries again."
    elif primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        kind, hint = StoreInUse, "Another program holds a transaction on the file: close it."
    elif primary == sqlite3.SQLITE_CANTOPEN and len(os.fsencode(path)) > LONGEST_PATH:
        return StoreError(store=path, reason="its path is too long for SQLite", hint=OTHER_STORE)
    elif primary == sqlite3.SQLITE_CANTOPEN and lacks_descriptors():
        return StoreError(store=path, reason=os.strerror(errno.EMFILE), hint=_CLOSE_SOME)
    elif primary in _CANNOT_WRITE:
        kind = StoreReadOnly
    elif primary == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        hint = "The disk or its file system answered with an error."
    elif primary not in _NOT_ABOUT_THE_FILE:
        kind = StoreDamaged
    return kind(hint=hint, store=path, reason=error)


def is_doubtful(damage: BaseException) -> bool:
    """Whether SQLite calls something malformed. So it calls a page, too, that the disk failed to give: of a
    read that ends with EIO it makes SQLITE_IOERR_CORRUPTFS, and of that SQLITE_CORRUPT.
    """
    found: BaseException | None = damage
    while found is not None:
        if getattr(found, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            return True
        found = found.__cause__
    return False


def from_os(error: OSError, path: Path) -> StoreError:
    """The error to raise when a file of the store cannot be made or changed."""
    if error.errno in NO_WRITING:
        return StoreReadOnly(store=path, reason=error.strerror)
    if error.errno in FULL:
        return StoreFull(store=path, reason=error.strerror)
    hint = _CLOSE_SOME if error.errno in NO_DESCRIPTOR else OTHER_STORE
    return StoreError(store=path, reason=error.strerror or error, hint=hint)


def lacks_descriptors() -> bool:
    """Whether fewer files can be opened than a store needs. SQLite says only that it cannot open one."""
    opened: list[int] = []
    try:
        for _ in range(DESCRIPTORS):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in NO_DESCRIPTOR
    finally:
        for fd in opened:
            os.close(fd)
    return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the operating system into the engine's own."""
    try:
        yield
    except SQLITE_ERRORS as error:
        raise from_sqlite(error, path) from error
    except OSError as error:
        raise from_os(error, path) from error
