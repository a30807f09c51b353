"""Row index: how the rows of a table are found, by member and by column. Made once for all that come at once.

Values come in no order, so with each commit of a long build every index would be written nearly whole, and
that the more often the larger the table grows. So a table is made without, and gets its indexes when somebody
looks into it (a commit too, for what a member had), when the build ends, or at the latest when the store is
opened the next time.

Invariants
    Y1  A table has all its indexes, or none.
    Y2  Who reads while they are not there gets the same answers, slowly.
    Y3  In a store that is open for writing only tables that were made in the present build are without, as
        long as there is room and the disk does not fail. At the end of a build they come after its commit:
        rows are saved in any case.
"""

from __future__ import annotations

import sqlite3

from engine.store.layout import Layout

_WITHOUT = """SELECT name FROM sqlite_master AS made WHERE type = 'table' AND name GLOB 'rows_*'
  AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND tbl_name = made.name)"""


def without(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables without indexes."""
    return {name for (name,) in connection.execute(_WITHOUT)}


def make(connection: sqlite3.Connection, made: Layout) -> None:
    """Make those of one table. Some 1.5 s for a million rows and one column."""
    for statement in made.indexes:
        connection.execute(statement)
