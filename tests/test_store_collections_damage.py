"""Tables and folds that were damaged or tampered with are not believed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import Batch, State, open_store
from engine.store.checksums import block_sum, collection_sum, cursor_sum
from engine.store.sqlite import Store
from tests.stored_collections import FOLD, TABLE, collected, collection, filled, rows_of
from tests.stores import copy, database, sql

FORGE = "PRAGMA writable_schema = ON; UPDATE sqlite_master SET "
PLANTED = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON rows_definitions_17 BEGIN DELETE FROM node; END",
    "view": "CREATE VIEW rows_of_something_9 AS SELECT 1",
    "table": "CREATE TABLE rows_more_19 (_id INTEGER PRIMARY KEY)",
    "index": 'CREATE INDEX "rows_definitions_17 by kind" ON rows_definitions_17("kind")',
    "expression": 'CREATE INDEX "rows_definitions_17 by kind" ON collection(abs(id))',
    "no index": 'DROP INDEX "rows_definitions_17 by name"',
    "no table": "DROP TABLE rows_definitions_17",
    "renamed": "ALTER TABLE rows_definitions_17 RENAME TO rows_definitions_19",
    "column": "ALTER TABLE rows_definitions_17 ADD COLUMN extra",
    "check": FORGE
    + "sql = replace(sql, '_source,', '_source CHECK (1),') WHERE name = 'rows_definitions_17'",
    "type": FORGE + "sql = replace(sql, '\"line\"', '\"line\" TEXT') WHERE name = 'rows_definitions_17'",
    "generated": "ALTER TABLE rows_definitions_17 ADD COLUMN g AS (_id + 1)",
    "no collections": "DELETE FROM collection",
    "shape": """UPDATE collection SET shape = replace(shape, '"index": ["name"]', '"index": ["kind"]')""",
    "name": "UPDATE collection SET name = 'shop.rules:other' WHERE id = 17",
    "kind": "UPDATE collection SET kind = 'fold'",
    "wrong type": "UPDATE collection SET shape = 5",
    "collection": "ALTER TABLE collection ADD COLUMN extra",
    "member": "CREATE INDEX m ON member(node)",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_tables_that_do_not_follow_from_the_collections_are_never_used(tmp_path: Path, kind: str) -> None:
    """Also for somebody who renews the seal."""
    with open_store(tmp_path) as store:
        store.write(filled())
    sql(tmp_path, PLANTED[kind], renew_seal=True)
    with pytest.raises(StoreDamaged):
        open_store(tmp_path, read_only=True)
    with open_store(tmp_path) as store:
        assert "computed again" in store.notes[0]
        assert (store.state, store.derived.collections()) == (State(), [])
        store.write(filled())
        store.check_invariants()


def test_a_collection_with_a_checksum_of_its_own_making_is_not_used(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
    bad = collection()._replace(shape='{"columns": 5}')
    sql(
        tmp_path,
        f"UPDATE collection SET shape = '{bad.shape}', patterns = x'', "
        f"sum = x'{collection_sum(*bad).hex()}' WHERE id = 17",
        renew_seal=True,
    )
    with open_store(tmp_path) as store:
        assert "collection" in store.notes[0]
        assert store.state == State()


def test_rows_that_no_longer_match_their_checksum_are_not_given_out(tmp_path: Path) -> None:
    rows = "rows_definitions_17"
    changes: list[tuple[str, Callable[[Store], object]]] = [
        ("UPDATE collection SET patterns = x'01'", lambda s: s.derived.collections()),
        ("UPDATE collection SET name = 5", lambda s: s.derived.collections()),
        ("UPDATE collection SET patterns = x'01'", lambda s: s.derived.select(TABLE, [])),
        ("UPDATE collection SET patterns = x'01'", lambda s: s.write(Batch(dropped=[TABLE]))),
        ("UPDATE member SET data = x'01' WHERE node = 3", lambda s: s.derived.members(TABLE)),
        ("UPDATE member SET data = 'data' WHERE node = 3", lambda s: s.derived.members(TABLE)),
        ("UPDATE member SET node = 33 WHERE node = 3", lambda s: s.derived.members_among(FOLD, [33])),
        (f"UPDATE {rows} SET line = 9 WHERE _id = 5", lambda s: s.derived.select(TABLE, [("line", 9)])),
        (f"UPDATE {rows} SET line = 4.0 WHERE line = 4", lambda s: s.derived.select(TABLE, [("line", 4)])),
        (f"UPDATE {rows} SET _member = 9 WHERE _id = 5", lambda s: s.derived.rows_of(TABLE, [9])),
        (f"UPDATE {rows} SET _id = 99 WHERE _id = 5", lambda s: s.derived.rows_of(TABLE, range(9))),
        (f"UPDATE {rows} SET _source = 'other'", lambda s: s.derived.select(TABLE, [])),
        (f"UPDATE {rows} SET _sum = 'text'", lambda s: s.derived.select(TABLE, [])),
        (f"UPDATE {rows} SET kind = CAST(x'ff' AS TEXT)", lambda s: s.derived.select(TABLE, [])),
        (f"UPDATE {rows} SET kind = 'x' WHERE _id = 2", lambda s: s.write(Batch(rows=[rows_of(1)]))),
        ("UPDATE block SET data = x'01'", lambda s: s.derived.blocks(FOLD, [(0, b"key 1")])),
        ("UPDATE block SET level = 3 WHERE level = 0", lambda s: s.derived.blocks(FOLD, [(3, b"key 1")])),
        ("UPDATE change SET sign = 2 WHERE id = 3", lambda s: s.derived.changes(TABLE, 0, 9)),
        ("UPDATE change SET collection = 9", lambda s: s.derived.changes(9, 0, 1)),
        ("UPDATE cursor SET position = 2 WHERE name = 'index'", lambda s: s.derived.cursors(TABLE)),
        ("UPDATE cursor SET position = 2 WHERE collection = 0", lambda s: s.derived.last_change()),
        *(
            (f"DELETE FROM {table}", lambda s: s.check_invariants())
            for table in ("member", "block", "change", "cursor", rows)
        ),
        (f"UPDATE {rows} SET line = 9 WHERE _id = 5", lambda s: s.check_invariants()),
        ("UPDATE change SET sign = 2 WHERE id = 3", lambda s: s.check_invariants()),
    ]
    for number, (statement, look) in enumerate(changes):
        with open_store(tmp_path / str(number)) as store:
            store.write(filled())
            assert store.connection.execute(statement).rowcount > 0
            with pytest.raises(StoreDamaged):
                look(store)


def test_a_row_of_another_table_is_not_a_row_of_this_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(Batch(collections=[collection(31)]))
        store.connection.execute("INSERT INTO rows_definitions_31 SELECT * FROM rows_definitions_17")
        with pytest.raises(StoreDamaged):
            store.derived.select(31, [])


def test_a_checksum_tells_where_one_part_ends_and_the_next_begins() -> None:
    parts = (("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"))
    assert len({collection_sum(1, *texts, b"") for texts in parts}) == 3
    assert collection_sum(1, "a", "b", "cd", b"") != collection_sum(1, "a", "b", "c", b"d")
    assert block_sum(1, 0, b"ab", b"c") != block_sum(1, 0, b"a", b"bc")
    assert cursor_sum(1, "ab", 0, 0, b"c") != cursor_sum(1, "a", 0, 0, b"bc")


def as_read(data: bytes, place: Path) -> str:
    """What SQLite finds in a file: parts of its pages that nothing uses any more hold old copies."""
    (place / "read.db").write_bytes(data)
    connection = sqlite3.connect(f"file:{place / 'read.db'}?immutable=1", uri=True)
    try:
        return "".join(connection.iterdump())
    except (sqlite3.DatabaseError, ValueError) as error:
        return repr(error)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "place",
    [b"shop.rules:definitions", b'"columns"', b"pattern", b"data 3", b"key 2", b"block", b"change 7",
     b"cursor", b"feed", b"name_3_1", b"path/4.py", b"function", b"_member INTEGER"],
)  # fmt: skip
@pytest.mark.parametrize("sealed", [True, False])
def test_a_flipped_bit_in_any_table_of_collections_is_noticed(
    tmp_path: Path, place: bytes, sealed: bool
) -> None:
    with open_store(tmp_path / "good") as store:
        store.write(filled())
    clean = database(tmp_path / "good").read_bytes()
    flipped = []
    for start in [at for at in range(len(clean)) if clean.startswith(place, at)]:
        data = bytearray(clean)
        data[start + len(place) // 2] ^= 2
        if as_read(bytes(data), tmp_path) != as_read(clean, tmp_path):
            flipped.append(data)
    assert flipped
    for data in (flipped[0], flipped[-1]):
        directory = copy(tmp_path / "good", tmp_path / "bad")
        database(directory).write_bytes(data)
        if not sealed:
            (directory / "store.seal").unlink()
        with open_store(directory) as store:
            assert "computed again" in store.notes[0]
            assert (store.state, store.derived.collections()) == (State(), [])


def test_random_damage_never_gives_a_wrong_row_of_a_collection(tmp_path: Path) -> None:
    """Without the seal, so that the audit has to find it by reading."""
    with open_store(tmp_path / "good") as store:
        store.write(filled())
        expected = collected(store)
    clean = database(tmp_path / "good").read_bytes()
    dice = random.Random(21)
    kept = 0
    for _ in range(150):
        directory = copy(tmp_path / "good", tmp_path / "bad")
        data = bytearray(clean)
        data[dice.randrange(4096, len(data))] ^= 1 << dice.randrange(8)
        database(directory).write_bytes(data)
        (directory / "store.seal").unlink()
        with open_store(directory, synchronous="OFF") as store:
            if store.state == State():
                assert "computed again" in store.notes[0]
            else:
                kept += 1
                assert collected(store) == expected
                store.check_invariants()
    assert kept < 150
