"""Store: ids to bytes in one SQLite file, one transaction per commit.

Invariants
    Q1  One connection writes. It checkpoints, and beside it a thread (merging). A file lock keeps other
        writers out.
    Q2  A batch is written whole or not at all, whatever is raised in between, KeyboardInterrupt included.
    Q3  `state` is what the last successful commit (or, for a reader, its transaction) says.
    Q4  What a read-only store returns is of one revision until `refresh`.
    Q5  After fork() nothing of the parent's store can be used.
    Q6  Closing never leaves a half-merged file: either merged and sealed, or not merged at all.

Not here: the order of opening (opening), SQL of rows (reading, writing), what flags mean (the core).
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engine.errors import Closed, ForkedEngine, StoreDamaged, StoreError, StoreReadOnly
from engine.store import repair, schema, seal, writing
from engine.store.collections import Collections
from engine.store.directory import private_directory
from engine.store.failures import SQLITE_ERRORS, from_sqlite, is_doubtful, translated
from engine.store.layout import Layout
from engine.store.lock import WriterLock
from engine.store.merging import Opened
from engine.store.opening import open_for_writing, reason_of
from engine.store.others import commits_of_others
from engine.store.rows import (
    Batch,
    Extent,
    State,
    StateRow,
)
from engine.store.tidying import Tidying

if TYPE_CHECKING:
    from engine.store.inspect import Statistics, Totals

CLOSE_WAL_BYTES = 4 << 20  # merged at close when the log is larger,
CLOSE_PART = 16  # and more than this part of the file, all of which is read to be sealed,
CLOSE_FILE_BYTES = 32 << 20  # or when the file is small enough to be sealed in a few milliseconds

ANOTHER = "another store lies in its place by now; that one was left as it is"


class Store(Tidying):
    """An open store. Made by `open_store`; a context manager that closes it."""

    def __init__(self, opened: Opened, *, read_only: bool, synchronous: str) -> None:
        super().__init__()
        self.files = opened.files
        self.read_only = read_only
        self.unwritable = ""  # why it is read only though it was to be written
        self.synchronous = synchronous
        self._pid = os.getpid()
        self._adopt(opened)

    def _adopt(self, opened: Opened) -> None:
        self._opened = opened
        self._condemned = None
        self._learn()
        self._connection = opened.connection
        self._raw = opened.raw
        self._stored: StateRow | None = opened.stored
        self._nothing_put_off()
        self._index = None
        self.layouts: dict[int, Layout] = {}
        self._closed = False
        self._lost: StoreError | None = None
        # Forgotten or at exit: the last connection to go would checkpoint on its own, under the seal.
        self._finalizer = weakref.finalize(self, opened.shut)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        return self.files.directory

    @property
    def path(self) -> Path:
        return self.files.database

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the file that is open, whatever lies at its path by now."""
        return self._raw.identity

    @property
    def state(self) -> State:
        return self._state_row().state

    @property
    def derived(self) -> Collections:
        """Tables, folds, their change log and its cursors."""
        return Collections(self)

    def refresh(self) -> bool:
        """Move a read-only store to the newest revision; True: there was a newer commit."""
        with self.locked() as connection:
            if not self.read_only:
                return False
            if not self._is_in_place():
                raise StoreDamaged(store=self.path, reason="it was replaced: open it again")
            before, self._stored, self._index, self._put_off = self._stored, None, None, None
            self.layouts.clear()
            if connection.in_transaction:
                connection.rollback()
            connection.execute("BEGIN")
            self._check_schema(connection)  # a commit may have added a collection
            return self._state_row() != before

    # -- writing -----------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Commit a batch in one transaction.

        Deletions come first. A node row with `value=None` keeps the stored value if the fingerprint is
        still the same, else has none. A readers row replaces the one there is; without readers it goes.
        StoreFull: nothing was written, and a later commit may succeed.
        """
        with self._guard:
            self.prove()
            connection = self._usable()
            self._must_write()
            if not self._is_in_place():
                raise StoreDamaged(store=self.path, reason="it was removed or replaced while it was in use")
            with self._transaction(connection):
                stored, put_off = self._state_row(), self.put_off
                # until the commit is known to have succeeded, ask the file
                self._stored = self._index = self._put_off = None
                self.layouts.clear()
                after = writing.write_batch(connection, batch, stored, self._opened.base, put_off)
            self._stored, self._put_off = after, put_off
            self._index = True if batch.extent is not Extent.LATER else None
            if put_off and not batch.goes_on:
                self._make_row_indexes()
            self._merge_if_above(self._merge_above, or_deleted=True)

    def checkpoint(self) -> bool:
        """Merge the log into the main file and seal it. False: a reader is in the way."""
        with self._guard:
            self.prove()
            self._must_write()
            with translated(self.path):
                return self._merge(force=True)

    def shrink(self) -> None:
        """Let go of the pages that are held in memory; those that are needed are read again."""
        with self.locked() as connection:
            connection.execute("PRAGMA shrink_memory")

    def compact(self) -> None:
        """Rewrite the file without free pages, merge and seal."""
        with self._guard:
            self.prove()
            connection = self._usable()
            self._must_write()
            self._opened.stop_merging()
            with translated(self.path):
                connection.execute("VACUUM")
            self.checkpoint()

    def start_over(self, damage: StoreDamaged) -> None:
        """Set the file aside and go on with an empty store. A note says what `damage` says.

        Another store that lies in its place is nobody's to set aside: StoreError, from now on. Where `damage`
        is doubtful, it is StoreError if the disk fails, and else all of it is checked first.
        """
        with self._guard:
            self._usable()
            self._must_write()
            # a whole project went: making a part of it anew helps nobody
            if not self.directory.parent.is_dir():
                raise StoreError(store=self.path, reason="the directory that it was in is gone")
            mine = self._is_in_place()
            doubtful = mine and is_doubtful(damage)
            if doubtful:
                with translated(self.path):
                    repair.read_whole(self.files)
                    seal.remove_seal(self.files.seal)  # so that the audit decides
            another = not mine and os.path.lexists(self.path)
            self._shut()
            try:
                with translated(self.path):
                    files = private_directory(self.directory, create=True)
                    if another:  # with a project that took the place of this one, say
                        WriterLock.acquire(files.lock).release()  # or tell who has it
                        raise StoreError(store=self.path, reason=ANOTHER, hint="Start again to use that one.")
                    distrust = reason_of(damage) if mine and not doubtful else ""
                    self._adopt(open_for_writing(files, self.synchronous, distrust=distrust))
            except StoreError as error:
                self._lost = error  # another process was quicker, say: what everybody is told from now on
                raise

    def close(self) -> None:
        """Close; a second time does nothing. What was committed stays, merged or in the log."""
        with self._guard:
            if self._closed:
                self._shut()  # does nothing, unless an interrupt came before its end
                return
            self._usable()
            try:
                with translated(self.path):
                    self._opened.stop_merging()
                    file, wal = self._raw.size(), self.files.wal_size()
                    cheap = wal > max(CLOSE_WAL_BYTES, file // CLOSE_PART) or file + wal < CLOSE_FILE_BYTES
                    # As where a merge was stopped, or a reader in its way. The next opening would read all.
                    unsealed = not self._opened.base or not os.path.lexists(self.files.seal)
                    merges = not self.read_only and not self.unproven
                    if merges and (unsealed or (wal and cheap)) and self._is_in_place():
                        self._merge()
            except StoreError as error:  # all is in the log, and the next open tells if it is not sealed
                self._note_not_merged(error)
            finally:
                self._shut()

    # -- looking -----------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """The size of the store, in a few numbers."""
        from engine.store.inspect import totals

        with self.locked() as connection, translated(self.path):
            return totals(connection, self.files)

    def statistics(self) -> Statistics:
        """Counts and sizes of everything, for people."""
        from engine.store.inspect import statistics

        with self.locked() as connection, translated(self.path):
            return statistics(connection, self.files, self.state)

    def check_invariants(self) -> None:
        """StoreDamaged unless checksums, index, readers and totals all agree. Reads everything."""
        with self.locked() as connection:
            repair.audit(connection)

    @property
    def connection(self) -> sqlite3.Connection:
        """For the modules of this package only (gc, inspect)."""
        return self._trusted()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------

    def _usable(self) -> sqlite3.Connection:
        if os.getpid() != self._pid:
            raise ForkedEngine(opened_by=self._pid, used_by=os.getpid())
        if self._closed:
            raise Closed(store=self.path) if self._lost is None else self._lost
        return self._connection

    def _must_write(self) -> None:
        if self.read_only:
            raise StoreReadOnly(store=self.path, reason="it was opened for reading")

    @contextmanager
    def locked(self) -> Iterator[sqlite3.Connection]:
        """The connection, while no other thread uses it; errors are translated."""
        if os.getpid() != self._pid:  # before the guard: another thread may have held it during fork()
            self._usable()
        with self._guard:
            try:
                yield self._trusted()
            except SQLITE_ERRORS as error:
                raise from_sqlite(error, self.path) from error

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Commit, or leave nothing. SQLite may have rolled back already, so ask first (Q2)."""
        is_ours = False
        try:
            if connection.in_transaction:  # interrupted between an error and its rollback
                connection.rollback()
            connection.execute("BEGIN IMMEDIATE")
            self._check_others(connection)
            is_ours = True
            yield
            connection.execute("COMMIT")
        except BaseException as error:  # an interrupt too: nothing stays begun
            if connection.in_transaction:
                connection.rollback()
            if is_ours:
                # For want of room SQLite may drop all that it has read, and counts that as such a commit: see
                # test_a_commit_that_failed_for_want_of_room_is_none_of_another_program.
                with suppress(*SQLITE_ERRORS):
                    self._opened.of_others = commits_of_others(connection)
            if isinstance(error, SQLITE_ERRORS) and not isinstance(error, sqlite3.IntegrityError):
                raise from_sqlite(error, self.path) from error
            raise

    def _check_others(self, connection: sqlite3.Connection) -> None:
        """Where another program has written since, all is read, as at an opening."""
        now = commits_of_others(connection)
        if now != self._opened.of_others:
            try:
                self._check_schema(connection)
                repair.audit(connection)
                if repair.load_state(connection) != self._state_row():  # as where a copy was restored
                    raise StoreDamaged(store=self.path, reason="it is of another commit")
            except StoreDamaged as damage:
                raise StoreDamaged(store=self.path, reason="another program wrote to it") from damage
            self._opened.of_others = now

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        if not schema.same_schema(connection, schema.TABLES):
            raise StoreDamaged(store=self.path, reason="another schema than the engine makes")

    def _state_row(self) -> StateRow:
        stored = self._stored
        if stored is None:
            with self.locked() as connection:
                stored = self._stored = repair.load_state(connection)
        return stored

    def _shut(self) -> None:
        self._closed = True
        self._opened.shut()
        self._finalizer.detach()
