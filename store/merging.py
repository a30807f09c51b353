"""Merging: connections to the file, and the only two ways in which its main part changes.

Invariants
    M1  The main file changes when it is made and when the log is merged, and it is sealed after both.
    M2  Closing a connection never merges by itself.
    M3  A connection believes nothing and cannot write until `trust` has been called.
    M4  A new store appears under its name only when it is whole.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from engine.store import checksums, rows, schema, seal
from engine.store.directory import Files
from engine.store.failures import NO_ROOM, SQLITE_ERRORS, lacks_descriptors
from engine.store.lock import Held, keep_readers_out
from engine.store.ongoing import Ongoing
from engine.store.others import commits_of_others
from engine.store.proof import Proof
from engine.store.rawfile import RawFile

BUSY_SECONDS = 5.0  # another program may hold a transaction while somebody looks at the store
MOST_PASSES = 8  # over the log, while others commit
LOOK_SECONDS = 0.1  # a worker that looks into a table is done by then, also on a busy machine
BRIEF_SECONDS = 0.02  # what a pass copies in less can be left to those that keep others out

IMMUTABLE = "Nothing can be written where the store lies: changes still in its log are not seen."


@define(eq=False, repr=False)
class Opened:
    """A connection and what goes with it."""

    files: Files
    connection: sqlite3.Connection
    raw: RawFile
    stored: rows.StateRow
    base: bytes  # what commits must name, empty while there is no seal
    notes: list[str] = field(factory=list)
    lock: Held | None = None  # the writer's or a reader's
    can_write: bool = False
    audited: bool = False
    proof: Proof | None = None  # under way; until it holds, see `Store.prove`
    ongoing: Ongoing | None = None  # a merge of the log
    of_others: int = 0  # as `commits_of_others` when what it holds was known to be ours
    is_shut: bool = False
    _uses_raw: bool = True
    _pid: int = field(factory=os.getpid)

    def stop_merging(self) -> None:
        """After this, no thread merges the log."""
        if self.ongoing is not None:
            self.ongoing.stop()
            self.ongoing = None

    def shut(self) -> None:
        """Close in the only right order: threads, connection, descriptor, lock.

        Interrupted, it goes on the next time; then, it does nothing, as in a forked child.
        """
        if self.is_shut or os.getpid() != self._pid:
            return
        self.stop_merging()  # struck while it waits, all stays open: the thread is at it
        try:
            if self.proof is not None:
                self.proof.stop()
            if self.can_write:
                close_unmerged(self.files, self.connection)
            else:
                self.connection.close()  # opened with mode=ro, so it does not checkpoint
        finally:
            try:
                if self._uses_raw and self.can_write:
                    self.raw.unlock()
                uses, self._uses_raw = self._uses_raw, False
                if uses:
                    self.raw.close()
            finally:
                if self.lock is not None:
                    self.lock.release()
        self.is_shut = True


def close_unmerged(files: Files, connection: sqlite3.Connection) -> None:
    """Close without a checkpoint: the last connection to close makes one, unless it cannot write.

    Before Python 3.12 that takes a second connection. Where none is to be had, as with no descriptor left, or
    a statement outlives both, the log is merged under the seal: nothing is lost, and the next opening checks
    everything.
    """
    if sys.version_info >= (3, 12):  # `connect` has told it not to
        connection.close()
        return
    try:
        guardian = sqlite3.connect(files.uri("mode=ro"), uri=True, timeout=0, check_same_thread=False)
        try:
            guardian.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except SQLITE_ERRORS:  # damaged or gone: then there is nothing to protect from a checkpoint
            guardian.close()
            connection.close()
        else:
            connection.close()
            guardian.close()
    except SQLITE_ERRORS:
        connection.close()


def merge(opened: Opened, *, force: bool = False) -> bool:
    """Merge the log into the main file and seal it; True: all of it.

    While a reader is there nothing happens, unless by `force`: then the file stays without a seal until
    a later merge succeeds. So it does where another program has written, and the next opening reads all.
    `opened.stored` must be what the file says.
    """
    free, readers = keep_readers_out(opened.files.readers)
    try:
        if not free and not force:
            return False
        unseal(opened)
        opened.base = b""  # not before: a commit that rests on no seal, beside one, counts as a stray log
        if not empty_log(opened):
            return False
        readers.release()  # all is merged, and what they read changes no more
        one = seal_of(opened.raw, seal.stamp_of(opened.raw.fd), opened.raw.digest(), opened.stored)
        if not is_ours(opened):
            return False
        seal.write_seal(opened.files.seal, one)
        opened.base = one.base
        return True
    finally:
        readers.release()


def unseal(opened: Opened) -> None:
    """The main file is about to change (seal Z1). The log keeps its length meanwhile, see `shorten_log`."""
    opened.connection.execute("PRAGMA journal_size_limit = -1")
    seal.remove_seal(opened.files.seal)


def copy_log(files: Files, raw: RawFile, synchronous: str, commit: Callable[[], None]) -> bool:
    """Copy what the log holds now into the main file; who commits meanwhile waits for nothing.

    There must be another connection, or this one merges when it is closed (M2). False: another file lies
    in its place by now.

    commit  adds something to the log. Where all of it was copied, a commit begins it anew; made just as a
            pass begins, that is taken for copied by SQLite before 3.51.3: sqlite.org/wal.html#walresetbug
    """
    connection = connect(files, "mode=rw")
    try:
        if not raw.is_at(files.database):  # nothing of it was read, so closing it merges nothing
            return False
        trust(connection, synchronous)
        # Until something has been read, SQLite answers "database table is locked" to a checkpoint.
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        for _ in range(MOST_PASSES):  # and then what was committed meanwhile
            commit()
            began = time.monotonic()
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if time.monotonic() - began < BRIEF_SECONDS:
                break
    finally:
        connection.close()
    if synchronous != "OFF":  # SQLite leaves that to the end, where a commit would wait for it
        os.fsync(raw.fd)
    return True


def sync(path: Path, synchronous: str) -> None:
    """Let what is in a file or a directory stand a power cut."""
    if synchronous != "OFF":
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def empty_log(opened: Opened) -> bool:
    """Copy what is left in the log into the main file, and empty it. False: a reader is in the way."""
    return _checkpoint(opened.connection, "TRUNCATE") and not opened.files.wal_size()


def shorten_log(opened: Opened, bytes: int) -> bool:
    """Copy what is left in the log into the main file; the next commit makes the log shorter by so much."""
    left = opened.files.wal_size() - bytes
    opened.connection.execute(f"PRAGMA journal_size_limit = {max(left, 0)}")
    return _checkpoint(opened.connection, "RESTART")


def _checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    # Nobody else writes. Other readers may stay long, but workers of ours only look: see beside E2.
    connection.execute(f"PRAGMA busy_timeout = {int(LOOK_SECONDS * 1000)}")
    try:
        busy, *_ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    return not busy


def seal_of(raw: RawFile, stamp: bytes, digest: bytes, stored: rows.StateRow) -> seal.Seal:
    """The seal for the main file as it is now. The stamp was taken before the digest was (seal Z4)."""
    return seal.Seal(schema.VERSION, raw.size(), digest, checksums.state_sum(stored), stamp)


def is_ours(opened: Opened) -> bool:
    """Whether nobody else has committed since all was known to be ours: what others wrote is not sealed.

    Asked when the digest is known. What is written later is in the log then, or makes another digest.
    """
    return commits_of_others(opened.connection) == opened.of_others


def create(files: Files) -> None:
    """Make an empty store beside the name, then give it its name."""
    os.close(os.open(files.new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(files.new, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # nobody sees it before it is whole
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("BEGIN IMMEDIATE")
        schema.create_tables(connection)
        empty = rows.StateRow(rows.State(), checksums.total_bytes(0), b"")
        connection.execute("INSERT INTO state VALUES (1,?,?,?,?,?,?,?,?,?,?)", state_columns(empty))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()
    fd = os.open(files.new, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(files.new, files.database)
    raw = RawFile.open(files.database)
    try:
        seal.write_seal(files.seal, seal_of(raw, b"", raw.digest(), empty))
    finally:
        raw.close()


def state_columns(row: rows.StateRow) -> tuple[object, ...]:
    state, total, base = row
    return (
        state.revision, state.next_node, state.next_query, state.suspects, *state.last_changed,
        total, base, checksums.state_sum(row),
    )  # fmt: skip


def connect(files: Files, options: str) -> sqlite3.Connection:
    """A connection that believes nothing yet and cannot write: see `trust`."""
    connection = sqlite3.connect(
        files.uri(options),
        uri=True,
        isolation_level=None,  # transactions are begun by us
        check_same_thread=False,  # Store has a lock of its own
        timeout=BUSY_SECONDS,
        cached_statements=256,
    )
    try:
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        connection.text_factory = _text
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        close_unmerged(files, connection)
        raise
    return connection


def _text(data: bytes) -> str:
    """Damaged text must reach its checksum, not fail on the way there."""
    return data.decode(errors="surrogateescape")


def trust(connection: sqlite3.Connection, synchronous: str) -> None:
    connection.execute("PRAGMA query_only = OFF")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA secure_delete = OFF")  # a compile-time default of Debian; costs writes
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32768")  # KiB


def connect_read_only(files: Files, notes: list[str]) -> sqlite3.Connection:
    """On a read-only or a full file system a WAL may not be read at all: then only the main file is."""
    connection = connect(files, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        cannot = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if (not cannot and error.sqlite_errorcode not in NO_ROOM) or lacks_descriptors():
            raise
        if files.wal_size():
            notes.append(IMMUTABLE)
        return connect(files, "mode=ro&immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection
