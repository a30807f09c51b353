"""Others: what another program has written to the store, in its log or while it is open, is not believed.

Each commit of ours says what the total of all checksums is, in the row of `state`. One that does not write
the page of that row is not ours, and then all is read: rows may be missing.

Invariants
    O1  Every commit of ours writes that page, also where it says nothing new (see writing).
"""

from __future__ import annotations

import os
import sqlite3

from engine.store.directory import Files

_HEAD_BYTES = 32  # of the log: from 8 on its page size, from 16 on the salts that its frames repeat
_FRAME_BYTES = 24  # before each page: its number, the size of the file after a commit or 0, the salts


def commits_of_others(connection: sqlite3.Connection) -> int:
    """Another number after each commit of another connection.

    And where one has emptied the log (which nobody of ours does beside this one), or this one had an error.
    """
    (number,) = connection.execute("PRAGMA data_version").fetchone()
    return int(number)


def pages_of_all_commits(files: Files) -> set[bytes] | None:
    """The pages that every commit in the log writes; None: there is none. Some 2 us a page.

    Before SQLite has the log open: who fails then for want of a descriptor has none to close it in order.
    """
    if not files.wal_size():
        return None
    log = os.open(files.wal, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        head = os.pread(log, _HEAD_BYTES, 0)
        salts, step = head[16:24], _FRAME_BYTES + int.from_bytes(head[8:12], "big")
        place, written, common = _HEAD_BYTES, set[bytes](), None
        while len(frame := os.pread(log, _FRAME_BYTES, place)) == _FRAME_BYTES and frame[8:16] == salts:
            written.add(frame[:4])
            if frame[4:8] != bytes(4):  # a commit ends with it
                common = written if common is None else common & written
                written = set()
            place += step
    finally:
        os.close(log)
    return common


def are_ours(connection: sqlite3.Connection, pages: set[bytes] | None) -> bool:
    """Whether the commits that all write these pages are ours (O1)."""
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'state'").fetchone()
    return pages is None or int(root).to_bytes(4, "big") in pages
