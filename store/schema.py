"""Schema: the tables as text, the version numbers, and how a file of another version is treated.

Invariants
    S1  `TABLES` is the truth, and what layout.py makes of each row of `collection`. A file whose schema
        is not exactly this text is not used (a planted trigger would run inside our own statements).
    S2  `MIGRATIONS` lead from their first version to `VERSION`. Of an older one nothing is carried over.
    S3  A migration runs in one transaction together with the new version number.

Not STRICT tables: SQLite before 3.37 could not open the file, and checksums see wrong types anyway.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from engine.errors import StoreDamaged
from engine.store import checksums, layout, repair

APPLICATION_ID: Final = 0x656E6769  # "engi", at byte 68 of the file
VERSION = 5  # user_version, at byte 60 of the file
PAGE_SIZE: Final = 4096  # bytes; 16384 measured no faster, and writes four times as much per change
REVISIONS_KEPT: Final = 1000

NODE_KEY: Final = "CREATE INDEX node_key ON node(key)"
"""Not there while a first build goes on: see index."""

_VERSION_1: tuple[str, ...] = (
    """CREATE TABLE node (
  id INTEGER PRIMARY KEY,        -- dense, from 1
  key INTEGER NOT NULL,          -- first 8 bytes of blake3(query as i64, args), little-endian, signed
  query INTEGER NOT NULL,        -- query.id
  args BLOB NOT NULL,            -- canonical bytes of the arguments
  flags INTEGER NOT NULL,        -- bits; 8 is a root: somebody asked for this key
  changed_at INTEGER NOT NULL,   -- revision in which the value last became different
  verified_at INTEGER NOT NULL,  -- revision in which it was last known to be correct
  durability INTEGER NOT NULL,   -- 0 low, 1 medium, 2 high
  cost INTEGER NOT NULL,         -- microseconds of the last execution
  cause INTEGER NOT NULL,        -- node.id of what made it run last
  fingerprint BLOB NOT NULL,     -- blake3(value), 16 bytes; empty: there is no value
  dependencies BLOB NOT NULL,    -- u32 little-endian each, in order; top bit set: a group marker
  sum BLOB NOT NULL,             -- checksum of all columns but key and value
  value BLOB                     -- last, so that the others are read without it; NULL: not stored
)""",
    NODE_KEY,
    """CREATE TABLE readers (
  dependency INTEGER PRIMARY KEY,  -- node.id
  packed BLOB NOT NULL,            -- node.id of each reader, u32 little-endian
  sum BLOB NOT NULL
)""",
    """CREATE TABLE input (
  node INTEGER PRIMARY KEY,  -- node.id of an observed input
  stamp BLOB NOT NULL,       -- how the file looked when it was read
  sum BLOB NOT NULL
)""",
    """CREATE TABLE query (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,  -- module:name
  code BLOB NOT NULL,         -- fingerprint of the code
  calls BLOB NOT NULL,        -- query.id of each query that its code calls, u32 little-endian
  sum BLOB NOT NULL
)""",
    """CREATE TABLE revision (
  number INTEGER PRIMARY KEY,
  at REAL NOT NULL,          -- seconds since 1970
  changed INTEGER NOT NULL,  -- how many inputs changed
  note TEXT NOT NULL,
  sum BLOB NOT NULL
)""",
    """CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  next_node INTEGER NOT NULL,
  next_query INTEGER NOT NULL,
  suspects BLOB NOT NULL,         -- node.id of each suspect, u32 little-endian; top bit: to be run
  changed_low INTEGER NOT NULL,   -- revision of the last change of an input of low durability
  changed_medium INTEGER NOT NULL,
  changed_high INTEGER NOT NULL,
  total BLOB NOT NULL,            -- sum modulo 2^128 of the sum columns of all rows of the other tables
  base BLOB NOT NULL,             -- first 16 bytes of the digest in store.seal below this commit
  sum BLOB NOT NULL
)""",
)

_COLLECTION = """CREATE TABLE collection (
  id INTEGER PRIMARY KEY,  -- node.id of the node that stands for the collection
  name TEXT NOT NULL,      -- query.name, module:name
  kind TEXT NOT NULL,      -- table: its rows are in the SQL table rows_<name>_<id>; or fold
  shape TEXT NOT NULL,     -- JSON: columns, and which of them have an index
  patterns BLOB NOT NULL,  -- what was asked of it
  sum BLOB NOT NULL
)"""

_VERSION_2: tuple[str, ...] = (
    *_VERSION_1,
    _COLLECTION,
    """CREATE TABLE member (
  collection INTEGER NOT NULL,  -- collection.id
  node INTEGER NOT NULL,        -- node.id
  data BLOB NOT NULL,           -- what it adds to the collection
  sum BLOB NOT NULL,
  PRIMARY KEY (collection, node)
) WITHOUT ROWID""",
    """CREATE TABLE block (
  collection INTEGER NOT NULL,  -- collection.id of a fold
  level INTEGER NOT NULL,       -- in its tree, from the members up
  key BLOB NOT NULL,            -- where on that level
  data BLOB NOT NULL,
  sum BLOB NOT NULL,
  PRIMARY KEY (collection, level, key)
) WITHOUT ROWID""",
    """CREATE TABLE change (
  id INTEGER PRIMARY KEY,       -- ascending over all collections, never used again
  collection INTEGER NOT NULL,  -- collection.id
  revision INTEGER NOT NULL,    -- revision.number in which it changed
  sign INTEGER NOT NULL,        -- what happened to it: 1 added, -1 removed
  data BLOB NOT NULL,           -- what was added or removed
  sum BLOB NOT NULL
)""",
    "CREATE INDEX change_collection ON change(collection)",  # every index ends with the row's id
    """CREATE TABLE cursor (
  collection INTEGER NOT NULL,  -- collection.id, or node.id; 0 is the log: its position is the last change.id
  name TEXT NOT NULL,           -- of the consumer
  position INTEGER NOT NULL,    -- change.id of the last change that it has received
  revision INTEGER NOT NULL,    -- revision.number up to which it knows
  data BLOB NOT NULL,
  sum BLOB NOT NULL,
  PRIMARY KEY (collection, name)
) WITHOUT ROWID""",
)

_VERSION_3: tuple[str, ...] = (
    *_VERSION_2,
    """CREATE TABLE version (
  node INTEGER PRIMARY KEY,  -- node.id of a node whose value became different
  packed BLOB NOT NULL,      -- of each value before: first revision, revision after the last (i64), 16 bytes
  sum BLOB NOT NULL
)""",
    """CREATE TABLE earlier (
  id INTEGER PRIMARY KEY,       -- ascending by the bytes that a row takes: old rows go by their id
  node INTEGER NOT NULL,        -- node.id whose memo it was
  flags INTEGER NOT NULL,       -- as in node
  cost INTEGER NOT NULL,        -- microseconds
  code BLOB NOT NULL,           -- query.code of then
  fingerprint BLOB NOT NULL,    -- blake3(value), 16 bytes
  dependencies BLOB NOT NULL,   -- as in node
  seen BLOB NOT NULL,           -- what each dependency was then, 16 bytes each; of a group, one for all
  rows BLOB NOT NULL,           -- what a member of a table gave, whose value is not stored
  sum BLOB NOT NULL,            -- checksum of all columns but value
  value BLOB                    -- NULL: it was not stored
)""",
    "CREATE INDEX earlier_node ON earlier(node)",
)

_OBSERVED = """CREATE TABLE observed (
  part INTEGER NOT NULL,   -- node.id / 512 of the observed inputs in it; all of it is said by node and input
  query INTEGER NOT NULL,  -- query.id
  nodes BLOB NOT NULL,     -- node.id of each, ascending, u32 little-endian
  args BLOB NOT NULL,      -- msgpack array: the text of each, where each has just one; else node.args of each
  stamps BLOB NOT NULL,    -- msgpack array: input.stamp of each, empty where the host has set the value
  sum BLOB NOT NULL,
  PRIMARY KEY (part, query)
) WITHOUT ROWID"""

_VERSION_4: tuple[str, ...] = (*_VERSION_3, _OBSERVED)

_HISTORY: tuple[str, ...] = (
    """CREATE TABLE version (
  id INTEGER PRIMARY KEY,  -- ascending by the bytes that a row takes: old rows go by their id
  part INTEGER NOT NULL,   -- node.id / 256 of the nodes in it
  nodes BLOB NOT NULL,     -- node.id of each whose value became different, u32 little-endian
  sum BLOB NOT NULL,
  packed BLOB NOT NULL     -- of each value before: first revision, revision after the last (i64), 16 bytes
)""",
    "CREATE INDEX version_part ON version(part)",
    """CREATE TABLE earlier (
  id INTEGER PRIMARY KEY,  -- as in version
  part INTEGER NOT NULL,
  nodes BLOB NOT NULL,     -- node.id of each whose memo was replaced, u32 little-endian
  sum BLOB NOT NULL,
  packed BLOB NOT NULL     -- last, so that the others are read without it: msgpack array of the memos
)""",
    "CREATE INDEX earlier_part ON earlier(part)",
)

TABLES: tuple[str, ...] = (*_VERSION_2, *_HISTORY, _OBSERVED)


class Migration(NamedTuple):
    """From one version to the next. `tables` is the schema text that the old version must have."""

    tables: tuple[str, ...]
    apply: Callable[[sqlite3.Connection], None]


def _add_collections(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_2[len(_VERSION_1) :]:
        connection.execute(statement)


def _add_history(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_3[len(_VERSION_2) :]:
        connection.execute(statement)


def _add_observed(connection: sqlite3.Connection) -> None:
    connection.execute(_OBSERVED)  # empty: filled by the next commit that writes an input


def _pack_history(connection: sqlite3.Connection) -> None:
    """What nodes were before is dropped, which costs executions only."""
    stored = repair.load_state(connection)
    total = int.from_bytes(stored.total, "little")
    for table in ("version", "earlier"):
        try:
            total -= checksums.added(sum for (sum,) in connection.execute(f"SELECT sum FROM {table}"))
        except (TypeError, ValueError):  # nothing has been audited yet
            raise StoreDamaged(table=table, found="checksums of another type") from None
        connection.execute(f"DROP TABLE {table}")
    for statement in _HISTORY:
        connection.execute(statement)
    after = stored._replace(total=checksums.total_bytes(total))
    update = "UPDATE state SET total = ?, sum = ? WHERE id = 1"
    connection.execute(update, (after.total, checksums.state_sum(after)))


# Version -> how to get to the next one.
MIGRATIONS: Mapping[int, Migration] = {
    1: Migration(_VERSION_1, _add_collections),
    2: Migration(_VERSION_2, _add_history),
    3: Migration(_VERSION_3, _add_observed),
    4: Migration(_VERSION_4, _pack_history),
}


class Kind(Enum):
    """What the first 100 bytes of a file say."""

    EMPTY = "empty"
    OURS = "ours"
    OLDER = "older"
    NEWER = "newer"
    FOREIGN = "foreign"


class Header(NamedTuple):
    kind: Kind
    version: int
    is_wal: bool
    what: str  # for messages


def read_header(data: bytes) -> Header:
    """Classify a file by its first 100 bytes, before SQLite sees it."""
    if not data:
        return Header(Kind.EMPTY, 0, False, "an empty file")
    if len(data) < 100 or not data.startswith(b"SQLite format 3\0"):
        return Header(Kind.FOREIGN, 0, False, "not an SQLite database")
    (version,) = struct.unpack(">i", data[60:64])
    (application,) = struct.unpack(">I", data[68:72])
    is_wal = data[18:20] == b"\2\2"
    if application != APPLICATION_ID:
        return Header(Kind.FOREIGN, version, is_wal, f"an SQLite database of application {application:#x}")
    kind = Kind.NEWER if version > VERSION else Kind.OURS if version == VERSION else Kind.OLDER
    return Header(kind, version, is_wal, f"a store of version {version}")


def same_schema(connection: sqlite3.Connection, tables: tuple[str, ...]) -> bool:
    """Whether the file holds these tables and indexes, those of its collections, and nothing else at all.

    Of the tables of now, the key index may be missing, and all indexes of the rows of a collection.

    StoreDamaged when the collections, from which their tables follow, cannot be read.
    """
    found = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    others = [name for kind, name, sql in found if kind != "index" or sql is not None]
    texts = sorted(str(sql) for _, _, sql in found if sql is not None)
    automatic = all(name.startswith("sqlite_autoindex_") for _, name, sql in found if sql is None)
    if tables == TABLES and NODE_KEY not in texts:
        tables = tuple(text for text in tables if text != NODE_KEY)
    if not automatic or len(others) != len(texts) or not set(tables) <= set(texts):
        return False
    # Of `collection` the text is known by now, and the statement that reads it uses nothing else.
    made = layout.layouts(connection) if _COLLECTION in tables else []
    for one in made:
        tables += (one.statement, *(one.indexes if one.indexes[0] in texts else ()))
    return texts == sorted(tables)


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database, in the transaction that the caller has begun."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def text() -> str:
    """The documented schema, as people read it."""
    return "".join(f"{statement};\n" for statement in TABLES)
