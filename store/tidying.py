"""Tidying: the half of a store that puts work off until nobody waits for a commit.

A log that has grown is merged into the main file, which is read once then, to be sealed: a second for 128 MB
of one and 250 of the other, so a thread does it (ongoing). And stamps that came late go to their bundles,
some 60 ms for a thousand.

Invariants
    Q10  Who never calls `tidy` has it begun by a commit: the log is never larger than WAL_LIMIT_BYTES, what
         one commit writes, and what is committed while it is merged, as long as no reader keeps it from that;
         late stamps: see late. A watch calls it: in quiet moments, and where there are none between two edits
         when it is pressing.
    Q11  What fails here is tried again later. Nothing that was committed depends on it.
    Q12  Commits that are made while a thread merges rest on the seal before, until that is gone for good, and
         then on none. Before there is one beside them, the last is made to name it, on the disk too: see
         test_commits_that_were_made_while_the_file_was_sealed_are_found, and test_store_merging_ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from sqlite3 import Connection

from engine.errors import StoreDamaged, StoreError, StoreFull
from engine.store import late, ongoing, repair, row_index, seal, writing
from engine.store.directory import Files
from engine.store.failures import translated
from engine.store.layout import Layout, layouts
from engine.store.lock import Held, keep_readers_out
from engine.store.merging import copy_log, empty_log, is_ours, merge, seal_of, shorten_log, sync, unseal
from engine.store.ongoing import Ongoing
from engine.store.proven import Proven
from engine.store.rawfile import RawFile
from engine.store.rows import StateRow

WAL_LIMIT_BYTES = 128 << 20  # merged when a commit leaves the log larger
WAL_WARNING_BYTES = 256 << 20  # a reader that never ends keeps the log from being merged
SLICE_BYTES = 16 << 20  # of a log that is emptied: some 10 ms
SOON_PART = 2  # with this part of a limit, even a short quiet moment is to be used
LAST_PART = 4  # where less than this part of a limit is left, it is done as soon as a commit has been told
QUIET_PART = 16  # a long one is worth while with this part of it

LONG_READER = "A reader keeps the store's log from being merged; it has grown to {} MB."
NOT_MERGED = "The store's log could not be merged, which will be tried again: {}"


class Tidying(Proven):
    """Part of `Store`."""

    files: Files
    read_only: bool
    synchronous: str
    _raw: RawFile
    _stored: StateRow | None
    _put_off: set[str] | None
    """As `put_off`. None: nobody has looked since the file changed."""
    _goes_without: bool  # indexes of rows

    @abstractmethod
    def _state_row(self) -> StateRow:
        """What the last commit left."""

    @abstractmethod
    def _transaction(self, connection: Connection) -> AbstractContextManager[None]:
        """Commit, or leave nothing."""

    @property
    def is_untidy(self) -> bool:
        """Whether so much was put off that a commit will have to do it before long: then `tidy` soon."""
        return self._has_put_off(SOON_PART)

    @property
    def is_pressing(self) -> bool:
        """Whether one of the next commits will have to do it: then `tidy` even while more is to be done."""
        with self._guard:
            if self.read_only or self._closed:
                return False
            left = self._merge_above - self._unmerged(), late.MOST - self._late()
            return left[0] < WAL_LIMIT_BYTES // LAST_PART or left[1] < late.MOST // LAST_PART

    @property
    def is_indexed(self) -> bool:
        """Whether keys and readers are found quickly. Not while a first build goes on: see index."""
        with self._guard, translated(self.path):
            return repair.is_indexed(self._usable())

    @property
    def put_off(self) -> set[str]:
        """The tables whose rows are not found quickly: see row_index."""
        if self._put_off is None:
            with self._guard, translated(self.path):
                self._put_off = row_index.without(self._usable())
        return self._put_off

    def make_index(self) -> None:
        """Make what a build has put off and not come to."""
        with self._guard:
            if self.read_only or (self.is_indexed and not self.put_off):
                return
            self.prove()
            with suppress(StoreFull):  # it goes without
                if not self.is_indexed:
                    self._rewrite(writing.write_index)
            self._make_row_indexes()

    def make_row_index(self, made: Layout) -> None:
        """Somebody looks into a table whose indexes were put off: make them, where that can be done."""
        if not self.read_only and not self.unproven and not self._goes_without:
            with self._without_if_need_be():
                self._rewrite(partial(writing.write_row_index, made))

    def _make_row_indexes(self) -> None:
        """A build has ended, now or in the process before."""
        self._put_off = None  # some may have been dropped
        with self._without_if_need_be():
            for made in layouts(self._usable()):
                if made.table in self.put_off:
                    self.make_row_index(made)

    @contextmanager
    def _without_if_need_be(self) -> Iterator[None]:
        """Where indexes cannot be made, it goes without until the log was merged: to try costs a second.

        Raised after a commit, an error would say that the commit failed, and all of it be written once more:
        see test_where_indexes_cannot_be_made_after_a_commit_its_rows_are_written_once.
        """
        try:
            with translated(self.path):
                yield
        except StoreDamaged:  # all is computed again
            raise
        except StoreError:
            self._goes_without = True

    def tidy(self) -> None:
        """Do what was put off, if that is worth it by now. For quiet moments: see above."""
        with self._guard:
            self.prove()
            if self.read_only or not self._is_in_place():  # the next commit tells that it was replaced
                return
            if self._late() > late.MOST // QUIET_PART:
                self._rewrite(writing.write_late_to_bundles)
            self._merge_if_above(WAL_LIMIT_BYTES // QUIET_PART)

    @property
    def is_merging(self) -> bool:
        """Whether a thread merges the log: see ongoing."""
        one = self._opened.ongoing
        return one is not None and not one.is_over

    def _rewrite(self, write: Callable[[Connection, StateRow, bytes], StateRow]) -> None:
        """Write what says nothing new, in a transaction of its own."""
        connection = self._usable()
        with self._transaction(connection):
            stored = self._state_row()
            # until the commit is known to have succeeded, ask the file
            self._stored = self._index = self._put_off = None
            after = write(connection, stored, self._opened.base)
        self._stored = after

    def _is_in_place(self) -> bool:
        """Whether the path still names the file that is open."""
        with translated(self.path):
            return self._raw.is_at(self.path)

    def _nothing_put_off(self) -> None:
        """A file was opened."""
        self._merge_above = WAL_LIMIT_BYTES
        self._warned = False
        self._put_off = None
        self._goes_without = False

    def _has_put_off(self, part: int) -> bool:
        with self._guard:
            if self.read_only or self._closed:
                return False
            return self._unmerged() > WAL_LIMIT_BYTES // part or self._late() > late.MOST // part

    def _unmerged(self) -> int:
        """Bytes of the log that nobody merges."""
        with translated(self.path):
            return 0 if self.is_merging else self.files.wal_size()

    def _late(self) -> int:
        with translated(self.path):
            return late.count_late(self._trusted())

    def _merge(self, *, force: bool = False) -> bool:
        self._opened.stop_merging()
        self._opened.stored = self._state_row()
        merged = merge(self._opened, force=force)
        self._goes_without &= not merged
        return merged

    def _merge_if_above(self, bytes: int, *, or_deleted: bool = False) -> None:
        """Merge a log that is larger. The commits in it stand whatever happens here, so a failure is a note.

        or_deleted  merge one that was deleted, too: that can be done, but nobody else finds it
        """
        if self.is_merging:
            return
        try:
            with translated(self.path):
                size = self.files.wal_size()
                worth = size and self._raw.size() + size > ongoing.WORTH_BYTES
        except StoreError as error:
            self._note_not_merged(error)
            return
        if (size > bytes or (or_deleted and not size)) and not (worth and self._begin_to_merge(size)):
            self._try_to_merge(size, partial(self._merge, force=size > WAL_WARNING_BYTES))

    def _note_not_merged(self, error: StoreError) -> None:
        note = NOT_MERGED.format(error.fields.get("reason", error.headline))
        if note not in self.notes:
            self.notes.append(note)

    def _try_to_merge(self, size: int, merge: Callable[[], bool]) -> None:
        merged = False
        try:
            with translated(self.path):
                merged = merge()
        except StoreError as error:
            self._note_not_merged(error)
        self._merge_above = WAL_LIMIT_BYTES if merged else size + WAL_LIMIT_BYTES
        if not merged and size > WAL_WARNING_BYTES and not self._warned:
            self._warned = True
            self.notes.append(LONG_READER.format(size >> 20))

    def _begin_to_merge(self, size: int) -> bool:
        """Let a thread do it. False: something is in the way, as `_merge` will find and tell."""
        readers: Held | None = None
        began = False
        try:
            free, readers = keep_readers_out(self.files.readers)
            if free or size > WAL_WARNING_BYTES:
                unseal(self._opened)
                self._opened.ongoing = Ongoing(partial(self._merge_in_thread, size), self._guard, readers)
                self._opened.ongoing.start()
                began = True
        except (OSError, RuntimeError):  # the second: no thread is to be had
            pass
        finally:
            if not began:
                self._opened.stop_merging()
                if readers is not None:
                    readers.release()
        return began

    def _merge_in_thread(self, size: int, one: Ongoing) -> None:
        self._try_to_merge(size, partial(self._merge_beside, one))

    def _merge_beside(self, one: Ongoing) -> bool:
        """As `merge`, while others use the store: what they committed may be in the log after it (Q12)."""
        with suppress(OSError):  # some file systems refuse it
            sync(self.files.directory, self.synchronous)
        with one.inside():
            # Not before: a power cut that brings the seal back would make a stray of the log.
            self._opened.base = b""
        if not copy_log(self.files, self._raw, self.synchronous, partial(self._lengthen_log, one)):
            return False
        while (size := self.files.wal_size()) > SLICE_BYTES:
            with one.inside():
                if not shorten_log(self._opened, SLICE_BYTES):
                    return False
                self._rest_on(b"")  # a commit: it gives back what is left of the log
            if self.files.wal_size() >= size:
                break
        with one.inside():
            self._opened.stored = stored = self._state_row()
            if not empty_log(self._opened):
                return False
        one.let_readers_in()
        stamp = seal.stamp_of(self._raw.fd)
        digest = self._raw.digest(beside=True, stopped=lambda: one.is_stopped)
        with one.inside():
            if not self._is_in_place() or not is_ours(self._opened):  # the seal of another may lie there
                return False
            sealed = seal_of(self._raw, stamp, digest, stored)
            if self.files.wal_size():
                self._rest_on(sealed.base)
                sync(self.files.wal, self.synchronous)  # with the seal alone, what is left counts as stray
            seal.write_seal(self.files.seal, sealed)
            self._opened.base = sealed.base
            self._goes_without = False
        return True

    def _lengthen_log(self, one: Ongoing) -> None:
        """A part of it is not copied yet when this returns, see copy_log: nor where there was no room."""
        with suppress(StoreFull), one.inside():
            self._rest_on(b"")

    def _rest_on(self, base: bytes) -> None:
        self._rewrite(lambda connection, last, _: writing.write_base(connection, last, base))
