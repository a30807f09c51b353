"""A batch changes of a table or a fold what it names: its rows by their difference, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from engine.store import Batch, BlockRow, ChangeRow, CollectionRow, CursorRow, MemberRow, open_store, schema
from tests.stored_collections import FOLD, TABLE, collected, collection, filled, fold, rows_of, statements


def test_new_rows_of_a_member_touch_only_those_that_differ(tmp_path: Path) -> None:
    many = [(f"name_{i}", "function", i) for i in range(500)]
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(m, *many, fresh=True) for m in (1, 2)]))
        before = dict(store.connection.execute("SELECT _id, _sum FROM rows_definitions_17").fetchall())
        many[250] = ("name_250", "function", 251)
        changes = store.connection.total_changes
        store.write(Batch(rows=[rows_of(2, *reversed(many))]))
        assert store.connection.total_changes - changes == 3  # a row out, a row in, and the state
        after = dict(store.connection.execute("SELECT _id, _sum FROM rows_definitions_17").fetchall())
        assert len(before.items() - after.items()) == len(after.items() - before.items()) == 1
        changes = store.connection.total_changes
        store.write(Batch(rows=[rows_of(2, *many), rows_of(1, *many[:250], *many[251:])]))
        assert store.connection.total_changes - changes == 2  # the state, and one row less
        store.check_invariants()


def test_rows_that_are_equal_but_of_other_types_are_different_rows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(1, (1, 0.0, "a"), (2, "", b""))]))
        store.write(Batch(rows=[rows_of(1, (1.0, -0.0, "a"), (2, b"", ""))]))
        found = store.derived.rows_of(TABLE, [1])[1]
        assert sorted(map(repr, found)) == ["(1.0, -0.0, 'a')", "(2, b'', '')"]


def test_fresh_members_are_written_without_looking_for_their_rows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(Batch(collections=[collection()], rows=[rows_of(1, ("a", "b", 1))]))
        found = statements(store)
        store.write(Batch(rows=[rows_of(2, ("a", "b", 1), fresh=True)]))
        assert not [text for text in found if "FROM rows_" in text and "_member IN" in text]
        store.connection.set_trace_callback(None)
        assert store.derived.count(TABLE, [("name", "a")]) == 2


def test_who_knows_what_is_stored_says_which_rows_go_and_only_these_are_looked_for(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        source, known = store.derived.stored_rows_of(TABLE, [2])[2]
        assert (source, sorted(known)) == ("path/2.py", sorted(store.derived.rows_of(TABLE, [2])[2]))
        gone = known["name_2_1", None, 2]
        found = statements(store)
        store.write(Batch(rows=[rows_of(2, ("new", None, 1), gone=[gone])]))
        assert not [text for text in found if "FROM rows_" in text and "_member IN" in text]
        store.connection.set_trace_callback(None)
        left = {("name_2_0", "function", 0), ("name_2_2", "function", 4), ("new", None, 1)}
        assert set(store.derived.rows_of(TABLE, [2])[2]) == left
        store.check_invariants()


def test_rows_that_went_with_their_member_do_not_go_once_more(tmp_path: Path) -> None:
    """The ids of the last rows are given again, to rows that nobody said anything of."""
    with open_store(tmp_path) as store:
        store.write(filled())
        gone = list(store.derived.stored_rows_of(TABLE, [6])[6].rows.values())
        new = ("new", None, 1)
        store.write(Batch(members_gone=[(TABLE, 6)], rows=[rows_of(7, new, fresh=True)]))
        store.write(Batch(rows=[rows_of(6, new, gone=gone)]))
        assert store.derived.rows_of(TABLE, [6, 7]) == {6: [new], 7: [new]}
        store.check_invariants()


def test_rows_of_a_member_that_is_gone_go_with_it(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(Batch(members_gone=[(TABLE, 2), (TABLE, 3), (FOLD, 4), (TABLE, 99), (98, 1)]))
        assert [row.node for row in store.derived.members(TABLE)] == [1, 4, 5, 6]
        assert [row.node for row in store.derived.members(FOLD)] == [1, 2, 3, 5, 6]
        assert set(store.derived.rows_of(TABLE, range(10))) == {1, 4, 5, 6}
        store.check_invariants()
        store.write(Batch(rows=[rows_of(m) for m in (1, 4, 5)]))  # members without rows
        assert set(store.derived.rows_of(TABLE, range(10))) == {6}
        store.check_invariants()


def test_a_member_that_goes_and_comes_in_one_batch_is_there(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(
            Batch(
                members_gone=[(TABLE, 2)],
                members=[MemberRow(TABLE, 2, b"again")],
                rows=[rows_of(2, ("new", None, 1))],
                changes_gone=[8],
                changes=[ChangeRow(8, TABLE, 2, 1, b"again")],
                cursors_gone=[(TABLE, "index")],
                cursors=[CursorRow(TABLE, "index", 9, 2, b"again")],
            )
        )
        assert store.derived.members_among(TABLE, [2]) == {2: b"again"}
        assert store.derived.rows_of(TABLE, [2]) == {2: [("new", None, 1)]}
        assert store.derived.changes(TABLE, 7, 9) == [ChangeRow(8, TABLE, 2, 1, b"again")]
        assert store.derived.cursors(TABLE) == [CursorRow(TABLE, "index", 9, 2, b"again")]
        store.check_invariants()


def test_of_several_entries_for_one_key_the_last_one_counts(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(
            Batch(
                collections=[collection(index=()), collection()],
                members=[MemberRow(TABLE, 1, b"a"), MemberRow(TABLE, 1, b"b")],
                rows=[rows_of(1, ("a", "a", 1)), rows_of(1, ("b", "b", 2))],
                blocks=[BlockRow(FOLD, 0, b"k", b"a"), BlockRow(FOLD, 0, b"k", b"b"),
                        BlockRow(FOLD, 0, b"l", b"a"), BlockRow(FOLD, 0, b"l", b"")],
                changes=[ChangeRow(3, TABLE, 1, 1, b"a"), ChangeRow(3, TABLE, 1, 1, b"b")],
                cursors=[CursorRow(TABLE, "c", 1, 1, b"a"), CursorRow(TABLE, "c", 2, 1, b"b")],
            )
        )  # fmt: skip
        derived = store.derived
        assert derived.collections() == [collection()]
        assert derived.members(TABLE) == [MemberRow(TABLE, 1, b"b")]
        assert derived.select(TABLE, []) == [(1, "path/1.py", ("b", "b", 2))]
        assert derived.blocks(FOLD, [(0, b"k"), (0, b"l")]) == {(0, b"k"): b"b"}
        assert derived.changes(TABLE, 0, 9) == [ChangeRow(3, TABLE, 1, 1, b"b")]
        assert derived.cursors(TABLE) == [CursorRow(TABLE, "c", 2, 1, b"b")]
        store.check_invariants()


@pytest.mark.parametrize(
    "other",
    [
        collection(columns=("name", "line")),
        collection(index=("line",)),
        collection(name="shop.rules:symbols"),
        collection()._replace(kind="fold"),
    ],
)
def test_another_shape_name_or_kind_makes_an_empty_table_anew(tmp_path: Path, other: CollectionRow) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        store.write(Batch(collections=[other]))
        assert store.derived.select(TABLE, []) == []
        assert store.derived.collections() == [other, fold()]
        assert len(store.derived.members(TABLE)) == 6
        store.check_invariants()
        if other.kind == "table":
            width = len(json.loads(other.shape)["columns"])
            store.write(Batch(rows=[rows_of(1, tuple(range(width)))]))
            assert store.derived.select(TABLE, [("line", width - 1)]) == [
                (1, "path/1.py", tuple(range(width)))
            ]
    with open_store(tmp_path) as store:
        assert store.notes == []
        names = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_master")}
        assert len({name for name in names if name.startswith("rows_") and " by " not in name}) == (
            other.kind == "table"
        )


def test_other_patterns_leave_the_rows_alone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(filled())
        rows = collected(store)[2]
        store.write(Batch(collections=[collection(patterns=b"other")]))
        assert collected(store)[2] == rows
        assert store.derived.collections()[0].patterns == b"other"
        store.check_invariants()


def test_of_a_dropped_collection_nothing_is_left(tmp_path: Path) -> None:
    for number, batch in enumerate([Batch(dropped=[TABLE, FOLD, 99]), Batch(deleted=[TABLE, FOLD, 5])]):
        with open_store(tmp_path / str(number)) as store:
            store.write(Batch(collections=filled().collections, cursors=filled().cursors))
            store.write(Batch(members=filled().members, rows=filled().rows, blocks=filled().blocks))
            store.write(Batch(changes=filled().changes))
            store.write(batch)
            left = {table: count for table, count in store.statistics().rows.items() if count}
            assert left == {"cursor": 2 - number}  # the one of the log, and that of the query's feed
            assert store.derived.last_change() == 8
            store.check_invariants()
            assert schema.same_schema(store.connection, schema.TABLES)


def test_ids_of_changes_are_not_given_twice_after_the_log_was_trimmed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.derived.last_change() == 0
        store.write(filled())
        store.write(Batch(changes_gone=list(range(1, 9))))
        assert store.derived.changes(TABLE, 0, 99) == []
        assert store.derived.last_change() == 8
    with open_store(tmp_path) as store:
        assert store.derived.last_change() == 8
        store.write(Batch(changes=[ChangeRow(9, FOLD, 2, 1, b""), ChangeRow(12, FOLD, 2, 1, b"")]))
        assert store.derived.last_change() == 12
        with pytest.raises(sqlite3.IntegrityError):
            store.write(Batch(changes=[ChangeRow(12, FOLD, 2, -1, b"")]))
        store.check_invariants()
