"""Beside: the rows of tables in a store that another process of ours writes at the same time.

It may be read because that process has proven the store and said so. Each question is answered by what the
last commit left; who asks knows that the rows of these tables stay as they are.

Invariants
    E1  It reads the very file that was named, not what has taken its place since.
    E2  Nothing is written, no lock is held between two questions, and closing it merges nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine.errors import StoreDamaged
from engine.store.directory import Files
from engine.store.failures import SQLITE_ERRORS, from_sqlite, translated
from engine.store.layout import Layout
from engine.store.merging import connect


class Place(NamedTuple):
    """Which file it is: another one may lie at its path later, or on another machine."""

    machine: str  # a log is shared through memory: over a network it cannot be read
    directory: bytes
    device: int
    inode: int


def place_of(files: Files, identity: tuple[int, int]) -> Place:
    """That of a file with this device and inode."""
    return Place(os.uname().nodename, os.fsencode(files.directory), *identity)


class Beside:
    """Some tables of a store. Raises `StoreError`, also where it is not the one that is meant (E1)."""

    def __init__(self, place: Place) -> None:
        files = Files(Path(os.fsdecode(place.directory)))
        self.path = files.database
        self.layouts: dict[int, Layout] = {}  # they stay: see above
        self.put_off: frozenset[str] = frozenset()  # a table is named when it has its indexes
        self._guard = threading.Lock()
        with translated(self.path):
            self._connection = connect(files, "mode=ro")
            try:
                self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # opens the file
                found = os.stat(self.path)
                if place_of(files, (found.st_dev, found.st_ino)) != place:
                    raise StoreDamaged(store=self.path, reason="it was replaced")
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def locked(self) -> Iterator[sqlite3.Connection]:
        """The connection, while no other thread uses it; errors are translated."""
        with self._guard:
            try:
                yield self._connection
            except SQLITE_ERRORS as error:
                raise from_sqlite(error, self.path) from error

    def make_row_index(self, made: Layout) -> None:
        """Nothing: only who writes makes one (E2)."""

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()
