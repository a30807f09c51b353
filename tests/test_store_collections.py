"""What is written of tables and folds is read back, also after reopening and by other programs."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from engine.store import Batch, MemberRows, State, open_store
from engine.store.inspect import tables
from tests.stored_collections import (
    COLUMNS,
    FOLD,
    TABLE,
    VALUES,
    collected,
    collection,
    filled,
    rows_of,
    statements,
)
from tests.stores import database


def test_what_is_written_of_collections_is_read_back_also_after_reopening(tmp_path: Path) -> None:
    batch = filled()
    for reopened in (False, True):
        with open_store(tmp_path / "s") as store:
            if not reopened:
                assert collected(store)[0] == []
                store.write(batch)
            assert store.notes == []
            derived = store.derived
            assert derived.collections() == batch.collections
            assert derived.members(TABLE) + derived.members(FOLD) == batch.members
            assert derived.members_among(FOLD, [3, 2, 99]) == {2: b"data 2", 3: b"data 3"}
            expected = {given.member: sorted(given.rows, key=repr) for given in batch.rows}
            found = derived.rows_of(TABLE, range(10))
            assert {member: sorted(rows, key=repr) for member, rows in found.items()} == expected
            assert derived.rows_of(TABLE, [7]) == {}
            assert derived.select(TABLE, [("name", "name_3_1")]) == [(3, "path/3.py", ("name_3_1", None, 3))]
            assert derived.count(TABLE, [("kind", None)]) == 6
            assert derived.blocks(FOLD, [(0, b"key 1"), (1, b"key 3"), (2, b"key 1")]) == {
                (0, b"key 1"): b"block",
                (1, b"key 3"): b"block",
            }
            assert derived.changes(TABLE, 3, 2) == batch.changes[3:5]
            assert derived.last_change() == 8
            assert derived.cursors(TABLE) == batch.cursors[:1]
            assert derived.cursors(5) == batch.cursors[1:]
            store.check_invariants()


def test_every_value_comes_back_as_what_it_was(tmp_path: Path) -> None:
    rows = [(value, place, VALUES[-1 - place]) for place, value in enumerate(VALUES)]
    for reopened in (False, True):
        with open_store(tmp_path) as store:
            if not reopened:
                store.write(Batch(collections=[collection(index=COLUMNS)], rows=[rows_of(1, *rows)]))
                store.write(Batch(rows=[MemberRows(TABLE, m, VALUES[m], ((m,) * 3,)) for m in range(2, 28)]))
            (found,) = store.derived.rows_of(TABLE, [1]).values()
            assert sorted(map(repr, found)) == sorted(map(repr, rows))  # which tells 1, 1.0, 0.0 and -0.0
            sources = {
                member: source
                for member, source, _ in store.derived.select(TABLE, [])
                if member in range(2, 28)
            }
            assert {m: repr(value) for m, value in sources.items()} == {
                m: repr(VALUES[m]) for m in range(2, 28)
            }
            store.check_invariants()


def test_an_unknown_collection_is_like_an_empty_one_and_an_unknown_column_is_an_error(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        for id in (99, FOLD):
            assert store.derived.rows_of(id, [1]) == {}
            assert store.derived.select(id, [("name", "x")]) == []
            assert store.derived.count(id, []) == 0
        with pytest.raises(KeyError):
            store.derived.select(TABLE, [("colour", 1)])
        with pytest.raises(KeyError):
            store.derived.count(TABLE, [("colour", 1)])
        with pytest.raises(ValueError, match="no table"):
            store.write(Batch(rows=[rows_of(1, (1, 2, 3), table=FOLD)]))


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    names = (
        "_id",
        "_member",
        "_SUM",
        "Name",
        "name",
        "name_2",
        "rowid",
        "select",
        'a"b',
        "größe",
        "a b",
        "--",
    )
    with open_store(tmp_path) as store:
        store.write(
            Batch(
                collections=[collection(columns=names, index=names, name="m:Ünder_The.<locals>.q'\"")],
                rows=[rows_of(1, tuple(range(12)), tuple(range(12, 24)))],
            )
        )
        for place, name in enumerate(names):
            assert store.derived.select(TABLE, [(name, place)]) == [(1, "path/1.py", tuple(range(12)))]
            assert store.derived.count(TABLE, [(name, place + 12)]) == 1
        store.check_invariants()
    with open_store(tmp_path) as store:
        assert store.notes == []
        assert list(store.statistics().rows.items())[-1] == ("rows__nder_the_locals_q__17", 2)


def test_a_shape_that_says_nothing_sensible_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    shapes = ("", "[]", '{"columns": 5}', '{"columns": ["a", "a"]}', '{"columns": ["a"], "index": ["b"]}')
    with open_store(tmp_path) as store:
        for shape in shapes:
            with pytest.raises(ValueError, match=r"shape|JSON|Expecting|column"):
                store.write(Batch(collections=[collection()._replace(shape=shape)], state=State(5)))
        with pytest.raises(ValueError, match="table or a fold"):
            store.write(Batch(collections=[collection()._replace(kind="heap")], state=State(5)))
        assert (store.state, store.derived.collections()) == (State(), [])


def test_the_tables_are_there_for_other_programs(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        found = store.statistics()
        assert found.rows["rows_definitions_17"] == 18
        assert {name: found.rows[name] for name in ("collection", "member", "block", "change", "cursor")} == {
            "collection": 2, "member": 12, "block": 8, "change": 8, "cursor": 3,
        }  # fmt: skip
        json.dumps(found.as_dict())
    with open_store(tmp_path, read_only=True) as store:
        rows = list(tables(store)["rows_definitions_17"].rows_where("name = ?", ["name_2_0"]))
        assert [(row["_member"], row["_source"], row["line"]) for row in rows] == [(2, "path/2.py", 0)]
    shell = shutil.which("sqlite3")
    look = "SELECT name, line FROM rows_definitions_17 WHERE _source = 'path/3.py' ORDER BY line"
    if shell is None:
        with sqlite3.connect(database(tmp_path)) as connection:
            assert connection.execute(look).fetchall() == [("name_3_0", 0), ("name_3_1", 3), ("name_3_2", 6)]
        connection.close()
    with open_store(tmp_path) as store:
        assert "computed again" not in "".join(store.notes)


def test_opening_a_store_with_many_rows_reads_only_what_collections_there_are(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        batch = filled()
        batch.rows += [rows_of(9, *((str(i), None, i) for i in range(20_000)), fresh=True)]
        store.write(batch)
    with open_store(tmp_path) as store:
        assert not store.audited
        found = statements(store)
        assert store.derived.count(TABLE, [("name", "77")]) == 1
        assert len(found) == 2  # the collection, and the count
