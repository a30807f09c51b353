"""Tidying: the half of a store that puts work off until nobody waits for a commit.

A log that has grown is merged into the main file, which is read once then, to be sealed: 300 ms for 250 MB.
And stamps that came late go to their blocks, some 60 ms for a thousand.

Invariants
    Q10  Who never calls `tidy` has it done by a commit: the log is never larger than WAL_LIMIT_BYTES and what
         one commit writes, as long as no reader keeps it from being merged; late stamps: see late. A watch
         calls it: in quiet moments, and where there are none between two edits when it is pressing.
    Q11  What fails here is tried again later. Nothing that was committed depends on it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from sqlite3 import Connection

from engine.errors import StoreError, StoreFull
from engine.store import late, repair, writing
from engine.store.directory import Files
from engine.store.failures import translated
from engine.store.merging import merge
from engine.store.proven import Proven
from engine.store.rawfile import RawFile
from engine.store.rows import StateRow

WAL_LIMIT_BYTES = 128 << 20  # merged when a commit leaves the log larger
WAL_WARNING_BYTES = 256 << 20  # a reader that never ends keeps the log from being merged
SOON_PART = 2  # with this part of a limit, even a short quiet moment is to be used
LAST_PART = 4  # where less than this part of a limit is left, it is done as soon as a commit has been told
QUIET_PART = 16  # a long one is worth while with this part of it

LONG_READER = "A reader keeps the store's log from being merged; it has grown to {} MB."
NOT_MERGED = "The store's log could not be merged, which will be tried again: {}"


class Tidying(Proven):
    """Part of `Store`."""

    files: Files
    read_only: bool
    _raw: RawFile
    _stored: StateRow | None

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
            left = self._merge_above - self.files.wal_size(), late.MOST - self._late()
            return left[0] < WAL_LIMIT_BYTES // LAST_PART or left[1] < late.MOST // LAST_PART

    @property
    def is_indexed(self) -> bool:
        """Whether keys and readers are found quickly. Not while a first build goes on: see index."""
        with self._guard, translated(self.path):
            return repair.is_indexed(self._usable())

    def make_index(self) -> None:
        """Make what a first build has put off and not come to."""
        with self._guard:
            if self.read_only or self.is_indexed:
                return
            self.prove()
            with suppress(StoreFull):  # until a commit succeeds, it goes without
                self._rewrite(writing.write_index)

    def tidy(self) -> None:
        """Do what was put off, if that is worth it by now. For quiet moments: see above."""
        with self._guard:
            self.prove()
            if self.read_only or not self._is_in_place():  # the next commit tells that it was replaced
                return
            if self._late() > late.MOST // QUIET_PART:
                self._rewrite(writing.write_late_to_blocks)
            if self.files.wal_size() > WAL_LIMIT_BYTES // QUIET_PART:
                self._merge_large_log()

    def _rewrite(self, write: Callable[[Connection, StateRow, bytes], StateRow]) -> None:
        """Write what says nothing new, in a transaction of its own."""
        connection = self._usable()
        with self._transaction(connection):
            stored = self._state_row()
            self._stored = self._index = None  # until the commit is known to have succeeded, ask the file
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

    def _has_put_off(self, part: int) -> bool:
        with self._guard:
            if self.read_only or self._closed:
                return False
            return self.files.wal_size() > WAL_LIMIT_BYTES // part or self._late() > late.MOST // part

    def _late(self) -> int:
        with translated(self.path):
            return late.count_late(self._trusted())

    def _merge(self, *, force: bool = False) -> bool:
        self._opened.stored = self._state_row()
        return merge(self._opened, force=force)

    def _merge_large_log(self) -> None:
        """The commits in it stand whatever happens here, so a failure is a note."""
        size = self.files.wal_size()
        try:
            with translated(self.path):
                merged = self._merge(force=size > WAL_WARNING_BYTES)
        except StoreError as error:
            merged = False
            self.notes.append(NOT_MERGED.format(error.fields.get("reason", error.headline)))
        self._merge_above = WAL_LIMIT_BYTES if merged else size + WAL_LIMIT_BYTES
        if not merged and size > WAL_WARNING_BYTES and not self._warned:
            self._warned = True
            self.notes.append(LONG_READER.format(size >> 20))
